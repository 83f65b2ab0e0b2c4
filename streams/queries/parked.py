"""What waits, in groups: for each undeclared version, and for predictions, join keys and events altogether.

Groups are searched for and counted up to a bound, so the cost does not grow with what waits.
"""

from __future__ import annotations

from typing import Any

from schemas import waits
from streams.store.port import Range, Snapshot
from streams.store.tables import FACTS

MOST_COUNTED = 100_000
"""A group is counted up to so many; `more` says that there are others."""

MOST_VERSIONS = 20
"""So many undeclared versions are groups of their own; what waits for further ones is one group."""

_ALTOGETHER = (waits.PREDICTION, waits.JOIN_KEY, waits.EVENT)


def parked(snapshot: Snapshot) -> list[dict[str, Any]]:
    """Each group with `waits_for`, how many `events` wait, and whether there are `more` than were counted.

    `waits_for` is `declaration:MODEL@VERSION`, or `prediction`, `join_key` and `event` for all of their kind.
    """
    versions = snapshot.distinct(FACTS, "waits_for", _beginning(waits.DECLARATION), limit=MOST_VERSIONS + 1)
    groups: list[tuple[str, Any]] = [(name, name) for name in versions[:MOST_VERSIONS]]
    if len(versions) > MOST_VERSIONS:
        groups.append((waits.DECLARATION, Range(versions[-1], _beginning(waits.DECLARATION).high)))
    groups += [(name, _beginning(name)) for name in _ALTOGETHER]
    found = []
    for name, wanted in groups:
        n = snapshot.count(FACTS, {"waits_for": wanted}, most=MOST_COUNTED + 1)
        if n:
            found.append({"waits_for": name, "events": min(n, MOST_COUNTED), "more": n > MOST_COUNTED})
    return found


def _beginning(name: str) -> Range:
    """All texts that begin so: the greatest code point is behind whatever follows."""
    prefix = f"{name}:"
    return Range(prefix, prefix + "\U0010ffff")
