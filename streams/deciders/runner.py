"""Running deciders: each looks every so often, and soon after a commit that touched what it reads.

Each decider has a daemon thread of its own, so that one that fails or hangs holds up neither another one nor
the engine. None of them looks before the views have caught up with the log: half-built views would demand
what was decided long ago. One runner works at a time, that which has the `Turn`; two at once, as when a
connection is lost, send the same ids.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, Protocol

import structlog

from loopline.backoff import Backoff, RetryPolicy
from streams.crash_points import reached
from streams.daemon_pool import start_daemon
from streams.deciders.port import Decider, NotSent, Send
from streams.deciders.reconcile import Reconciled, reconcile
from streams.log.port import Positions, parse_positions
from streams.outage import Outage
from streams.queries.freshness import reached as covers
from streams.store.port import Store

FIRST_S = 1.0
POLL_S = 0.2
THREAD = "decider "
"""How the names of the threads begin."""
RETRY = RetryPolicy(first_s=0.2, longest_s=30.0, jitter=0.5)
# Looking takes a twentieth of a thread's time at most, however often it is woken.
_SHARE = 20

_log = structlog.get_logger("loopline")


class Turn(Protocol):
    """The right to decide, which one process has at a time."""

    def held(self) -> bool:
        """Whether this process has it, or has just got it. May raise while nobody can tell."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...


class AlwaysHeld:
    """The turn of who is alone by other means, as the worker of a home is."""

    def held(self) -> bool:
        """Always."""
        return True

    def close(self) -> None:
        """Nothing is held."""


class Runner:
    """Runs deciders on threads of its own until it is stopped.

    Args:
        deciders: which.
        store: gives the store that is read, or None while there is none.
        ends: gives the log's ends.
        send: puts the event of a decision into the log.
        turn: who decides, where several processes could.
        first_s: when to look first.
        retry: the pauses after failures.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        deciders: Sequence[Decider[Any]],
        store: Callable[[], Store | None],
        ends: Callable[[], Positions],
        send: Send,
        *,
        turn: Turn | None = None,
        first_s: float = FIRST_S,
        retry: RetryPolicy = RETRY,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._turn = turn or AlwaysHeld()
        self._clock = clock
        self._loops = [
            _Loop(_Looker(each, store, ends, send, self._turn), first_s, clock, Backoff(retry))
            for each in deciders
        ]

    def start(self) -> None:
        """Begin."""
        for loop in self._loops:
            loop.start()

    def touched(self, tables: Collection[str]) -> None:
        """A commit touched these tables: who reads one of them looks soon."""
        for loop in self._loops:
            if not loop.reads.isdisjoint(tables):
                loop.wake()

    def stop(self, within_s: float) -> bool:
        """End, and give the turn back; whether every thread has ended in time. One that hangs is left."""
        until = self._clock() + within_s
        for loop in self._loops:
            loop.stop()
        ended = [loop.has_ended(max(0.0, until - self._clock())) for loop in self._loops]
        self._turn.close()
        return all(ended)


class _Looker:
    """The looks of one decider, and what has to be so before the next one."""

    def __init__(
        self,
        decider: Decider[Any],
        store: Callable[[], Store | None],
        ends: Callable[[], Positions],
        send: Send,
        turn: Turn,
    ) -> None:
        self.decider = decider
        self._store = store
        self._ends = ends
        self._send = send
        self._turn = turn
        self._seen: Store | None = None
        self._awaited: Positions | None = None
        self._is_sent = False

    def look(self) -> float:
        """Reconcile, if it is time; gives the seconds until the next look."""
        store = self._store()
        if store is None or not self._turn.held():
            return self.decider.every_s
        if store is not self._seen:
            # Others are at work on it: what is in the log now is what it has to have.
            self._awaited, self._seen, self._is_sent = self._ends(), store, False
        if self._awaited is not None:
            with store.snapshot() as views:
                if not covers(views.positions(), self._awaited):
                    return POLL_S
            if self._is_sent:
                reached("decide.4")
            self._awaited, self._is_sent = None, False
        done = reconcile(self.decider, store, self._send)
        self._tell(done)
        if done.position is None:
            return self.decider.every_s
        self._awaited, self._is_sent = parse_positions(done.position), True
        return POLL_S

    def _tell(self, done: Reconciled) -> None:
        for decision in done.sent:
            _log.info("decided", rule=decision.rule, id=decision.id)
        for decision, refusal in done.refused:
            # The text of the refusal may repeat what the event says.
            _log.error("a decision was refused", rule=decision.rule, id=decision.id, code=refusal.code)


class _Loop:
    """One decider's thread."""

    def __init__(self, looker: _Looker, first_s: float, clock: Callable[[], float], backoff: Backoff) -> None:
        self.reads = {table.name for table in looker.decider.reads}
        self._thread: threading.Thread | None = None
        self._looker = looker
        self._first_s = first_s
        self._clock = clock
        self._backoff = backoff
        self._woken = threading.Event()
        self._stop = threading.Event()
        self._outage = Outage(
            _log.bind(rule=looker.decider.rule), "a decider cannot do its work", "a decider works again"
        )

    def start(self) -> None:
        """Begin."""
        self._thread = start_daemon(f"{THREAD}{self._looker.decider.rule}", self._run)

    def has_ended(self, within_s: float) -> bool:
        """Whether the thread ends in that time, or never began."""
        if self._thread is None:
            return True
        self._thread.join(within_s)
        return not self._thread.is_alive()

    def wake(self) -> None:
        """Look as soon as that may be."""
        self._woken.set()

    def stop(self) -> None:
        """Begin no other look."""
        self._stop.set()
        self._woken.set()

    def _run(self) -> None:
        least_s = most_s = self._first_s
        while not self._stop.wait(least_s):
            self._woken.wait(max(0.0, most_s - least_s))
            if self._stop.is_set():
                return
            self._woken.clear()
            least_s, most_s = self._turn()

    def _turn(self) -> tuple[float, float]:
        """One look; gives the least and the most seconds until the next one."""
        began = self._clock()
        try:
            most_s = self._looker.look()
        except Exception as error:
            # Whatever it was, another try may mend it: nothing is remembered that could be wrong.
            now = self._clock()
            self._backoff.failed(now, error.wait_s if isinstance(error, NotSent) else 0.0)
            self._outage.failed(error)
            pause_s = max(0.0, self._backoff.pause(now))
            return pause_s, pause_s
        self._backoff.succeeded()
        self._outage.over()
        took_s = self._clock() - began
        return min(took_s * _SHARE, most_s), most_s
