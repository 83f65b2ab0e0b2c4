"""When a process that ended is started again: at once nearly, and later each time it did not last."""

from __future__ import annotations

import time
from collections.abc import Callable

from loopline.backoff import RetryPolicy

RETRY = RetryPolicy(first_s=0.1, longest_s=10.0)
STEADY_S = 30.0


class Restarts:
    """The starts of one process.

    Args:
        most: after so many quick ends in a row it is given up; never when left out.
        clock: monotonic, in seconds.
        retry: the pauses between an end and the next start.
    """

    def __init__(
        self,
        most: int | None = None,
        clock: Callable[[], float] = time.monotonic,
        retry: RetryPolicy = RETRY,
    ) -> None:
        self._most = most
        self._clock = clock
        self._retry = retry
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
        return self._retry.bound_s(self._failed)

    def ended(self) -> float:
        """It ended just now. Returns the pause before the next start, in seconds."""
        lasted = self._clock() - self._since > STEADY_S
        self.quick = 1 if lasted else self.quick + 1
        return self._retry.bound_s(self.quick)

    @property
    def given_up(self) -> bool:
        """Whether another start would be in vain."""
        return self._most is not None and self.quick >= self._most
