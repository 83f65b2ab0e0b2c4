"""Outcomes: an association over a group of subjects, never a label of one prediction.

For each group of exposures, how many subjects had an outcome within the window after being exposed.
Both tables are read once, side by side, a subject at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date
from itertools import groupby
from typing import Any

from models.estimate import estimate
from streams.queries.pages import Page, listing
from streams.store.port import Range, Snapshot
from streams.store.tables import EXPOSURES, OUTCOMES, Exposure, Outcome

TOKEN = list[str | None]
WINDOW_DAYS = 30

_Group = tuple[str | None, ...]


def outcomes(
    snapshot: Snapshot,
    model: str,
    by: Sequence[str],
    page: Page,
    *,
    first_day: str | None = None,
    last_day: str | None = None,
    env: str = "prod",
    window_days: int = WINDOW_DAYS,
) -> dict[str, Any]:
    """A page of groups and outcomes: `subjects` exposed, `n` of them with the outcome, rate and interval.

    Args:
        by: fields of the exposures to group by, of `OUTCOME_FIELDS`.
        first_day, last_day: UTC days of the exposures, both inclusive.
        window_days: an outcome belongs to an exposure up to so many days before it.

    The rate and its 95% interval are null below `models.estimate.ENOUGH` subjects: not enough data yet.
    """
    subjects: defaultdict[_Group, int] = defaultdict(int)
    befell: defaultdict[tuple[_Group, str], int] = defaultdict(int)
    words: set[str] = set()
    for exposures, events in _subjects(snapshot, model, first_day, last_day, env):
        happened = _days_by_word(events)
        words.update(happened)
        for group, days in _days_by_group(exposures, by).items():
            subjects[group] += 1
            for word, outcome_days in happened.items():
                if any(0 <= after - day <= window_days for day in days for after in outcome_days):
                    befell[group, word] += 1
    keys = sorted(((*group, word) for group in subjects for word in words), key=_order)
    if page.after is not None:
        behind = _order(page.after)
        keys = [key for key in keys if _order(key) > behind]
    shown = keys[: page.limit]
    items = [
        _item(
            dict(zip((*by, "outcome"), key, strict=True)), subjects[key[:-1]], befell[key[:-1], str(key[-1])]
        )
        for key in shown
    ]
    return listing(items, shown[-1] if len(keys) > page.limit else None)


def _item(names: dict[str, Any], subjects: int, n: int) -> dict[str, Any]:
    rate = estimate(n, subjects)
    value, low, high = (rate.value, rate.low, rate.high) if rate.enough else (None, None, None)
    return {**names, "subjects": subjects, "n": n, "rate": value, "low": low, "high": high}


def _subjects(
    snapshot: Snapshot, model: str, first_day: str | None, last_day: str | None, env: str
) -> Iterator[tuple[list[Exposure], list[Outcome]]]:
    """Each exposed subject's exposures and outcomes; both tables are in the order of their subjects."""
    where: dict[str, Any] = {"model": model, "env": env}
    if first_day is not None or last_day is not None:
        where["day"] = Range(first_day, last_day)
    exposures = Exposure.read_all(snapshot.scan(EXPOSURES, where))
    events = groupby(Outcome.read_all(snapshot.scan(OUTCOMES, {"env": env})), lambda row: row.subject)
    waiting: tuple[str, list[Outcome]] | None = None
    for subject, rows in groupby(exposures, lambda row: row.subject):
        seen = list(rows)
        while waiting is None or waiting[0] < subject:
            found = next(events, None)
            if found is None:
                break
            waiting = found[0], [row for row in found[1] if row.model in (None, model)]
        yield seen, waiting[1] if waiting is not None and waiting[0] == subject else []


def _days_by_group(exposures: Iterable[Exposure], by: Sequence[str]) -> dict[_Group, list[int]]:
    """The days on which a subject was exposed, by group; what was taken back is left out."""
    sums: defaultdict[tuple[_Group, str], int] = defaultdict(int)
    for row in exposures:
        sums[tuple(getattr(row, name) for name in by), row.day] += row.n
    days: defaultdict[_Group, list[int]] = defaultdict(list)
    for (group, day), n in sums.items():
        if n > 0:
            days[group].append(date.fromisoformat(day).toordinal())
    return days


def _days_by_word(events: Iterable[Outcome]) -> dict[str, list[int]]:
    """The days on which each outcome befell a subject and was not taken back."""
    sums: defaultdict[tuple[str, str], int] = defaultdict(int)
    for row in events:
        sums[row.outcome, row.day] += row.n
    days: defaultdict[str, list[int]] = defaultdict(list)
    for (word, day), n in sums.items():
        if n > 0:
            days[word].append(date.fromisoformat(day).toordinal())
    return days


def _order(key: Sequence[str | None]) -> list[tuple[bool, str]]:
    return [(value is not None, value or "") for value in key]
