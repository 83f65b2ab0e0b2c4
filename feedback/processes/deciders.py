"""Which deciders run where, and how their events reach the log.

On a home they run in the worker's process, on threads of their own, and send to the collector at the address
that the home names. On a cluster they run in the collectors, of which one at a time holds the lock in
PostgreSQL; it sends to itself. So a decision comes in as any other event does, with no rights of its own.

A shelf or a server that hangs holds up such a thread, and neither the fold nor the end of the process.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

from feedback.datasets.announce import ReleaseAnnouncer
from feedback.datasets.shelf.address import shelf_of
from feedback.installation.cluster import Cluster
from feedback.installation.home import Home
from feedback.installation.port import NothingHere
from feedback.server_client import EventSender, NotAccepted, NotAcknowledged, OverHttp, Service, serves
from feedback.settings import value
from streams.deciders.port import Decider, DecisionRefused, NotSent
from streams.deciders.runner import THREAD, Runner, Turn
from streams.log.port import Positions
from streams.store.port import Store

END_S = 1.0
_PATIENCE_S = 10.0


def deciders(shelf: Any) -> list[Decider[Any]]:
    """All deciders of the product; `shelf` says where releases lie."""
    return [ReleaseAnnouncer(shelf_of(shelf))]


def send_through(service: Service, event: dict[str, Any]) -> str | None:
    """Send one event once; gives the position that covers it. Raises DecisionRefused, NotSent, or Refused."""
    try:
        return EventSender(service).send_event(event)
    except NotAccepted as error:
        raise DecisionRefused(error.code, error.detail, error.position) from None
    except NotAcknowledged as error:
        raise NotSent(str(error), error.wait_s) from None


@contextlib.contextmanager
def deciding_at_home(home: Home) -> Iterator[Runner]:
    """The deciders of a home, until the context ends. What they read of it is opened for them alone."""
    own = Home(home.path)

    def store() -> Store | None:
        try:
            return own.current_store()
        except NothingHere:
            return None

    def send(event: dict[str, Any]) -> str | None:
        server = own.server()
        if server is None:
            raise NotSent(f"no server runs on {own.name} yet")
        with contextlib.closing(OverHttp(server.url, _PATIENCE_S)) as service:
            if not serves(service, own):
                raise NotSent(f"{service.name} serves another log than the one in {own.name}")
            return send_through(service, event)

    log = own.open_log()
    runner = Runner(deciders(value("datasets") or own.datasets), store, log.ends, send)
    runner.start()
    try:
        yield runner
    finally:
        # A thread that hangs may still read there.
        if runner.stop(END_S):
            log.close()
            own.close()


@contextlib.contextmanager
def deciding_in_cluster(
    cluster: Cluster, store: Callable[[], Store], ends: Callable[[], Positions], url: str
) -> Iterator[Runner]:
    """The deciders of a cluster, in the collector at `url`, until the context ends.

    Args:
        store: gives the views of this collector's log.
        ends: gives the ends of that log.
    """

    def views() -> Store | None:
        try:
            return store()
        except NothingHere:
            return None

    def send(event: dict[str, Any]) -> str | None:
        with contextlib.closing(OverHttp(url, _PATIENCE_S)) as service:
            return send_through(service, event)

    runner = Runner(deciders(cluster.datasets), views, ends, send, turn=_ClusterTurn(cluster))
    runner.start()
    try:
        yield runner
    finally:
        runner.stop(END_S)


def leave(status: int) -> int:
    """The status of a process that ends; where a decider still hangs, this ends it now, with that status.

    At the interpreter's end pyarrow waits for what it was asked of an object store, however long that takes.
    """
    if any(thread.name.startswith(THREAD) for thread in threading.enumerate()):
        os._exit(status)
    return status


class _ClusterTurn(Turn):
    """The lock of PostgreSQL. The database may be away when the collector starts."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lock: Turn | None = None

    def held(self) -> bool:
        """Whether this collector has it. Raises StoreUnavailable."""
        if self._lock is None:
            self._lock = self._cluster.stores.deciding()
        return self._lock.held()

    def close(self) -> None:
        """Give it back."""
        if self._lock is not None:
            self._lock.close()
