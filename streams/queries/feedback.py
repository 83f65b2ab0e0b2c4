"""What is true now about one feedback event: its acknowledgement, as a timeline of stages.

A timeline holds only what is true at this moment, in the order of the contract's stages. Which dataset
versions an event is in is asked of `Lineage`, for releases are files and not views.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import json

from schemas import kinds
from schemas.identity import pack, unpack
from schemas.instants import nanoseconds, rfc3339
from schemas.kinds import KINDS
from schemas.releases import release_of
from schemas.stages import Stage
from streams.fold.declarations import serving
from streams.log.port import DEAD
from streams.queries.models import SERVING
from streams.queries.payloads import Payloads
from streams.store.port import Snapshot
from streams.store.tables import (
    DEAD_LETTERS,
    FACTS,
    MODEL_EVENTS,
    PREDICTIONS,
    DeadLetterRow,
    Fact,
    ModelEvent,
    Prediction,
)

Lineage = Callable[[str, str, str], Sequence[str]]
"""From (model, event id, source) to the releases, as `MODEL@N`, that hold what the event said."""

Entry = dict[str, Any]
"""A stage with its instant, and what more there is to say of it."""


def no_lineage(model: str, event_id: str, source: str) -> Sequence[str]:
    """The lineage of a loop without datasets."""
    return ()


def feedback(
    snapshot: Snapshot,
    payloads: Payloads,
    event_id: str,
    source: str | None = None,
    lineage: Lineage = no_lineage,
) -> list[dict[str, Any]]:
    """What is known under an event id, one item for each identity and for each refused copy.

    Args:
        source: only what came from there; None for all sources.
        lineage: see `Lineage`.
    """
    facts = list(Fact.read_all(snapshot.find(FACTS, "id", [pack(event_id)])))
    letters = list(DeadLetterRow.read_all(snapshot.find(DEAD_LETTERS, "id", [event_id])))
    if source is not None:
        facts = [fact for fact in facts if fact.source == source]
        letters = [letter for letter in letters if letter.source == source]
    letters.sort(key=lambda letter: (letter.received, letter.partition, letter.offset, letter.place))
    facts.sort(key=lambda fact: (fact.received, fact.source, fact.key))
    # A verdict of the worker stands beside the fact that it is about: one item, not two.
    judged = {(fact.partition, fact.offset, fact.place) for fact in facts}
    refused = [letter for letter in letters if (letter.partition, letter.offset, letter.place) not in judged]
    return [_fact_item(snapshot, fact, lineage) for fact in facts] + [
        _letter_item(letter, payloads) for letter in refused
    ]


def _fact_item(snapshot: Snapshot, fact: Fact, lineage: Lineage) -> dict[str, Any]:
    prediction = _prediction_of(snapshot, fact)
    model = fact.model if prediction is None else prediction.model
    return {
        "id": unpack(fact.id),
        "source": fact.source,
        "type": KINDS[fact.kind].type,
        "at": rfc3339(fact.at),
        "received": rfc3339(fact.received),
        "person": fact.person,
        "prediction_id": None if prediction is None else prediction.id_text,
        "effective": bool(fact.effective),
        "waits_for": fact.waits_for,
        "timeline": [
            *_own_stages(snapshot, fact, prediction),
            *([] if model is None else _further_stages(snapshot, fact, model, lineage)),
            *_ended(fact, _retracted_at(snapshot, fact)),
        ],
    }


class _JoinedTo:
    """The prediction that a fact is joined to."""

    def __init__(self, row: Prediction) -> None:
        self.model = row.model
        self.model_version = row.model_version
        self.id_text = unpack(row.pid[1:])


def _prediction_of(snapshot: Snapshot, fact: Fact) -> _JoinedTo | None:
    if fact.joined is None:
        return None
    rows = snapshot.get(PREDICTIONS, [(fact.prediction_key,)])
    return _JoinedTo(Prediction.read(rows[0])) if rows else None


def _entry(stage: Stage, at: int, **extras: Any) -> Entry:
    return {"stage": stage.value, "at": rfc3339(at), **extras}


def _own_stages(snapshot: Snapshot, fact: Fact, prediction: _JoinedTo | None) -> list[Entry]:
    stages = [_entry(Stage.RECEIVED, fact.received)]
    if fact.waits_for is not None:
        stages.append(_entry(Stage.WAITING, fact.received, **{"for": fact.waits_for}))
    if prediction is not None and fact.joined is not None:
        stages.append(_entry(Stage.JOINED, fact.joined, prediction_id=prediction.id_text))
    # A person's earlier correction is in effect as a label while the latest one's label is refused.
    if fact.effective or fact.vote is not None:
        since = fact.received if fact.joined is None else fact.joined
        if fact.vote is not None and prediction is not None:
            # A label can stand only once the version's output was declared.
            for declaration in serving(snapshot, [(prediction.model, prediction.model_version)]).values():
                since = max(since, declaration.received)
        stages.append(_entry(Stage.IN_EFFECT, since))
    return stages


def _ended(fact: Fact, taken_at: int | None) -> list[Entry]:
    stages = []
    if taken_at is not None:
        stages.append(_entry(Stage.RETRACTED, taken_at))
    if fact.code is not None:
        known = fact.received if fact.joined is None else fact.joined
        stages.append(_entry(Stage.DISCARDED, known, code=fact.code))
    return stages


def _retracted_at(snapshot: Snapshot, fact: Fact) -> int | None:
    """When a fact was taken back; a reason may have gone with its thumb."""
    instants = [fact.retracted_at]
    if fact.retracted and fact.kind == kinds.REASON.name and fact.explains is not None:
        thumbs = Fact.read_all(snapshot.get(FACTS, [(fact.key, fact.explains, fact.source)]))
        instants += [thumb.retracted_at for thumb in thumbs if thumb.kind == kinds.THUMB.name]
    return min((instant for instant in instants if instant is not None), default=None)


def _further_stages(snapshot: Snapshot, fact: Fact, model: str, lineage: Lineage) -> list[Entry]:
    """Through datasets into models: where what this event said has gone."""
    names = lineage(model, unpack(fact.id), fact.source)
    if not names:
        return []
    events = list(ModelEvent.read_all(snapshot.scan(MODEL_EVENTS, {"model": model})))
    events.sort(key=lambda event: (event.at, unpack(event.id), event.source))
    data = {id(event): json.decode(event.data) for event in events}
    released, trained = [], []
    for event in events:
        told = data[id(event)]
        if event.kind == kinds.DATASET_RELEASED.name and release_of(told) in names:
            released.append(_entry(Stage.IN_DATASET, event.at, dataset=release_of(told)))
        if event.kind == kinds.MODEL_DEPLOYED.name and not set(names).isdisjoint(told.get("datasets", ())):
            trained.append(_entry(Stage.IN_MODEL, event.at, model_version=told["model_version"]))
    serving = [event for event in events if event.kind in SERVING]
    deployed = []
    if serving:
        version = data[id(serving[-1])]["model_version"]
        if any(stage["model_version"] == version for stage in trained):
            deployed.append(_entry(Stage.DEPLOYED, serving[-1].at, model_version=version))
    return released + trained + deployed


def _letter_item(letter: DeadLetterRow, payloads: Payloads) -> dict[str, Any]:
    at = letter.received
    if letter.partition != DEAD:
        item = json.decode(payloads.item(letter.partition, letter.offset, letter.place))
        at = min(at, nanoseconds(item["time"]))
    return {
        "id": letter.id,
        "source": letter.source,
        "type": letter.type,
        "at": rfc3339(at),
        "received": rfc3339(letter.received),
        "person": None,
        "prediction_id": None,
        "effective": False,
        "waits_for": None,
        "timeline": [
            _entry(Stage.RECEIVED, letter.received),
            _entry(Stage.DISCARDED, letter.received, code=letter.code),
        ],
    }
