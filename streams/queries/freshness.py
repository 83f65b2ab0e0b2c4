"""How far the views have come: what they are complete up to, and how many blocks they lag behind.

Whoever asks reads the clock first, then the log's ends, then opens the snapshot; so a claim made of
the three is never too bold.
"""

from __future__ import annotations

from collections.abc import Mapping

from schemas.instants import DAY, rfc3339
from streams.log.port import Positions
from streams.store.port import Applied

MATURITY_DAYS = 14


def lag(positions: Mapping[int, Applied], ends: Positions) -> int:
    """How many blocks of the log the views have not seen, over all partitions."""
    return sum(max(0, end - _offset(positions, partition)) for partition, end in ends.items())


def complete_up_to(positions: Mapping[int, Applied], ends: Positions, now: int) -> int | None:
    """The instant (ns) up to which everything received is in the views; None when nothing can be said.

    `now` when they stand at the log's end, else when the slowest lagging partition's last applied
    block was received.
    """
    lagging = [partition for partition, end in ends.items() if _offset(positions, partition) < end]
    if not lagging:
        return now
    if any(partition not in positions for partition in lagging):
        return None
    return min(now, *(positions[partition].received for partition in lagging))


def reached(positions: Mapping[int, Applied], wanted: Positions) -> bool:
    """Whether the views cover a vector of positions."""
    return all(_offset(positions, partition) >= offset for partition, offset in wanted.items())


def freshness(
    positions: Mapping[int, Applied], ends: Positions, now: int, maturity_days: int = MATURITY_DAYS
) -> dict[str, str | None]:
    """`complete_up_to`, and `mature_up_to`: what is older has had its time to be said something about."""
    complete = complete_up_to(positions, ends, now)
    mature = None if complete is None else complete - maturity_days * DAY
    return {
        "complete_up_to": None if complete is None else rfc3339(complete),
        "mature_up_to": None if mature is None else rfc3339(mature),
    }


def _offset(positions: Mapping[int, Applied], partition: int) -> int:
    applied = positions.get(partition)
    return 0 if applied is None else applied.offset
