"""How long to wait before trying again: longer from failure to failure, up to a bound, and as was asked for.

It computes pauses, and others sleep. The clock's reading comes in, and so does the source of chance. A client
draws from all of [0, bound], which spreads many of them best: "Exponential Backoff And Jitter" (AWS
Architecture Blog, 2015).
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple


class RetryPolicy(NamedTuple):
    """The pauses of one loop that tries again, in seconds.

    The first pause is ``first_s``; each further failure in a row makes it ``growth`` times as long, up to
    ``longest_s``. ``jitter`` is the share of a pause that is left to chance: 0 none of it, 1 all of it.
    """

    first_s: float
    longest_s: float
    growth: float = 2.0
    jitter: float = 0.0

    def bound_s(self, failures: int) -> float:
        """The longest pause after so many failures in a row, of which there is at least one."""
        # Beyond that, whatever it is, it is longer than the longest.
        return min(self.longest_s, self.first_s * self.growth ** min(failures - 1, 60))


class Pauses(NamedTuple):
    """What a client waits of its own accord, in seconds. The tests of a product may pass small ones.

    Before trying again: up to twice ``first``; the bound doubles with each failure, up to ``longest``.
    ``sync``: between two syncs of the spool. ``look``: between two looks for room, or for its file, in a
    call.
    """

    first: float = 0.1
    longest: float = 30.0
    sync: float = 1.0
    look: float = 0.05

    @property
    def retry(self) -> RetryPolicy:
        """What a client waits before it tries again."""
        return RetryPolicy(first_s=2 * self.first, longest_s=self.longest, jitter=1.0)


PAUSES = Pauses()


class Backoff:
    """The failures in a row of one loop, and its pauses. ``uniform`` is as ``random.uniform``."""

    def __init__(
        self, policy: RetryPolicy, uniform: Callable[[float, float], float] = random.uniform
    ) -> None:
        self._policy = policy
        self._uniform = uniform
        self._until = 0.0
        self._asked = False
        self.failures = 0

    def next_pause_s(self) -> float:
        """An attempt failed: how long to wait before the next one."""
        self.failures += 1
        bound = self._policy.bound_s(self.failures)
        if not self._policy.jitter:
            return bound
        return self._uniform((1.0 - self._policy.jitter) * bound, bound)

    def failed(self, now: float, asked_s: float = 0.0) -> None:
        """An attempt failed; the server asked for so many seconds of silence, or for none."""
        self._until = now + max(self.next_pause_s(), asked_s)
        self._asked = asked_s > 0

    def succeeded(self) -> None:
        """An attempt went through: the next failure begins anew."""
        self.failures = 0
        self._until = 0.0

    def hurry(self) -> None:
        """Try at once, unless the server asked for silence."""
        if not self._asked:
            self._until = 0.0

    def pause(self, now: float) -> float:
        """Seconds left to wait; 0 or less when it is time."""
        return self._until - now
