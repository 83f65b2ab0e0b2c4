"""What the routes work with, handed to them by the composition root (`feedback.server.app`)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

from starlette.requests import Request

from feedback.api.ends import Ends, Known
from feedback.datasets.shelf.port import Shelf
from schemas.instants import SECOND
from streams.clocks import ClockWatch
from streams.daemon_pool import DaemonPool
from streams.log.port import DEAD, Log, LogWriter
from streams.metrics import Metrics
from streams.queries.feedback import Lineage
from streams.queries.freshness import freshness
from streams.queries.payloads import Payloads
from streams.store.port import Snapshot, Store


class Waits(NamedTuple):
    """How long a server waits, in seconds, until nobody waits for that answer any more.

    A client asks for an override for a second, and an object store is given up by its own library after some
    fifteen. The page waits longer for each of its parts than feedback waits for the releases that it is in.
    `after`: for views to come as far as a reader asks. `ready`: whoever asks whether a server is ready has
    less patience than a machine that hangs. `stuck`: for views that are behind and stand still, before
    `/readyz` says so. `ends`: for a log that answered when it was asked before; one that did not is asked
    again after `ends_again`.
    """

    overrides: float = 3.0
    views: float = 10.0
    blocks: float = 10.0
    lineage: float = 5.0
    datasets: float = 20.0
    page: float = 7.0
    after: float = 5.0
    ready: float = 3.0
    stuck: float = 15.0
    ends: float = 0.5
    ends_again: float = 1.0


WAITS = Waits()


class WorkerSays(NamedTuple):
    """What the worker says of itself: its state, and why if it refuses to run."""

    state: str
    reason: str | None = None


class Threads(NamedTuple):
    """Threads by what they wait for, so that what hangs takes those of nothing else.

    `overrides` and `views` wait for the store alone; products ask for overrides, and do not stand in line
    behind those who count. `blocks` wait for the store and the log, `datasets` for the place of the
    releases, as `lineage` does for those who read a timeline; these, the `timelines`, wait for all three.
    `own` waits for nothing.
    """

    overrides: DaemonPool
    views: DaemonPool
    blocks: DaemonPool
    datasets: DaemonPool
    lineage: DaemonPool
    timelines: DaemonPool
    own: DaemonPool

    @staticmethod
    def made(shelf: str, waits: Waits = WAITS) -> Threads:
        """Threads of each kind, in number and patience as they are meant; `shelf` is what it is called."""
        datasets = f"the datasets at {shelf}"
        return Threads(
            DaemonPool(2, "overrides", "the views", patience_s=waits.overrides),
            DaemonPool(4, "views", "the views", patience_s=waits.views),
            DaemonPool(3, "blocks", "the log or the views", patience_s=waits.blocks),
            DaemonPool(3, "datasets", datasets, patience_s=waits.datasets, max_pending=32),
            DaemonPool(2, "lineage", datasets, patience_s=waits.lineage),
            DaemonPool(2, "timelines", "the log or the views", patience_s=waits.blocks),
            DaemonPool(1, "own"),
        )


class Services(NamedTuple):
    """The adapters, the clock, and the threads on which they are asked.

    `lacks` tells what else does not work here, in words; events are taken in all the same.
    `own_views`: a worker of this server keeps the views, so they decide with whether it is ready.
    """

    log: Log
    ends: Ends
    writer: LogWriter
    store: Callable[[], Store]
    datasets: Shelf
    clock: Callable[[], int]
    metrics: Metrics
    payloads: Payloads
    lineage: Lineage
    worker: Callable[[], WorkerSays]
    threads: Threads
    outcome_window_days: int
    maturity_days: int
    clocks: ClockWatch
    own_views: bool = True
    lacks: Callable[[], Sequence[str]] = tuple
    waits: Waits = WAITS


class View(NamedTuple):
    """One consistent state to answer from, and what time it is (ns).

    `ends` are where the log ended before it was read, for who says how far it has come; None where that is
    not asked, or not known.
    """

    snapshot: Snapshot
    payloads: Payloads
    now: int
    ends: Known | None
    services: Services

    def freshness(self) -> dict[str, str | None]:
        """`complete_up_to` and `mature_up_to`, of what is in the views."""
        positions, days = self.snapshot.positions(), self.services.maturity_days
        identity, append_ns = self.services.log.identity, self.services.ends.append_ns
        epochs = identity.epochs()
        ahead_s = max((skew.seconds for skew in self.services.clocks.skews().values()), default=0.0)
        ahead = int(max(0.0, ahead_s) * SECOND)
        if self.ends is not None:
            instant = self.ends.instant(self.services.clock(), self.services.ends.moment(), ahead)
            return freshness(positions, self.ends.ends, instant, days, epochs, append_ns=append_ns)
        # Whatever the views have not seen of any partition is not known to be nothing.
        endless = dict.fromkeys((*range(identity.first + identity.partitions), DEAD), sys.maxsize)
        return freshness(positions, endless, self.now - ahead, days, epochs, append_ns=append_ns)


def services_of(request: Request) -> Services:
    """The services that the application of this request was built with."""
    return cast(Services, request.app.state.services)
