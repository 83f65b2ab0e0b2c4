"""Predictions, newest first: by model, version, segment, action, person, day, and what was said of them."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, NamedTuple

from schemas.catalog import FEEDBACK
from schemas.instants import rfc3339
from streams.queries.newest import days, newest_first, page_of, position_of
from streams.queries.originals import Originals
from streams.queries.pages import Int64, Page
from streams.queries.predictions import label_of, sent_data
from streams.store.port import Snapshot
from streams.store.tables import (
    FACTS,
    FACTS_FROM_CASES,
    LABELS,
    PREDICTIONS,
    PREDICTIONS_BY_TIME,
    Fact,
    Index,
    Label,
    Prediction,
    Row,
    picking,
)

TOKEN = tuple[Int64, bytes]
_MOST_MODELS = 10_000
_FACTS_AT_ONCE = 1_000

Said = Counter[tuple[str, str | None]]
"""How often what counts was said of a prediction, by kind and value."""


class Wanted(NamedTuple):
    """Which predictions are asked for; None is any.

    `said` is a kind of feedback and its value, or None for any value: something like it counts for the
    prediction. Days are UTC days of the prediction, both inclusive.
    """

    model: str | None = None
    model_version: str | None = None
    segment: str | None = None
    action: str | None = None
    person: str | None = None
    said: tuple[str, str | None] | None = None
    first_day: str | None = None
    last_day: str | None = None
    env: str = "prod"


def prediction_list(snapshot: Snapshot, originals: Originals, wanted: Wanted, page: Page) -> dict[str, Any]:
    """A page of predictions, newest first, each with its label and how often what was said of it."""
    models = (
        [wanted.model]
        if wanted.model is not None
        else snapshot.distinct(PREDICTIONS, "model", limit=_MOST_MODELS)
    )
    within = days(wanted.first_day, wanted.last_day)
    rows = newest_first(snapshot, PREDICTIONS, PREDICTIONS_BY_TIME, models, within, page.after)

    def chosen(some: list[Row]) -> Iterable[tuple[Row, Said | None]]:
        found = [row for row in some if _meets(Prediction(*row), wanted)]
        if wanted.said is None:
            return [(row, None) for row in found]
        said = _said(snapshot, found)
        return [(row, said[row[0]]) for row in found if _was_said(said[row[0]], wanted.said)]

    def shown(found: list[tuple[Row, Said | None]]) -> Iterator[tuple[dict[str, Any], int]]:
        return _shown(snapshot, originals, found)

    return page_of(rows, position_of(PREDICTIONS, PREDICTIONS_BY_TIME), chosen, shown, page)


def _meets(row: Prediction, wanted: Wanted) -> bool:
    return (
        row.env == wanted.env
        and wanted.model_version in (None, row.model_version)
        and wanted.segment in (None, row.segment)
        and wanted.action in (None, row.action)
        and wanted.person in (None, row.person)
    )


def _said(snapshot: Snapshot, rows: Sequence[Row]) -> defaultdict[bytes, Said]:
    """What counts of what was said of each prediction."""
    said: defaultdict[bytes, Said] = defaultdict(Counter)
    predictions = [Prediction(*row) for row in rows]
    named = _walked(snapshot, FACTS.by_key, [each.pid for each in predictions])
    by_case = [each.pid for each in predictions if each.join_key is not None]
    for fact in chain(named, _walked(snapshot, FACTS_FROM_CASES, by_case)):
        if fact.joined is not None and fact.effective and fact.kind.startswith(FEEDBACK):
            said[fact.pid or fact.key][fact.kind.removeprefix(FEEDBACK), fact.value] += 1
    return said


def _walked(snapshot: Snapshot, index: Index, pids: Sequence[bytes]) -> Iterator[Fact]:
    """The facts of predictions along an index: the first ones together, what is more of any one in pages."""
    starts: list[tuple[Any, ...]] = [(pid,) for pid in pids]
    while starts:
        rows = snapshot.along(FACTS, index, starts, fixed=1, limit=_FACTS_AT_ONCE)
        yield from (Fact(*row) for row in rows)
        counts = Counter(picking(FACTS, index.columns[:1])(row) for row in rows)
        last = {picking(FACTS, index.columns[:1])(row): picking(FACTS, index.order)(row) for row in rows}
        starts = [last[pid] for pid, count in counts.items() if count == _FACTS_AT_ONCE]


def _was_said(said: Said, wanted: tuple[str, str | None]) -> bool:
    kind, value = wanted
    return wanted in said if value is not None else any(kind == each for each, _ in said)


def _shown(
    snapshot: Snapshot, originals: Originals, found: list[tuple[Row, Said | None]]
) -> Iterator[tuple[dict[str, Any], int]]:
    predictions = [Prediction(*row) for row, _ in found]
    labels = {
        label.pid: label
        for label in (
            Label(*row) for row in snapshot.get(LABELS, [(each.model, each.pid) for each in predictions])
        )
    }
    counted = _said(snapshot, [row for row, said in found if said is None])
    sent = originals.events((each.partition, each.offset, each.place) for each in predictions)
    for (_, said), each, original in zip(found, predictions, sent, strict=True):
        counts = counted[each.pid] if said is None else said
        item = {
            "prediction": sent_data(each, original),
            "at": rfc3339(each.at),
            "label": label_of(labels.get(each.pid)),
            "feedback_counts": {
                kind if value is None else f"{kind}:{value}": n
                for (kind, value), n in sorted(
                    counts.items(), key=lambda each: (each[0][0], each[0][1] or "")
                )
            },
        }
        yield item, len(bytes(original.data))
