"""What people said, newest first: by model, kind, value, person and day.

An item is what a prediction's `feedback` has, with the prediction that it is joined to. What still waits for
its prediction is there too, for it was said; it is in effect nowhere yet.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from schemas.identity import unpack
from schemas.instants import rfc3339
from schemas.kinds import FEEDBACK, FEEDBACK_KINDS
from streams.queries.newest import Chosen, days, newest_first, page_of, position_of
from streams.queries.pages import Int64, Page
from streams.queries.payloads import Payloads
from streams.store.port import Snapshot
from streams.store.tables import FACTS, FACTS_BY_TIME, PREDICTIONS, Fact, Prediction, Row

TOKEN = tuple[Int64, bytes, Int64, Int64, Int64]

Known = tuple[Fact, Prediction | None]
"""What was said, and the prediction that it is joined to."""


class FeedbackFilter(NamedTuple):
    """Which feedback is asked for; None is any. Days are UTC days, both inclusive."""

    model: str | None = None
    kind: str | None = None
    value: str | None = None
    person: str | None = None
    first_day: str | None = None
    last_day: str | None = None
    env: str = "prod"


def feedback_list(
    snapshot: Snapshot, payloads: Payloads, wanted: FeedbackFilter, page: Page
) -> dict[str, Any]:
    """A page of what people said, newest first. `kind` is one of `FEEDBACK_KINDS`."""
    kinds = FEEDBACK_KINDS if wanted.kind is None else (wanted.kind,)
    rows = newest_first(
        snapshot,
        FACTS,
        FACTS_BY_TIME,
        [FEEDBACK + kind for kind in kinds],
        days(wanted.first_day, wanted.last_day),
        page.after,
    )

    def chosen(some: list[Row], most: int) -> Chosen[Known]:
        return Chosen(list(_chosen(snapshot, wanted, some)))

    def shown(found: list[tuple[Row, Known]]) -> Iterator[tuple[dict[str, Any], int]]:
        sent = payloads.events((fact.partition, fact.offset, fact.place) for _, (fact, _) in found)
        for (_, (fact, prediction)), original in zip(found, sent, strict=True):
            item = {
                "id": unpack(fact.id),
                "source": fact.source,
                "type": original.type,
                "at": rfc3339(fact.at),
                "person": fact.person,
                "prediction_id": None if prediction is None else unpack(prediction.pid[1:]),
                "effective": bool(fact.effective),
                "data": original.data,
            }
            yield item, len(bytes(original.data))

    return page_of(rows, position_of(FACTS, FACTS_BY_TIME), chosen, shown, page)


def _chosen(snapshot: Snapshot, wanted: FeedbackFilter, rows: list[Row]) -> Iterator[tuple[Row, Known]]:
    facts = [(row, Fact.read(row)) for row in rows]
    # What the row itself says comes first: the prediction of most need not be looked for.
    facts = [
        (row, fact)
        for row, fact in facts
        if (wanted.value is None or fact.value == wanted.value)
        and (wanted.person is None or fact.person == wanted.person)
        and (wanted.model is None or fact.model is None or fact.model == wanted.model)
    ]
    joined_to = {fact.prediction_key for _, fact in facts if fact.joined is not None}
    known = Prediction.read_all(snapshot.get(PREDICTIONS, [(pid,) for pid in joined_to]))
    predictions = {prediction.pid: prediction for prediction in known}
    for row, fact in facts:
        prediction = predictions.get(fact.prediction_key) if fact.joined is not None else None
        model = fact.model if prediction is None else prediction.model
        # As in the counts: an environment is its prediction's.
        env = fact.env if prediction is None else prediction.env
        if env == wanted.env and wanted.model in (None, model):
            yield row, (fact, prediction)
