"""A prediction, everything that was said about it, and the label that follows from that."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.identity import prediction_key, unpack
from schemas.instants import rfc3339
from streams.queries.originals import Originals
from streams.store.port import Snapshot
from streams.store.tables import FACTS, LABELS, PREDICTIONS, Fact, Label, Prediction


def prediction(snapshot: Snapshot, originals: Originals, prediction_id: str) -> dict[str, Any] | None:
    """What `GET /v1/predictions/{id}` answers; None while the prediction is unknown."""
    pid = prediction_key(prediction_id)
    rows = snapshot.get(PREDICTIONS, [(pid,)])
    if not rows:
        return None
    row = Prediction(*rows[0])
    facts = [Fact(*found) for found in snapshot.get(FACTS, [(pid,)])]
    facts += [Fact(*found) for found in snapshot.find(FACTS, "pid", [pid]) if found[0] != pid]
    attached = [fact for fact in facts if fact.joined is not None and fact.kind.startswith("feedback.")]
    attached.sort(key=lambda fact: (fact.at, unpack(fact.id), fact.source, fact.key))
    return {
        "prediction": _data(row, originals),
        "feedback": [_feedback(fact, originals) for fact in attached],
        "label": _label(snapshot.get(LABELS, [(row.model, pid)])),
    }


def _data(row: Prediction, originals: Originals) -> dict[str, Any]:
    sent = originals.event(row.partition, row.offset, row.place).data
    data: dict[str, Any] = msgspec.json.decode(sent, type=dict[str, msgspec.Raw])
    if row.input_ref is not None:
        data["input_ref"] = row.input_ref
    return data


def _feedback(fact: Fact, originals: Originals) -> dict[str, Any]:
    original = originals.event(fact.partition, fact.offset, fact.place)
    return {
        "id": unpack(fact.id),
        "source": fact.source,
        "type": original.type,
        "at": rfc3339(fact.at),
        "person": fact.person,
        "effective": bool(fact.effective),
        "data": original.data,
    }


def _label(rows: list[tuple[Any, ...]]) -> dict[str, Any] | None:
    if not rows:
        return None
    label = Label(*rows[0])
    return {
        "label": as_json(label.label),
        "agreement": label.agreement,
        "people": label.people,
    }


def as_json(text: str | None) -> msgspec.Raw | None:
    """Canonical JSON text of a view, to be embedded in an answer as it is."""
    return None if text is None else msgspec.Raw(text.encode())
