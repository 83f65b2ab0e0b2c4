"""What is parked, and for what: feedback without its prediction, labels without their declaration."""

from __future__ import annotations

from typing import Any

from schemas.catalog import type_name
from schemas.identity import unpack
from schemas.instants import SECOND, rfc3339
from streams.queries.pages import Page, listing
from streams.store.port import Range, Snapshot
from streams.store.tables import FACTS, Fact

TOKEN = tuple[bytes, bytes, str]
_PARKED = Range("")


def waiting(snapshot: Snapshot, now: int, page: Page, env: str | None = None) -> dict[str, Any]:
    """A page of what waits; `now` (ns) gives it an age."""
    where: dict[str, Any] = {"waits_for": _PARKED}
    if env is not None:
        where["env"] = env
    rows = list(snapshot.scan(FACTS, where, after=page.after, limit=page.limit + 1))
    shown = [Fact(*row) for row in rows[: page.limit]]
    items = [
        {
            "id": unpack(fact.id),
            "source": fact.source,
            "type": type_name(fact.kind),
            "waits_for": fact.waits_for,
            "received": rfc3339(fact.received),
            "age_s": round(max(0, now - fact.received) / SECOND, 3),
        }
        for fact in shown
    ]
    last = shown[-1] if len(rows) > page.limit else None
    return listing(items, None if last is None else (last.key, last.id, last.source))


def waiting_count(snapshot: Snapshot) -> int:
    """How many events wait."""
    return snapshot.count(FACTS, {"waits_for": _PARKED})
