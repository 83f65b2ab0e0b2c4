"""Once: the same identity counts once, forever; and from an event to the row that stands for it.

The identity of an event is (partition key, source, id). All its copies lie in one partition, so the
first in the log stands, and a later one is a copy (same content) or a conflict (other content).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, cast

from msgspec import UNSET, Struct

from loopline import input_ref
from loopline.errors import NotCanonical
from schemas import kinds
from schemas.catalog import LoggedEvent
from schemas.identity import JOIN_KEY, MODEL, pack, partition_key, prediction_key
from schemas.instants import nanoseconds
from schemas.kinds import KINDS
from schemas.logged_data import LoggedData, LoggedDeclaration, LoggedModelEvent, LoggedPrediction
from schemas.normal_json import ContentHash, normal_json
from streams.ingest.replay import claim_of_bytes, claim_of_identity, is_name
from streams.store.constructors import constructor
from streams.store.tables import DeadLetterRow, Fact, ModelEvent, Prediction, Replayed, Row, as_row

Identity = tuple[bytes, str]
"""An event within its partition key: (packed id, source)."""


class Arrival(Struct, gc=False, frozen=True):
    """An event as it comes out of the log: its typed partition key, its place there, its receipt (ns).

    `at` is when it happened, which is not after its receipt (ns). `digest` is that of type, instant and data
    together, which tells its copies from conflicts. `data_digest` is that of what may be said again under
    another id: a prediction's data, and a declaration's shape.
    """

    key: bytes
    event: LoggedEvent
    partition: int
    offset: int
    place: int
    at: int
    received: int
    digest: bytes
    data_digest: bytes = b""


class Arrivals(Struct, gc=False):
    """What is in one block, as it comes to the fold.

    `rows` are those that stand for what is about a prediction, a case or a subject, in the order of the
    log: they are made at once, so that the events need not be kept. `replayed` holds what the event at an
    index claims to have been.
    """

    rows: list[Prediction | Fact]
    models: list[Arrival]
    replayed: dict[int, list[Row]]
    letters: list[DeadLetterRow]

    def __len__(self) -> int:
        return len(self.rows) + len(self.models) + len(self.letters)


def arrivals(
    events: Sequence[LoggedEvent],
    partition: int,
    offset: int,
    received: Iterable[int],
    contents: ContentHash,
    sent: Callable[[int], bytes],
    first: int = 0,
) -> Arrivals:
    """The events of one block, as they come to the fold.

    Args:
        contents: makes the digests of this log's events.
        sent: gives the bytes of the event at an index as they were sent.
        first: the index of the first of these events in the block.
    """
    come = Arrivals([], [], {}, [])
    for place, (event, instant) in enumerate(zip(events, received, strict=True), first):
        arrival = arrival_of(event, partition, offset, place, instant, contents)
        if event.looplinereplay is not UNSET:
            come.replayed[place] = replayed_rows(arrival, sent(place))
        if arrival.key[:1] == MODEL and event.data.prediction_id is None:
            come.models.append(arrival)
        else:
            made = event.kind == kinds.PREDICTION_MADE.name
            come.rows.append(prediction_row(arrival) if made else fact_row(arrival))
    return come


def arrival_of(
    event: LoggedEvent, partition: int, offset: int, place: int, received: int, contents: ContentHash
) -> Arrival:
    """One event at its place in the log."""
    data, kind = event.data, event.kind
    # Here every type has every field: `schemas.identity` need not look for them.
    named = data.prediction_id
    key = partition_key(data) if named is None else prediction_key(named)
    instant = nanoseconds(event.time)
    alone = b""
    if kind == kinds.PREDICTION_MADE.name:
        alone, whole = contents.of_both(kind, instant, data)
    else:
        whole = contents.of_event(kind, instant, data)
        if kind == kinds.MODEL_DECLARED.name:
            alone = contents.of_data(cast("LoggedDeclaration", data).output_shape)
    return Arrival(
        key=key,
        event=event,
        partition=partition,
        offset=offset,
        place=place,
        at=min(instant, received),
        received=received,
        digest=whole,
        data_digest=alone,
    )


def replayed_rows(arrival: Arrival, sent: bytes) -> list[Row]:
    """What an event claims that says which dead letter it was, if it has the form of a name."""
    name = arrival.event.looplinereplay
    if not isinstance(name, str) or not is_name(name):
        # From before the form was looked at.
        return []
    event = arrival.event
    claims = (claim_of_identity(event.source, event.id), claim_of_bytes(sent))
    return [
        as_row(
            Replayed(dead_letter=name, claim=claim, partition=arrival.partition, received=arrival.received)
        )
        for claim in claims
    ]


class _MakePrediction(Protocol):
    def __call__(
        self,
        arrival: Arrival,
        event: LoggedEvent,
        data: LoggedPrediction,
        *,
        pid: bytes,
        env: str,
        output: str,
        input_ref: str | None,
        audit: int,
    ) -> Prediction: ...


_make_prediction: _MakePrediction = constructor(_MakePrediction.__call__)


def prediction_row(arrival: Arrival) -> Prediction:
    """The row of a prediction."""
    data = cast("LoggedPrediction", arrival.event.data)
    return _make_prediction(
        arrival,
        arrival.event,
        data,
        pid=arrival.key,
        env=data.env or "prod",
        output=normal_json(data.output),
        input_ref=data.input_ref if data.input is None else _reference(data),
        audit=1 if data.audit else 0,
    )


def _reference(data: LoggedPrediction) -> str | None:
    """The hash of an input; the product's own where RFC 8785 has no form for it, as for huge integers."""
    try:
        return input_ref(data.input)
    except NotCanonical:
        return data.input_ref


class _MakeFact(Protocol):
    def __call__(
        self,
        arrival: Arrival,
        event: LoggedEvent,
        data: LoggedData,
        *,
        id: bytes,
        kind: str,
        env: str,
        value: str | None,
        label: str | None,
        gold: int,
        explains: bytes | None,
        case_at: int | None,
    ) -> Fact: ...


_make_fact: _MakeFact = constructor(_MakeFact.__call__)


def fact_row(arrival: Arrival) -> Fact:
    """The row of an event about a prediction, a case or a subject; nothing is settled about it yet."""
    event = arrival.event
    data, kind = event.data, KINDS[event.kind]
    value = None if kind.word is None else getattr(data, kind.word)
    label = None if kind.json is None else getattr(data, kind.json)
    return _make_fact(
        arrival,
        event,
        data,
        id=pack(event.id),
        kind=kind.name,
        env=data.env or "prod",
        value=value,
        label=None if label is None else normal_json(label),
        gold=1 if data.gold else 0,
        explains=None if data.explains is None else pack(data.explains),
        case_at=arrival.at if arrival.key[:1] == JOIN_KEY else None,
    )


def second_prediction(row: Prediction) -> Fact:
    """The row of a prediction whose id was taken before: it answers for nothing, but its event came."""
    return Fact(
        key=row.pid,
        id=pack(row.id),
        source=row.source,
        kind=kinds.PREDICTION_MADE.name,
        digest=row.digest,
        partition=row.partition,
        offset=row.offset,
        place=row.place,
        at=row.at,
        received=row.received,
        person=row.person,
        model=row.model,
        env=row.env,
        value=None,
        label=None,
        gold=0,
        explains=None,
        text=None,
    )


def declaration_of(arrival: Arrival) -> LoggedDeclaration | None:
    """The data of an event that declares a model version; None for any other event."""
    event = arrival.event
    return cast("LoggedDeclaration", event.data) if event.kind == kinds.MODEL_DECLARED.name else None


def model_event_row(arrival: Arrival, data_json: str) -> ModelEvent:
    """The row of a declaration, deployment, rollback, evaluation or release."""
    event, data = arrival.event, cast("LoggedModelEvent", arrival.event.data)
    return ModelEvent(
        model=data.model,
        id=pack(event.id),
        source=event.source,
        kind=event.kind,
        digest=arrival.digest,
        partition=arrival.partition,
        offset=arrival.offset,
        place=arrival.place,
        at=arrival.at,
        received=arrival.received,
        env=data.env or "prod",
        data=data_json,
    )
