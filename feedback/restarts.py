"""When a process that ended is started again: at once nearly, and later each time it did not last."""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S = 0.1, 10.0, 30.0


class Restarts:
    """The starts of one process.

    Args:
        most: after so many quick ends in a row it is given up; never when left out.
        clock: monotonic, in seconds.
    """

    def __init__(self, most: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._since = clock()
        self._failed = 0
        self.quick = 0
        """How often in a row it ended within `STEADY_S` of its start."""

    def started(self) -> None:
        """It was started just now."""
        self._since = self._clock()
        self._failed = 0

    def failed(self) -> float:
        """It could not even be started. Returns the pause; nothing is given up for it."""
        self._failed += 1
        return _pause_s(self._failed)

    def ended(self) -> float:
        """It ended just now. Returns the pause before the next start, in seconds."""
        lasted = self._clock() - self._since > STEADY_S
        self.quick = 1 if lasted else self.quick + 1
        return _pause_s(self.quick)

    @property
    def given_up(self) -> bool:
        """Whether another start would be in vain."""
        return self._most is not None and self.quick >= self._most


def _pause_s(in_a_row: int) -> float:
    return min(FIRST_PAUSE_S * 2.0 ** min(in_a_row - 1, 30), LONGEST_PAUSE_S)
