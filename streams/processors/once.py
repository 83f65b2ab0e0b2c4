"""Once: the same identity counts once, forever; and from an event to the row that stands for it.

The identity of an event is (partition key, source, id). All its copies lie in one partition, so the
first in the log stands, and a later one is a copy (same content) or a conflict (other content).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

from msgspec import Struct

from loopline import input_ref
from loopline.errors import NotCanonical
from schemas.canonical import canonical, digest
from schemas.catalog import KINDS, Event
from schemas.identity import PREDICTION, pack, partition_key
from schemas.instants import nanoseconds
from streams.store.tables import Fact, ModelEvent, Prediction


class Arrival(Struct, gc=False, frozen=True):
    """An event as it comes to the fold: its typed partition key, its place in the log, its receipt (ns)."""

    key: bytes
    event: Event
    partition: int
    offset: int
    place: int
    received: int


def arrivals(events: Sequence[Event], partition: int, offset: int, received: Iterable[int]) -> list[Arrival]:
    """The events of one block, as they come to the fold."""
    return [
        Arrival(_key(event.data), event, partition, offset, place, instant)
        for place, (event, instant) in enumerate(zip(events, received, strict=True))
    ]


def _key(data: Any) -> bytes:
    """The partition key, as `schemas.identity.partition_key` finds it; here every type has every field."""
    if data.prediction_id is not None:
        return PREDICTION + pack(data.prediction_id)
    return partition_key(data)


class Content(Struct, gc=False, frozen=True):
    """An event's own instant (ns), the digest of its data, and that of type, instant and data together."""

    instant: int
    data_digest: int
    digest: int


def content(event: Event) -> Content:
    """What tells copies of an event from conflicts. One hash serves both digests."""
    instant = nanoseconds(event.time)
    data_digest = digest(event.data)
    whole = data_digest ^ instant ^ _TYPES[event.kind]
    if instant >= _BEYOND:
        # A clock as far ahead as the year 2262: a store's integers have 64 bits.
        whole %= _BEYOND
    return Content(instant, data_digest, whole)


_BEYOND = 2**63


_TYPES = {kind: crc32(kind.encode()) for kind in KINDS}


def prediction_row(arrival: Arrival) -> Prediction:
    """The row of a prediction."""
    event, received = arrival.event, arrival.received
    data = event.data
    told = content(event)
    return Prediction(
        arrival.key,
        event.id,
        event.source,
        told.digest,
        told.data_digest,
        arrival.partition,
        arrival.offset,
        arrival.place,
        min(received, told.instant),
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
        data.input_ref if data.input is None else _reference(data),
        data.ask_probability,
        1 if data.audit else 0,
        data.audit_probability,
    )


def _reference(data: Any) -> str | None:
    """The hash of an input; the product's own where RFC 8785 has no form for it, as for huge integers."""
    try:
        return input_ref(data.input)
    except NotCanonical:
        own: str | None = data.input_ref
        return own


def fact_row(arrival: Arrival, identity: tuple[bytes, str]) -> Fact:
    """The row of an event about a prediction, a case or a subject; nothing is settled about it yet.

    `identity` is the event's packed id and source.
    """
    event, received = arrival.event, arrival.received
    data, kind = event.data, event.kind
    told = content(event)
    return Fact(
        arrival.key,
        identity[0],
        identity[1],
        kind,
        told.digest,
        arrival.partition,
        arrival.offset,
        arrival.place,
        min(received, told.instant),
        received,
        data.person,
        data.model,
        data.env or "prod",
        getattr(data, _WORDS[kind]) if kind in _WORDS else None,
        _label(kind, data),
        1 if data.gold else 0,
        None if data.explains is None else pack(data.explains),
        data.text,
    )


def model_event_row(arrival: Arrival, data_json: str) -> ModelEvent:
    """The row of a declaration, deployment, rollback, evaluation or release."""
    event = arrival.event
    told = content(event)
    return ModelEvent(
        event.data.model,
        pack(event.id),
        event.source,
        event.kind,
        told.digest,
        arrival.partition,
        arrival.offset,
        arrival.place,
        min(told.instant, arrival.received),
        arrival.received,
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
