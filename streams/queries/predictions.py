"""A prediction, everything that was said about it, and the label that follows from that."""

from __future__ import annotations

from typing import Any

import msgspec

from schemas.identity import prediction_key, unpack
from schemas.instants import rfc3339
from streams.queries.originals import Original, Originals
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
        "prediction": sent_data(row, originals.event(row.partition, row.offset, row.place)),
        "feedback": [_feedback(fact, originals) for fact in attached],
        "label": next((label_of(Label(*found)) for found in snapshot.get(LABELS, [(row.model, pid)])), None),
    }


def sent_data(row: Prediction, original: Original) -> dict[str, Any]:
    """A prediction's data as it was sent, with the `input_ref` that it has in the views."""
    data: dict[str, Any] = msgspec.json.decode(original.data, type=dict[str, msgspec.Raw])
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


def label_of(label: Label | None) -> dict[str, Any] | None:
    """A prediction's label, as it is shown beside the prediction."""
    if label is None:
        return None
    return {
        "label": as_json(label.label),
        "agreement": label.agreement,
        "people": label.people,
    }


def as_json(text: str | None) -> msgspec.Raw | None:
    """Canonical JSON text of a view, to be embedded in an answer as it is."""
    return None if text is None else msgspec.Raw(text.encode())
