"""Counts: how many events of each kind, grouped by whatever is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streams.queries.pages import Page, listing
from streams.store.port import Range, Snapshot
from streams.store.tables import COUNTS

TOKEN = list[str | None]


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
    rows = snapshot.totals(COUNTS, list(by), where)
    if not by and not rows:
        rows = [(0, 0)]
    rows.sort(key=lambda row: _order(row[: len(by)]))
    if page.after is not None:
        behind = _order(page.after)
        rows = [row for row in rows if _order(row[: len(by)]) > behind]
    shown = rows[: page.limit]
    items = [dict(zip((*by, "n", "events"), row, strict=True)) for row in shown]
    return listing(items, shown[-1][: len(by)] if len(rows) > page.limit else None)


def _order(group: Sequence[str | None]) -> list[tuple[bool, str]]:
    """Groups in the order of their fields, one without a field first."""
    return [(value is not None, value or "") for value in group]
