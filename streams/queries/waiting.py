"""What is parked, and for what: feedback without its prediction, labels without their declaration."""

from __future__ import annotations

from typing import Any

from schemas.identity import unpack
from schemas.instants import SECOND, rfc3339
from schemas.kinds import KINDS
from streams.queries.pages import Page, listing
from streams.store.port import Range, Snapshot
from streams.store.tables import FACTS, FACTS_BY_WAIT, Fact, Row, picking

TOKEN = tuple[str, bytes, bytes, str]
_PARKED = Range("")
_env = FACTS.column("env")
_place = picking(FACTS, FACTS_BY_WAIT.order)


def waiting(snapshot: Snapshot, now: int, page: Page, env: str | None = None) -> dict[str, Any]:
    """A page of what waits, in the order of what it waits for; `now` (ns) gives it an age."""
    rows = _parked(snapshot, page, env)
    shown = list(Fact.read_all(rows[: page.limit]))
    items = [
        {
            "id": unpack(fact.id),
            "source": fact.source,
            "type": KINDS[fact.kind].type,
            "waits_for": fact.waits_for,
            "received": rfc3339(fact.received),
            "age_s": round(max(0, now - fact.received) / SECOND, 3),
        }
        for fact in shown
    ]
    return listing(items, _place(rows[page.limit - 1]) if len(rows) > page.limit else None)


def _parked(snapshot: Snapshot, page: Page, env: str | None) -> list[Row]:
    """The rows of a page and one more, of one environment or of all."""
    start: tuple[Any, ...] = page.after or ("",)
    most = page.limit + 1
    found: list[Row] = []
    while len(found) < most:
        rows = snapshot.along(FACTS, FACTS_BY_WAIT, [start], fixed=0, limit=most)
        found += rows if env is None else [row for row in rows if _env(row) == env]
        if len(rows) < most:
            break
        start = _place(rows[-1])
    return found[:most]


def waiting_count(snapshot: Snapshot) -> int:
    """How many events wait."""
    return snapshot.count(FACTS, {"waits_for": _PARKED})
