"""Where the log ends, for whoever answers from the views: asked with patience, else as it was known last.

What holds the log may be away, or hang, while the views are there. So the log is asked on a thread of its
own, for which a reader waits a moment only, and not at all once it was silent. What is said of ends that
were known a while ago is said of that time, and never of a later one; and what was received by then and
still on its way into the log is not claimed to be in it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import NamedTuple

from streams.clocks import since_start
from streams.daemon_pool import DaemonPool
from streams.log.port import Log, LogDenied, LogRefused, Positions

_SECOND = 1_000_000_000


class Known(NamedTuple):
    """Where the log ended at an instant (ns by the clock here), or later; `since` is the same by another
    clock, which nobody sets. What was received in the `open_ns` before may have been on its way.
    """

    at: int
    ends: Positions
    since: int
    open_ns: int = 0

    def instant(self, now: int, elapsed: int, ahead: int = 0) -> int:
        """The latest instant (ns) of which may be said what these ends say: as long ago as they were known,
        less what was on its way.

        A clock that is ahead, or was when the log was asked, makes nothing known of the future.

        Args:
            now: the clock here.
            elapsed: the time since start.
            ahead: how far the clock here is known to be ahead of others.
        """
        return min(self.at, now - ahead - max(0, elapsed - self.since)) - self.open_ns


class Ends:
    """Where a log ends. Safe to use from several threads.

    Args:
        log: the log; what it knows already is a beginning.
        clock: nanoseconds since 1970.
        keep_ns: for how long the log is not asked again. With 0 it is asked each time.
        elapsed: nanoseconds since some moment, by what nobody sets.
        settled: up to when everything received here is in the log, or never acknowledged; the clock when
            left out.
        patience_s: so long a reader waits for a log that answered when it was asked before.
        again_s: one that did not answer is asked again after so long.
        append_ns: how long after its receipt another writer's item may come into the log, at most.
    """

    def __init__(
        self,
        log: Log,
        clock: Callable[[], int],
        keep_ns: int = 0,
        *,
        elapsed: Callable[[], int] = since_start,
        settled: Callable[[], int] | None = None,
        append_ns: int = 0,
        patience_s: float = 0.5,
        again_s: float = 1.0,
    ) -> None:
        self.append_ns = append_ns
        self._patience_s, self._again_s = patience_s, again_s
        self._settled = settled or clock
        self._log = log
        self._clock = clock
        self._keep_ns = keep_ns
        self._elapsed = elapsed
        self._thread = DaemonPool(1, "ends")
        self._guard = threading.Lock()
        self._look: Future[Known] | None = None
        # In real time: how patient somebody is, is no matter of the clock that is given.
        self._began_s = 0.0
        self._failed: Exception | None = None
        self._known: Known | None = None
        with contextlib.suppress(Exception):
            known = log.known_ends()
            age = int(known.age_s * _SECOND)
            self._known = Known(clock() - age, known.ends, elapsed() - age, append_ns)

    def __call__(self) -> Known | None:
        """Where the log ended when it was known last; None when it never was. Returns within the patience.

        Raises LogRefused when the log is not what it was: somebody has to look. That it does not let this
        client in for now says nothing of what it was.
        """
        look, patience_s = self._begin()
        if look is not None and patience_s > 0:
            wait([look], patience_s)
        with self._guard:
            if isinstance(self._failed, LogRefused) and not isinstance(self._failed, LogDenied):
                # Another one each time: what is raised keeps whom it went through.
                raise LogRefused(str(self._failed))
            return self._known

    @property
    def known(self) -> Known | None:
        """Where the log ended when it was known last, without asking it."""
        return self._known

    def moment(self) -> int:
        """Now, as in `Known.since`."""
        return self._elapsed()

    def trouble(self, patience_s: float) -> str | None:
        """Why what is known is not of now: what the log said last, or that it is silent for so long."""
        with self._guard:
            if self._failed is not None:
                return str(self._failed) or type(self._failed).__name__
            silent_s = self._silent_s()
        return f"it was asked {silent_s:.0f} s ago" if silent_s >= patience_s else None

    def _silent_s(self) -> float:
        """For how long an answer is outstanding."""
        if self._look is None or self._look.done():
            return 0.0
        return time.monotonic() - self._began_s

    def _begin(self) -> tuple[Future[Known] | None, float]:
        """The look to wait for, one that begins now if none is under way; and for how long."""
        with self._guard:
            if self._look is None or self._look.done():
                known, wants = self._known, True
                if self._failed is not None:
                    wants = time.monotonic() - self._began_s >= self._again_s
                elif known is not None and self._keep_ns and self._look is not None:
                    wants = not 0 <= self._elapsed() - known.since < self._keep_ns
                if not wants:
                    return None, 0.0
                self._began_s = time.monotonic()
                self._look = self._thread.submit(self._ask)
            # Whoever was silent or away is not waited for again, before it has answered.
            patience_s = 0.0 if self._failed is not None else self._patience_s - self._silent_s()
            return self._look, patience_s

    def _ask(self) -> Known:
        settled, at, since = self._settled(), self._clock(), self._elapsed()
        open_ns = max(at - settled, self.append_ns, 0)
        try:
            known = Known(at, self._log.ends(), since, open_ns)
        except Exception as error:
            with self._guard:
                self._failed = error
            raise
        with self._guard:
            self._known, self._failed = known, None
        return known
