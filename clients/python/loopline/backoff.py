"""How long to wait: before trying again, full jitter under a bound that doubles, or what was asked for.

Pure: the clock's reading comes in, and so does the source of chance. After "Exponential Backoff And Jitter"
(AWS Architecture Blog, 2015): pauses drawn from all of [0, bound] spread many clients best.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Pauses(NamedTuple):
    """What a client waits of its own accord, in seconds. The tests of a product may pass small ones.

    Before trying again: up to ``first``, the bound doubles with each failure up to ``longest``. ``sync``:
    between two syncs of the spool. ``look``: between two looks for room, or for its file, in a call.
    """

    first: float = 0.1
    longest: float = 30.0
    sync: float = 1.0
    look: float = 0.05


PAUSES = Pauses()


class Backoff:
    """The pause between attempts. ``uniform`` draws a number between two, as ``random.uniform`` does."""

    def __init__(self, uniform: Callable[[float, float], float], pauses: Pauses = PAUSES) -> None:
        self._uniform = uniform
        self._first, self._longest = pauses.first, pauses.longest
        self._until = 0.0
        self._asked = False
        self.failures = 0

    def failed(self, now: float, asked_s: float = 0.0) -> None:
        """An attempt failed; the server asked for so many seconds of silence, or for none."""
        self.failures += 1
        bound = min(self._longest, self._first * 2 ** min(self.failures, 20))
        self._until = now + max(self._uniform(0, bound), asked_s)
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
