"""The server as one ASGI application: the composition root of everything that speaks HTTP.

Adapters come in; routes are mounted here and nowhere else. The collector is called without any
framework around it. Opening a home, processes and ports are left to the command line.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.routing import Route

from feedback.api import (
    counts,
    datasets,
    dead_letters,
    feedback,
    labels,
    metrics,
    models,
    openapi,
    outcomes,
    overrides,
    predictions,
    readiness,
    waiting,
)
from feedback.api.datasets import bounded
from feedback.api.ends import Ends
from feedback.api.errors import RouteError, render_failure, render_http, render_refusal
from feedback.api.services import WAITS, Services, Threads, Waits, WorkerSays
from feedback.console import page
from feedback.datasets.shelf.port import Shelf
from feedback.server.refusals import Refusals
from schemas.instants import SECOND
from streams.clocks import ClockWatch, since_start
from streams.ingest.asgi import Receive, Scope, Send
from streams.ingest.http import Collector
from streams.ingest.receipts import Receipts
from streams.ingest.recorder import Recorder
from streams.log.port import Log, LogIdentity, LogWriter
from streams.metrics import Metrics
from streams.queries.feedback import Lineage, no_lineage
from streams.queries.freshness import MATURITY_DAYS
from streams.queries.outcomes import WINDOW_DAYS
from streams.queries.payloads import Payloads
from streams.store.port import Store

EVENTS = "/v1/events"

_WATCH_S = 1.0

Beside = Callable[[Recorder], AbstractAsyncContextManager[None]]
"""What runs on the server's event loop as long as it does, with what puts items into the log."""


class _AnyText(Convertor[str]):
    """An id in a path: any text, slashes and line ends included."""

    regex = r"(?s:.+)"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("text", _AnyText())

ROUTES = (
    Route("/", page.endpoint),
    Route("/v1/predictions", predictions.endpoint),
    Route("/v1/predictions/{id:text}", predictions.one),
    Route("/v1/feedback", feedback.endpoint),
    Route("/v1/feedback/{id:text}", feedback.one),
    Route("/v1/models", models.endpoint),
    Route("/v1/models/{model:text}", models.one),
    Route("/v1/waiting", waiting.endpoint),
    Route("/v1/counts", counts.endpoint),
    Route("/v1/labels/{model:text}", labels.endpoint),
    Route("/v1/overrides/{model:text}", overrides.endpoint),
    Route("/v1/outcomes/{model:text}", outcomes.endpoint),
    Route("/v1/dead-letters", dead_letters.endpoint),
    Route("/v1/datasets", datasets.endpoint),
    Route("/v1/datasets/{model}/{version}", datasets.manifest),
    Route("/v1/datasets/{model}/{version}/files/{name}", datasets.file),
    Route("/healthz", readiness.healthz),
    Route("/readyz", readiness.readyz),
    Route("/metrics", metrics.endpoint),
    Route("/openapi.json", openapi.endpoint),
)


class Server:
    """The ASGI application: the collector on its hot path, everything else through Starlette (`site`)."""

    def __init__(self, collector: Collector, site: Starlette, metrics: Metrics) -> None:
        self.site = site
        self._collector = collector
        self._metrics = metrics

    def refused(self, code: str) -> None:
        """Count a request that was refused at the door."""
        self._metrics.requests_refused.labels(code).inc()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or take part in the server's start and end."""
        if scope["type"] == "http" and scope["path"] == EVENTS:
            await self._collector(scope, receive, send)
        else:
            await self.site(scope, receive, send)


def build_app(
    *,
    log: Log,
    writer: LogWriter,
    store: Callable[[], Store],
    datasets: Shelf,
    metrics: Metrics | None = None,
    lineage: Lineage = no_lineage,
    worker: Callable[[], WorkerSays] = lambda: WorkerSays("unknown"),
    clock: Callable[[], int] = time.time_ns,
    elapsed: Callable[[], int] = since_start,
    outcome_window_days: int = WINDOW_DAYS,
    maturity_days: int = MATURITY_DAYS,
    keep_ends_ns: int = 0,
    append_s: float = 0.0,
    own_views: bool = True,
    clocks: ClockWatch | None = None,
    lacks: Callable[[], Sequence[str]] = tuple,
    beside: Sequence[Beside] = (),
    waits: Waits = WAITS,
    monotonic: Callable[[], float] = time.monotonic,
) -> Server:
    """Compose the server.

    Args:
        log: the log, to read from; `writer`: what writes to it, which is not stopped here.
        store: gives the store to read from; raises NothingHere or StoreMissing while there is none.
        datasets: where the releases lie; `lineage`: which of them an event is in.
        metrics: what the writer counts on, so that one scrape shows all; `clocks`: what compares clocks.
        worker: what the worker says of itself, for `/readyz`; `lacks`: what else does not work here.
        clock: nanoseconds since 1970, of receipt; `elapsed`, `monotonic` (s): the same, by what nobody sets.
        keep_ends_ns: how long the log is not asked again where it ends; `waits`: how long who asks waits.
        append_s: how long what another writer acknowledges may be on its way into the log; 0 without others.
        own_views: whether the views decide with whether this server is ready.
        beside: what runs on the event loop from the first request until after the last one.
    """
    metrics, threads, receipts = metrics or Metrics(), Threads.made(datasets.name, waits), Receipts(clock)
    services = Services(
        log,
        _ends(log, clock, keep_ends_ns, elapsed, receipts, append_s, waits),
        writer,
        store,
        datasets,
        clock,
        metrics,
        Payloads(log),
        bounded(lineage, threads.lineage),
        worker,
        threads,
        outcome_window_days,
        maturity_days,
        clocks or ClockWatch(clock, elapsed),
        own_views,
        lacks,
        waits,
    )
    return _server(services, receipts, readiness.ViewProgress(monotonic, waits.stuck, waits.ready), beside)


def _ends(
    log: Log,
    clock: Callable[[], int],
    keep_ns: int,
    elapsed: Callable[[], int],
    receipts: Receipts,
    append_s: float,
    waits: Waits,
) -> Ends:
    return Ends(
        log,
        clock,
        keep_ns,
        elapsed=elapsed,
        settled=receipts.settled_up_to,
        append_ns=int(append_s * SECOND),
        patience_s=waits.ends,
        again_s=waits.ends_again,
    )


def _server(
    services: Services, receipts: Receipts, progress: readiness.ViewProgress, beside: Sequence[Beside]
) -> Server:
    collector = _collector(services.log.identity, services, receipts)
    running = [partial(each, collector.recorder) for each in beside]
    return Server(collector, _site(services, progress, running), services.metrics)


def _collector(log: LogIdentity, services: Services, receipts: Receipts) -> Collector:
    return Collector(
        services.writer,
        log.partitions,
        first=log.first,
        metrics=services.metrics,
        letter=services.payloads.dead_letter,
        receipts=receipts,
    )


def _site(
    services: Services,
    progress: readiness.ViewProgress,
    beside: Sequence[Callable[[], AbstractAsyncContextManager[None]]],
) -> Starlette:
    site = Starlette(
        routes=list(ROUTES),
        exception_handlers={
            RouteError: render_refusal,
            HTTPException: render_http,
            Exception: render_failure,
        },
        lifespan=_lifespan,
    )
    site.router.redirect_slashes = False
    site.state.services = services
    site.state.progress = progress
    site.state.beside = beside
    site.state.refusals = Refusals(services.metrics)
    site.state.fingerprint = services.log.identity.fingerprint
    services.metrics.registry.register(metrics.ViewNumbers(site.state.progress))
    services.metrics.registry.register(services.clocks)
    return site


@asynccontextmanager
async def _lifespan(site: Starlette) -> AsyncIterator[None]:
    # What a server holds is the same from its start on, whatever is asked first.
    for readers in site.state.services.threads:
        readers.start()
    async with AsyncExitStack() as running:
        for beside in site.state.beside:
            await running.enter_async_context(beside())
        watching = asyncio.create_task(_watch(site))
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            site.state.refusals.tell()


async def _watch(site: Starlette) -> None:
    """Look at the progress of the views now and then, so that `/readyz` knows since when they stand still.

    And tell what was refused meanwhile.
    """
    while True:
        site.state.refusals.tell()
        with suppress(Exception):
            await readiness.looked(site.state.services, site.state.progress)
        await asyncio.sleep(_WATCH_S)
