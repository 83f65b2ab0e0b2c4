"""Once: the same identity counts once, forever; and from an event to the row that stands for it.

The identity of an event is (partition key, source, id). All its copies lie in one partition, so the
first in the log stands, and a later one is a copy (same content) or a conflict (other content).
"""

from __future__ import annotations

from typing import Any, NamedTuple
from zlib import crc32

from msgspec import Struct

from loopline import input_ref
from schemas.canonical import canonical, digest
from schemas.catalog import KINDS, Event
from schemas.identity import pack
from schemas.instants import nanoseconds
from streams.store.tables import Fact, ModelEvent, Prediction


class Place(Struct, gc=False, frozen=True):
    """Where an event lies in the log, and when it was received (ns)."""

    partition: int
    offset: int
    place: int
    received: int


class Content(NamedTuple):
    """An event's own instant (ns), the digest of its data, and that of type, instant and data together."""

    instant: int
    data_digest: int
    digest: int


def content(event: Event) -> Content:
    """What tells copies of an event from conflicts."""
    instant = nanoseconds(event.time)
    data_digest = digest(event.data)
    # One hash serves both digests: another instant or type shifts it by another odd multiple.
    whole = (data_digest + instant * _ODD + _TYPES.get(event.kind, 0)) & _64_BITS
    return Content(instant, data_digest, whole - (whole >> 63 << 64))


_ODD = 0x9E3779B97F4A7C15
_64_BITS = (1 << 64) - 1
_TYPES = {kind: crc32(kind.encode()) for kind in KINDS}


def prediction_row(event: Event, key: bytes, place: Place) -> Prediction:
    """The row of a prediction."""
    data = event.data
    instant, data_digest, content_digest = content(event)
    received = place.received
    return Prediction(
        key,
        event.id,
        event.source,
        content_digest,
        data_digest,
        place.partition,
        place.offset,
        place.place,
        min(received, instant),
        received,
        data.env or "prod",
        data.model,
        data.model_version,
        data.segment,
        data.action,
        canonical(data.output),
        data.confidence,
        data.person,
        data.subject,
        data.join_key,
        data.input_ref if data.input is None else input_ref(data.input),
        data.ask_probability,
        1 if data.audit else 0,
        data.audit_probability,
    )


def fact_row(event: Event, identity: tuple[bytes, str], key: bytes, place: Place) -> Fact:
    """The row of an event about a prediction, a case or a subject; nothing is settled about it yet.

    `identity` is the event's packed id and source.
    """
    data, kind = event.data, event.kind
    instant, _, content_digest = content(event)
    received = place.received
    explains = getattr(data, "explains", None)
    return Fact(
        key,
        *identity,
        kind,
        content_digest,
        place.partition,
        place.offset,
        place.place,
        min(received, instant),
        received,
        getattr(data, "person", None),
        getattr(data, "model", None),
        data.env or "prod",
        getattr(data, _WORDS[kind]) if kind in _WORDS else None,
        _label(kind, data),
        1 if getattr(data, "gold", None) else 0,
        None if explains is None else pack(explains),
        getattr(data, "text", None),
    )


def model_event_row(event: Event, data_json: str, place: Place) -> ModelEvent:
    """The row of a declaration, deployment, rollback, evaluation or release."""
    instant, _, content_digest = content(event)
    return ModelEvent(
        event.data.model,
        pack(event.id),
        event.source,
        event.kind,
        content_digest,
        place.partition,
        place.offset,
        place.place,
        min(instant, place.received),
        place.received,
        event.data.env or "prod",
        data_json,
    )


_WORDS = {
    "feedback.thumb": "value",
    "feedback.action": "value",
    "feedback.confirmation": "value",
    "feedback.reason": "reason",
    "feedback.outcome": "outcome",
    "prompt.shown": "kind",
    "prompt.dismissed": "kind",
}
"""The field of each kind that holds the word it says."""


def _label(kind: str, data: Any) -> str | None:
    """A correction's label, or an outcome's number, as canonical JSON."""
    if kind == "feedback.correction":
        return canonical(data.label)
    if kind == "feedback.outcome" and data.value is not None:
        return canonical(data.value)
    return None
