"""Which partitions stand still though the log has more of them, and for how long: judged one by one.

Views that move are no proof that all of them do: one partition may wait for a lock, for its leader, or for
blocks that do not come in. How long is too long, and what to do then, is left to whoever asks.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from streams.log.port import DEAD, Positions


class _Still(NamedTuple):
    """Where a partition that has blocks to wait for stands, and since when."""

    position: int
    since: float


class Stillness:
    """What was seen of positions and ends, with the instants (monotonic, in seconds) that the caller gives.

    From the first sight of a lag on: how long there was nothing to do before does not count. Not guarded.
    """

    def __init__(self) -> None:
        self._still: dict[int, _Still] = {}
        self._positions: dict[int, int] = {}
        self._moved = float("-inf")

    def note(self, positions: Positions, ends: Positions, now: float) -> None:
        """These partitions stand here, and the log ends there; what is known of others is kept.

        One that is left out for a while and comes back where it stood was moved by nobody.
        """
        for partition, position in positions.items():
            if self._positions.get(partition, position) != position:
                self._moved = now
            self._positions[partition] = position
            still = self._still.get(partition)
            if position >= ends.get(partition, 0):
                self._still.pop(partition, None)
            elif still is None or still.position != position:
                self._still[partition] = _Still(position, now)

    def seconds(self, partitions: Collection[int], now: float) -> dict[int, float]:
        """For how many seconds each of these that stands still has done so."""
        return {each: now - self._still[each].since for each in sorted(partitions) if each in self._still}

    def nothing_moves_s(self, partitions: Collection[int], now: float) -> float:
        """For how many seconds blocks of these have waited while no partition moved; 0 when none waits."""
        still = self.seconds(partitions, now)
        return min(max(still.values()), now - self._moved) if still else 0.0


def while_others_did(partition: int, still_s: float, waiting: int, position: int) -> str:
    """That one partition stands still, as a reason."""
    return (
        f"partition {name_of(partition)} has not moved for {still_s:.0f} s while others did:"
        f" {waiting} {'block waits' if waiting == 1 else 'blocks wait'} at {position}"
    )


def name_of(partition: int) -> str:
    """A partition as people read it."""
    return "dead" if partition == DEAD else str(partition)
