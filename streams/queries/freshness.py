"""How far the views have come: what they are complete up to, and how many blocks they lag behind.

Whoever asks reads the clock first, then the log's ends, then opens the snapshot; so a claim made of
the three is never too bold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.instants import DAY, rfc3339
from streams.log.port import DEAD, Positions
from streams.store.port import Applied

MATURITY_DAYS = 14


def lag(positions: Mapping[int, Applied], ends: Positions) -> int:
    """How many blocks of the log the views have not seen, over all partitions."""
    return sum(max(0, end - _offset(positions, partition)) for partition, end in ends.items())


def complete_up_to(
    positions: Mapping[int, Applied],
    ends: Positions,
    now: int,
    epochs: Sequence[range] = (),
    *,
    append_ns: int = 0,
) -> int | None:
    """The instant (ns) up to which everything received is in the views; None when nothing can be said.

    `now` when they stand at the log's end, else when the slowest lagging partition's last applied
    block was received. `epochs` are the log's partitions in each of its epochs: what lies in one was received
    after all of the one before, and the views are in none before they have finished that. `append_ns`: how
    much older than a block what lies behind it may be, where several write to the log.
    """
    rest = [each for each in ends if each != DEAD and not any(each in epoch for epoch in epochs)]
    spans = [*epochs, rest]
    entered = max((number for number, span in enumerate(spans) if positions.keys() & set(span)), default=0)
    bounds = [_received(positions, DEAD)] if _lags(positions, ends, DEAD) else []
    finished: int | None = None
    for number, span in enumerate(spans):
        lagging = [each for each in span if number >= entered and _lags(positions, ends, each)]
        if lagging:
            bounds += [_received(positions, each, finished) for each in lagging]
            break
        finished = max((positions[each].received for each in span if each in positions), default=finished)
    known = [bound - append_ns for bound in bounds if bound is not None]
    return min([now, *known]) if len(known) == len(bounds) else None


def reached(positions: Mapping[int, Applied], wanted: Positions) -> bool:
    """Whether the views cover a vector of positions."""
    return all(_offset(positions, partition) >= offset for partition, offset in wanted.items())


def freshness(
    positions: Mapping[int, Applied],
    ends: Positions,
    now: int,
    maturity_days: int = MATURITY_DAYS,
    epochs: Sequence[range] = (),
    *,
    append_ns: int = 0,
) -> dict[str, str | None]:
    """`complete_up_to`, and `mature_up_to`: what is older has had its time to be said something about."""
    complete = complete_up_to(positions, ends, now, epochs, append_ns=append_ns)
    mature = None if complete is None else complete - maturity_days * DAY
    return {
        "complete_up_to": None if complete is None else rfc3339(complete),
        "mature_up_to": None if mature is None else rfc3339(mature),
    }


def _lags(positions: Mapping[int, Applied], ends: Positions, partition: int) -> bool:
    return _offset(positions, partition) < ends.get(partition, 0)


def _received(positions: Mapping[int, Applied], partition: int, otherwise: int | None = None) -> int | None:
    return positions[partition].received if partition in positions else otherwise


def _offset(positions: Mapping[int, Applied], partition: int) -> int:
    applied = positions.get(partition)
    return 0 if applied is None else applied.offset
