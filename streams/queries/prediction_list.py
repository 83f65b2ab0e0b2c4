"""Predictions, newest first: by model, version, segment, action, person, day, and what was said of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from schemas.instants import rfc3339
from streams.queries.feedback_counts import Counted, Word, counted, search
from streams.queries.newest import ROW_BYTES, Chosen, days, newest_first, page_of, position_of
from streams.queries.pages import Int64, Page
from streams.queries.payloads import Payloads
from streams.queries.predictions import FactPlace, label_of, sent_data
from streams.store.port import Snapshot
from streams.store.tables import LABELS, PREDICTIONS, PREDICTIONS_BY_TIME, Label, Prediction, Row, as_row

TOKEN = tuple[Int64, bytes, FactPlace | None]
"""A prediction's at and pid; and a place among its facts where a search goes on within it."""

_MOST_MODELS = 10_000
_position = position_of(PREDICTIONS, PREDICTIONS_BY_TIME)


class PredictionFilter(NamedTuple):
    """Which predictions are asked for; None is any.

    `word` is a kind of feedback and its value, or None for any value: something like it counts for the
    prediction. Days are UTC days of the prediction, both inclusive.
    """

    model: str | None = None
    model_version: str | None = None
    segment: str | None = None
    action: str | None = None
    person: str | None = None
    word: Word | None = None
    first_day: str | None = None
    last_day: str | None = None
    env: str = "prod"


def prediction_list(
    snapshot: Snapshot, payloads: Payloads, wanted: PredictionFilter, page: Page
) -> dict[str, Any]:
    """A page of predictions, newest first, each with its label and how often what was said of it."""
    models = (
        [wanted.model]
        if wanted.model is not None
        else snapshot.distinct(PREDICTIONS, "model", limit=_MOST_MODELS)
    )
    within = days(wanted.first_day, wanted.last_day)
    before, begun = None, {}
    if page.after is not None:
        at, pid, place = page.after
        # A search that goes on within a prediction begins with it: nothing lies between it and this key.
        before = (at, pid) if place is None else (at, pid + b"\0")
        begun = {} if place is None else {pid: place}
    rows = newest_first(snapshot, PREDICTIONS, PREDICTIONS_BY_TIME, models, within, before)

    def chosen(some: list[Row], most: int) -> Chosen[Prediction]:
        found = [each for each in Prediction.read_all(some) if _meets(each, wanted)]
        if wanted.word is None:
            return Chosen(list(map(_with_row, found)))
        met, read, stopped = search(snapshot, found, wanted.word, most, begun)
        if stopped is None:
            return Chosen(list(map(_with_row, met)), read)
        last, place = stopped
        return Chosen(list(map(_with_row, met)), read, (last.at, last.pid, place))

    def shown(found: list[tuple[Row, Prediction]]) -> Iterator[tuple[dict[str, Any], int]]:
        return _shown(snapshot, payloads, [each for _, each in found])

    return page_of(rows, lambda row: (*_position(row), None), chosen, shown, page)


def _with_row(prediction: Prediction) -> tuple[Row, Prediction]:
    return as_row(prediction), prediction


def _meets(row: Prediction, wanted: PredictionFilter) -> bool:
    return (
        row.env == wanted.env
        and wanted.model_version in (None, row.model_version)
        and wanted.segment in (None, row.segment)
        and wanted.action in (None, row.action)
        and wanted.person in (None, row.person)
    )


def _shown(
    snapshot: Snapshot, payloads: Payloads, predictions: list[Prediction]
) -> Iterator[tuple[dict[str, Any], int]]:
    rows = snapshot.get(LABELS, [(each.model, each.pid) for each in predictions])
    labels = {label.pid: label for label in Label.read_all(rows)}
    sent = payloads.events((each.partition, each.offset, each.place) for each in predictions)
    for each, counts, original in zip(predictions, counted(snapshot, predictions), sent, strict=True):
        item: dict[str, Any] = {
            "prediction": sent_data(each, original),
            "at": rfc3339(each.at),
            "label": label_of(labels.get(each.pid)),
            "feedback_counts": _feedback_counts(counts),
        }
        if counts.more:
            item["feedback_counts_more"] = True
        yield item, len(bytes(original.data)) + counts.read * ROW_BYTES


def _feedback_counts(said: Counted) -> dict[str, int]:
    """How often, by `KIND` or `KIND:VALUE`, in that order."""
    words = sorted(said.words.items(), key=lambda each: (each[0][0], each[0][1] or ""))
    return {kind if value is None else f"{kind}:{value}": n for (kind, value), n in words}
