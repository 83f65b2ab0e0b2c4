"""Once: the same identity counts once, forever; and from an event to the row that stands for it.

The identity of an event is (partition key, source, id). All its copies lie in one partition, so the
first in the log stands, and a later one is a copy (same content) or a conflict (other content).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from zlib import crc32

from msgspec import UNSET, Struct

from loopline import input_ref
from loopline.errors import NotCanonical
from schemas.canonical import canonical, digest
from schemas.catalog import KINDS, Event
from schemas.identity import MODEL, pack, partition_key, prediction_key
from schemas.instants import nanoseconds
from streams.processors.join import PREDICTION_MADE
from streams.store.tables import DeadLetterRow, Fact, ModelEvent, Prediction, Row

Identity = tuple[bytes, str]
"""An event within its partition key: (packed id, source)."""


class Arrival(Struct, gc=False, frozen=True):
    """An event as it comes out of the log: its typed partition key, its place there, its receipt (ns)."""

    key: bytes
    event: Event
    partition: int
    offset: int
    place: int
    received: int


class Arrivals(Struct, gc=False):
    """What is in one block, as it comes to the fold.

    `rows` are those that stand for what is about a prediction, a case or a subject, in the order of the
    log: they are made at once, so that the events need not be kept.
    """

    rows: list[Prediction | Fact]
    models: list[Arrival]
    replayed: list[Row]
    letters: list[DeadLetterRow]

    def __len__(self) -> int:
        return len(self.rows) + len(self.models) + len(self.letters)


def arrivals(events: Sequence[Event], partition: int, offset: int, received: Iterable[int]) -> Arrivals:
    """The events of one block, as they come to the fold."""
    come = Arrivals([], [], [], [])
    for place, (event, instant) in enumerate(zip(events, received, strict=True)):
        data = event.data
        # Here every type has every field: `schemas.identity` need not look for them.
        named = data.prediction_id
        key = partition_key(data) if named is None else prediction_key(named)
        arrival = Arrival(key, event, partition, offset, place, instant)
        if event.looplinereplay is not UNSET:
            come.replayed.append((event.looplinereplay, key, pack(event.id), event.source, instant))
        if named is None and key[:1] == MODEL:
            come.models.append(arrival)
        else:
            made = event.kind == PREDICTION_MADE
            come.rows.append(prediction_row(arrival) if made else fact_row(arrival))
    return come


def content(event: Event) -> tuple[int, int, int]:
    """An event's own instant (ns), the digest of its data, and that of type, instant and data together.

    The digests tell copies of an event from conflicts. One hash serves both.
    """
    instant = nanoseconds(event.time)
    data_digest = digest(event.data)
    whole = data_digest ^ instant ^ _TYPES[event.kind]
    if instant >= _BEYOND:
        # A clock as far ahead as the year 2262: a store's integers have 64 bits.
        whole %= _BEYOND
    return instant, data_digest, whole


_BEYOND = 2**63
_TYPES = {kind: crc32(kind.encode()) for kind in KINDS}


def prediction_row(arrival: Arrival) -> Prediction:
    """The row of a prediction."""
    event, received = arrival.event, arrival.received
    data = event.data
    instant, data_digest, whole = content(event)
    return Prediction(
        arrival.key,
        event.id,
        event.source,
        whole,
        data_digest,
        arrival.partition,
        arrival.offset,
        arrival.place,
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


def fact_row(arrival: Arrival) -> Fact:
    """The row of an event about a prediction, a case or a subject; nothing is settled about it yet."""
    event, received = arrival.event, arrival.received
    data, kind = event.data, event.kind
    instant, _, whole = content(event)
    word = _WORDS.get(kind)
    return Fact(
        arrival.key,
        pack(event.id),
        event.source,
        kind,
        whole,
        arrival.partition,
        arrival.offset,
        arrival.place,
        min(received, instant),
        received,
        data.person,
        data.model,
        data.env or "prod",
        None if word is None else getattr(data, word),
        _LABELS[kind](data) if kind in _LABELS else None,
        1 if data.gold else 0,
        None if data.explains is None else pack(data.explains),
        data.text,
    )


def second_prediction(row: Prediction) -> Fact:
    """The row of a prediction whose id was taken before: it answers for nothing, but its event came."""
    return Fact(
        row.pid,
        pack(row.id),
        row.source,
        PREDICTION_MADE,
        row.digest,
        row.partition,
        row.offset,
        row.place,
        row.at,
        row.received,
        row.person,
        row.model,
        row.env,
        None,
        None,
        0,
        None,
        None,
    )


def model_event_row(arrival: Arrival, data_json: str) -> ModelEvent:
    """The row of a declaration, deployment, rollback, evaluation or release."""
    event = arrival.event
    instant, _, whole = content(event)
    return ModelEvent(
        event.data.model,
        pack(event.id),
        event.source,
        event.kind,
        whole,
        arrival.partition,
        arrival.offset,
        arrival.place,
        min(instant, arrival.received),
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


_LABELS: dict[str, Callable[[Any], str | None]] = {
    "feedback.correction": lambda data: canonical(data.label),
    "feedback.outcome": lambda data: None if data.value is None else canonical(data.value),
}
"""A correction's label, or an outcome's number, as canonical JSON."""
