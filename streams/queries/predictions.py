"""A prediction, everything that was said about it, and the label that follows from that."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from schemas.identity import prediction_key, unpack
from schemas.instants import rfc3339
from schemas.kinds import KINDS
from streams.queries.pages import Int64, Page, token
from streams.queries.payloads import Original, Payloads
from streams.store.port import Snapshot
from streams.store.tables import FACTS, FACTS_FROM_CASES, LABELS, PREDICTIONS, Fact, Label, Prediction


class FactPlace(NamedTuple):
    """A fact's place among those of a prediction: those that name it come first, then those by join key."""

    by_case: bool
    at: Int64
    id: bytes
    source: str
    key: bytes


TOKEN = FactPlace

MOST_FEEDBACK = 1000
"""So much of what was said about a prediction is answered with it; the rest is for further pages."""


def prediction(
    snapshot: Snapshot, payloads: Payloads, prediction_id: str, page: Page | None = None
) -> dict[str, Any] | None:
    """What `GET /v1/predictions/{id}` answers; None while the prediction is unknown.

    Feedback by prediction id comes first, in the order of ids, then what came by join key, in that of time; a
    page is shown in the order of time. Where all of it is on one page, that is the order of all.
    """
    pid = prediction_key(prediction_id)
    rows = snapshot.get(PREDICTIONS, [(pid,)])
    if not rows:
        return None
    row = Prediction.read(rows[0])
    page = page or Page(MOST_FEEDBACK)
    facts = facts_of(snapshot, pid, page)
    shown = facts[: page.limit]
    attached = [fact for fact in shown if fact.joined is not None and KINDS[fact.kind].is_feedback]
    attached.sort(key=lambda fact: (fact.at, unpack(fact.id), fact.source, fact.key))
    answer: dict[str, Any] = {
        "prediction": sent_data(row, payloads.event(row.partition, row.offset, row.place)),
        "feedback": [_feedback(fact, payloads) for fact in attached],
        "label": next(map(label_of, Label.read_all(snapshot.get(LABELS, [(row.model, pid)]))), None),
    }
    if len(facts) > page.limit:
        answer["feedback_next"] = token(place_of(shown[-1], pid))
    return answer


def facts_of(snapshot: Snapshot, pid: bytes, page: Page) -> list[Fact]:
    """The facts of a page and one more: those that name the prediction, then those that came by join key."""
    last = None if page.after is None else FactPlace(*page.after)
    by_case = last is not None and last.by_case
    most = page.limit + 1
    rows = []
    if not by_case:
        start = (pid,) if last is None else (pid, last.id, last.source)
        rows = snapshot.along(FACTS, FACTS.by_key, [start], fixed=1, limit=most)
    if len(rows) < most:
        behind = (pid, last.at, last.id, last.source, last.key) if last is not None and by_case else (pid,)
        rows += snapshot.along(FACTS, FACTS_FROM_CASES, [behind], fixed=1, limit=most - len(rows))
    return list(Fact.read_all(rows))


def place_of(fact: Fact, pid: bytes) -> FactPlace:
    """A fact's place among those of a prediction."""
    return FactPlace(by_case=fact.key != pid, at=fact.at, id=fact.id, source=fact.source, key=fact.key)


def sent_data(row: Prediction, original: Original) -> dict[str, Any]:
    """A prediction's data as it was sent, with the `input_ref` that it has in the views."""
    data: dict[str, Any] = msgspec.json.decode(original.data, type=dict[str, msgspec.Raw])
    if row.input_ref is not None:
        data["input_ref"] = row.input_ref
    return data


def _feedback(fact: Fact, payloads: Payloads) -> dict[str, Any]:
    original = payloads.event(fact.partition, fact.offset, fact.place)
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
