"""Event ids: UUIDv7 (RFC 9562), made in this process, each greater than the one before.

Ids in time order are what keeps the server's indexes small, so the client mints them that way. What they
name is not looked at here.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

_TAIL_BITS = 74
_TAIL_LIMIT = 1 << _TAIL_BITS
_LOW_62 = (1 << 62) - 1
_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62


class MonotonicIds:
    """Mints UUIDv7 text; every id is greater than the last, also when the clock steps back.

    Inside one millisecond the 74 random bits are counted up by a random step (RFC 9562, 6.2, method 2),
    so ids stay hard to guess and two processes do not meet. ``last`` is the millisecond and the tail that the
    first id comes after, ``clock`` gives nanoseconds since 1970.
    """

    def __init__(self, last: tuple[int, int] = (-1, 0), clock: Callable[[], int] = time.time_ns) -> None:
        # Re-entrant: a signal handler of the product may mint while its main thread does.
        self._lock = threading.RLock()
        self._last = last
        self._clock = clock

    def __call__(self) -> str:
        """The next id, as 36 characters of lower-case text."""
        now = self._clock() // 1_000_000
        noise = int.from_bytes(os.urandom(10), "big")
        with self._lock:
            millisecond, tail = self._last
            if now > millisecond:
                # The top bit stays free, so that counting up inside a millisecond has room.
                millisecond, tail = now, noise & (_TAIL_LIMIT // 2 - 1)
            else:
                tail += (noise & 0xFFFFFFFF) + 1
                if tail >= _TAIL_LIMIT:
                    millisecond, tail = millisecond + 1, tail & (_TAIL_LIMIT // 2 - 1)
            self._last = (millisecond, tail)
        value = millisecond << 80 | _VERSION_7 | (tail >> 62) << 64 | _VARIANT | tail & _LOW_62
        text = f"{value:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"

    def forget(self) -> None:
        """Start over with fresh noise; a forked child that kept counting would mint its parent's ids."""
        self._lock = threading.RLock()
        self._last = (-1, 0)


uuid7 = MonotonicIds()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=uuid7.forget)
