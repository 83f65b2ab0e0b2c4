"""What the routes work with, handed to them by the composition root (`feedback.server`).

`Ends` asks the log where it ends, and not for every request where that means asking another machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import NamedTuple, Protocol, cast

from starlette.requests import Request

from feedback.datasets.shelf import Shelf
from streams.clocks import ClockWatch
from streams.keeper import Writer
from streams.log.port import Log, Positions
from streams.metrics import Metrics
from streams.queries.feedback import Lineage
from streams.queries.originals import Originals
from streams.store.port import Snapshot, Store


class WorkerSays(NamedTuple):
    """What the worker says of itself: its state, and why if it refuses to run."""

    state: str
    reason: str | None = None


class Appending(Writer, Protocol):
    """The appender as far as the read side needs it: where it stands, and whether the last append failed."""

    @property
    def failed_at(self) -> float | None:
        """The monotonic instant (s) of the last append if it failed, else None."""
        ...

    @property
    def failure(self) -> str:
        """Why it failed."""
        ...


class Ends:
    """The log's ends, and the instant (ns) before they were read.

    Args:
        keep_ns: for how long an answer is given again. What is said of the ends is then said of that
            instant, never of a later one.
    """

    def __init__(self, log: Log, clock: Callable[[], int], keep_ns: int = 0) -> None:
        self._log = log
        self._clock = clock
        self._keep_ns = keep_ns
        self._guard = threading.Lock()
        self._read: tuple[int, Positions] | None = None

    def __call__(self) -> tuple[int, Positions]:
        """The instant, and where the log ended then or later."""
        if not self._keep_ns:
            return self._clock(), self._log.ends()
        with self._guard:
            now = self._clock()
            if self._read is None or not 0 <= now - self._read[0] < self._keep_ns:
                self._read = now, self._log.ends()
            return self._read


class Services(NamedTuple):
    """The adapters, the clock, and the threads on which the store is read.

    `away` are the failures that mean that another machine does not answer. `own_views`: a worker that
    belongs to this server keeps the views, so they decide with whether it is ready.
    """

    log: Log
    ends: Ends
    appender: Appending
    store: Callable[[], Store]
    datasets: Shelf
    clock: Callable[[], int]
    metrics: Metrics
    originals: Originals
    lineage: Lineage
    worker: Callable[[], WorkerSays]
    pool: Executor
    outcome_window_days: int
    maturity_days: int
    clocks: ClockWatch
    away: tuple[type[Exception], ...] = ()
    own_views: bool = True


class View(NamedTuple):
    """One consistent state to answer from: the instant (ns) and the log's ends were read before it."""

    snapshot: Snapshot
    originals: Originals
    now: int
    ends: Positions
    services: Services


def services_of(request: Request) -> Services:
    """The services that the application of this request was built with."""
    return cast(Services, request.app.state.services)
