"""What was received here and is not settled yet, so that nobody says that all of that time is in the log.

An item is received at an instant, and lies in the log some time after. Who asks the log where it ends, and
would say of an instant that everything received until then is in it, asks first up to when all is settled.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable


class Receipts:
    """The instants of receipt that are open. Safe to use from several threads.

    Args:
        clock: nanoseconds since 1970.
    """

    def __init__(self, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._open: Counter[int] = Counter()

    def take(self) -> int:
        """The instant of receipt, now. It is open until `settle`."""
        with self._guard:
            received = self._clock()
            self._open[received] += 1
            return received

    def settle(self, received: int) -> None:
        """What was received then is in the log, or nobody was told that it is."""
        with self._guard:
            self._open[received] -= 1
            if not self._open[received]:
                del self._open[received]

    def settled_up_to(self) -> int:
        """The latest instant up to which everything received here, until now, is settled."""
        with self._guard:
            now = self._clock()
            return min(now, min(self._open) - 1) if self._open else now
