"""Once: the same identity counts once, forever; and from an event to the row that stands for it.

The identity of an event is (partition key, source, id). All its copies lie in one partition, so the
first in the log stands, and a later one is a copy (same content) or a conflict (other content).
"""

from __future__ import annotations

from typing import Any, NamedTuple
from zlib import crc32

from msgspec import UNSET, Struct

from loopline import input_ref
from schemas.canonical import canonical, digest
from schemas.catalog import KINDS, Event
from schemas.identity import pack
from schemas.instants import nanoseconds
from streams.store.tables import Fact, ModelEvent, Prediction, Row


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
    reference = _or_none(data.input_ref)
    if data.input is not UNSET:
        reference = input_ref(data.input)
    return Prediction(
        key,
        event.id,
        event.source,
        content_digest,
        data_digest,
        place.partition,
        place.offset,
        place.place,
        min(instant, place.received),
        place.received,
        "prod" if data.env is UNSET else data.env,
        data.model,
        data.model_version,
        _or_none(data.segment),
        _or_none(data.action),
        canonical(data.output),
        _or_none(data.confidence),
        _or_none(data.person),
        _or_none(data.subject),
        _or_none(data.join_key),
        reference,
        _or_none(data.ask_probability),
        int(data.audit is True),
        _or_none(data.audit_probability),
    )


def fact_row(event: Event, key: bytes, place: Place) -> Fact:
    """The row of an event about a prediction, a case or a subject; nothing is settled about it yet."""
    data = event.data
    instant, _, content_digest = content(event)
    explains = getattr(data, "explains", UNSET)
    return Fact(
        key,
        pack(event.id),
        event.source,
        event.kind,
        content_digest,
        place.partition,
        place.offset,
        place.place,
        min(instant, place.received),
        place.received,
        _or_none(getattr(data, "person", UNSET)),
        _or_none(getattr(data, "model", UNSET)),
        "prod" if data.env is UNSET else data.env,
        _word(event.kind, data),
        _label(event.kind, data),
        int(getattr(data, "gold", UNSET) is True),
        None if explains is UNSET else pack(explains),
        _or_none(getattr(data, "text", UNSET)),
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
        "prod" if event.data.env is UNSET else event.data.env,
        data_json,
    )


def _or_none(value: Any) -> Any:
    return None if value is UNSET else value


_WORDS = {
    "feedback.thumb": "value",
    "feedback.action": "value",
    "feedback.confirmation": "value",
    "feedback.reason": "reason",
    "feedback.outcome": "outcome",
    "prompt.shown": "kind",
    "prompt.dismissed": "kind",
}


def _word(kind: str, data: Any) -> str | None:
    name = _WORDS.get(kind)
    return None if name is None else _or_none(getattr(data, name))


def _label(kind: str, data: Any) -> str | None:
    """A correction's label, or an outcome's number, as canonical JSON."""
    if kind == "feedback.correction":
        return canonical(data.label)
    if kind == "feedback.outcome" and data.value is not UNSET:
        return canonical(data.value)
    return None


def identities(rows: list[Row]) -> dict[tuple[bytes, str], Fact]:
    """Rows of the facts table by what tells them apart within their partition key."""
    facts = (Fact(*row) for row in rows)
    return {(fact.id, fact.source): fact for fact in facts}
