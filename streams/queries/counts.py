"""Counts: how many events of each kind, grouped by whatever is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from streams.queries.pages import Page, listing
from streams.store.port import Range, Snapshot
from streams.store.tables import COUNTS

TOKEN = list[str | None]


class _Counted(NamedTuple):
    """The fields that a group has in common, how many events count in it, and how many there are."""

    group: Sequence[str | None]
    n: int
    events: int


def counts(
    snapshot: Snapshot,
    by: Sequence[str],
    page: Page,
    *,
    model: str | None = None,
    first_day: str | None = None,
    last_day: str | None = None,
    env: str | None = None,
) -> dict[str, Any]:
    """A page of groups, each with `n` and `events`.

    Args:
        by: the fields to group by, of `COUNT_FIELDS`; none gives one group of everything.
        first_day, last_day: UTC days as YYYY-MM-DD, both inclusive.
        env: the environment to count; None for all of them.
    """
    where: dict[str, Any] = {}
    if model is not None:
        where["model"] = model
    if env is not None:
        where["env"] = env
    if first_day is not None or last_day is not None:
        where["day"] = Range(first_day, last_day)
    totals = snapshot.totals(COUNTS, list(by), where)
    found = [_Counted(group, n, events) for *group, n, events in totals]
    if not by and not found:
        found = [_Counted([], 0, 0)]
    found.sort(key=lambda each: _order(each.group))
    if page.after is not None:
        behind = _order(page.after)
        found = [each for each in found if _order(each.group) > behind]
    shown = found[: page.limit]
    items = [{**dict(zip(by, each.group, strict=True)), "n": each.n, "events": each.events} for each in shown]
    return listing(items, shown[-1].group if len(found) > page.limit else None)


def _order(group: Sequence[str | None]) -> list[tuple[bool, str]]:
    """Groups in the order of their fields, one without a field first."""
    return [(value is not None, value or "") for value in group]
