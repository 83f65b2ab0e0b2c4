"""How long to wait before trying again: full jitter under a bound that doubles, and what was asked for.

Pure: the clock's reading comes in, and so does the source of chance. After "Exponential Backoff And Jitter"
(AWS Architecture Blog, 2015): pauses drawn from all of [0, bound] spread many clients best.
"""

from __future__ import annotations

from collections.abc import Callable

FIRST_S = 0.1
LONGEST_S = 30.0


class Backoff:
    """The pause between attempts. ``uniform`` draws a number between two, as ``random.uniform`` does."""

    def __init__(self, uniform: Callable[[float, float], float]) -> None:
        self._uniform = uniform
        self._until = 0.0
        self._asked = False
        self.failures = 0

    def failed(self, now: float, asked_s: float = 0.0) -> None:
        """An attempt failed; the server asked for so many seconds of silence, or for none."""
        self.failures += 1
        bound = min(LONGEST_S, FIRST_S * 2 ** min(self.failures, 20))
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
