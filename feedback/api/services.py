"""What the routes work with, handed to them by the composition root (`feedback.server`)."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, cast

from starlette.requests import Request

from streams.appender import Appender
from streams.log.port import Log, Positions
from streams.metrics import Metrics
from streams.queries.feedback import Lineage
from streams.queries.originals import Originals
from streams.store.port import Snapshot, Store


class WorkerSays(NamedTuple):
    """What the worker says of itself: its state, and why if it refuses to run."""

    state: str
    reason: str | None = None


class Services(NamedTuple):
    """The adapters, the clock, and the threads on which the store is read."""

    log: Log
    appender: Appender
    store: Callable[[], Store]
    datasets: Path
    clock: Callable[[], int]
    metrics: Metrics
    originals: Originals
    lineage: Lineage
    worker: Callable[[], WorkerSays]
    pool: ThreadPoolExecutor
    outcome_window_days: int
    maturity_days: int


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
