"""How a route reads: on a thread, from one snapshot, once the views have come as far as was asked.

Routes are plain functions from a view and parameters to an answer; `route` makes endpoints of them.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from feedback.api.errors import NoAnswerNow, PositionNotReached, RouteError
from feedback.api.parameters import Parameters, after
from feedback.api.services import Services, View, services_of
from feedback.settings import without_password
from loopline.backoff import Backoff, RetryPolicy
from schemas.errors import Refused, Unavailable
from streams.daemon_pool import DaemonPool, Unanswered
from streams.log.port import Positions, format_positions
from streams.queries.freshness import reached

# A read that waits looks again after so long, and then less and less often.
LOOK_AGAIN = RetryPolicy(first_s=0.01, longest_s=0.05, growth=1.2)

_encode = msgspec.json.Encoder().encode

R = TypeVar("R")

Query = Callable[[View, dict[str, str], Parameters], Any]
Endpoint = Callable[[Request], Awaitable[Response]]


def json_response(content: Any, status: int = 200) -> Response:
    """A response of anything that msgspec can encode."""
    return Response(
        _encode(content),
        status,
        headers={"x-content-type-options": "nosniff", "cache-control": "no-store"},
        media_type="application/json",
    )


def route(
    name: str, query: Query, known: Sequence[str] = (), *, threads: str = "views", dated: bool = False
) -> Endpoint:
    """The endpoint that answers with what `query` gives, in JSON.

    Args:
        name: the route's name in the metrics.
        query: from a view, the path's parameters and the query's to the answer; it may raise a RouteError.
        known: the query parameters it takes, besides `after`.
        threads: which of the `Threads` it reads on, by what it reads.
        dated: whether it says up to when the answer is complete: only then the log is asked where it ends.
    """

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        parameters = Parameters(request, known)
        readers: DaemonPool = getattr(services_of(request).threads, threads)
        answer = await read(
            request, lambda view: query(view, request.path_params, parameters), readers, dated=dated
        )
        services_of(request).metrics.read_seconds.labels(name).observe(time.perf_counter() - started)
        return json_response(answer)

    return endpoint


async def read(
    request: Request, query: Callable[[View], Any], readers: DaemonPool, *, dated: bool = False
) -> Any:
    """What `query` answers from a view that covers the request's `after`.

    Raises PositionNotReached where the views do not come so far in time.
    """
    services = services_of(request)
    wanted = after(request, services.log.identity, grows=not services.own_views)
    deadline, backoff = time.monotonic() + services.waits.after, Backoff(LOOK_AGAIN)
    while True:
        found, answer = await on_thread(readers, lambda: _try(services, wanted, query, dated=dated))
        if found:
            return answer
        if time.monotonic() >= deadline:
            raise PositionNotReached(
                f"the views are not at {format_positions(wanted)} yet; is the worker running?"
            )
        await asyncio.sleep(backoff.next_pause_s())


async def caught_up(request: Request) -> None:
    """Wait for the request's `after`, if it has one; else the views are not asked."""
    services = services_of(request)
    if after(request, services.log.identity, grows=not services.own_views):
        await read(request, lambda view: None, services.threads.views)


async def on_thread(readers: DaemonPool, work: Callable[[], R], within_s: float | None = None) -> R:
    """Run blocking work on one of these threads. Raises NoAnswerNow when there is no answer in time.

    `within_s`: how long to wait; as long as suits these threads when left out.
    """
    try:
        answer = asyncio.wrap_future(readers.submit(work))
    except Unanswered as error:
        raise NoAnswerNow(str(error)) from None
    within_s = readers.patience_s if within_s is None else within_s
    done, _ = await asyncio.wait([answer], timeout=None if within_s == math.inf else within_s)
    if not done:
        answer.cancel()
        raise NoAnswerNow(str(readers.silence(within_s)))
    return answer.result()


@contextmanager
def view_of(services: Services, *, dated: bool = False) -> Iterator[View]:
    """A view to answer from, until the context ends; `dated` with the ends of the log before it.

    Raises NoAnswerNow while there are no views, or none that can be opened, or while the log or the store
    does not answer.
    """
    try:
        ends = services.ends() if dated else None
        with services.store().snapshot() as snapshot:
            yield View(snapshot, services.payloads, services.clock(), ends, services)
    except RouteError:
        raise
    except (Unavailable, Refused) as error:
        raise NoAnswerNow(without_password(str(error))) from error


def _try(
    services: Services, wanted: Positions, query: Callable[[View], Any], *, dated: bool
) -> tuple[bool, Any]:
    with view_of(services, dated=dated) as view:
        if wanted and not reached(view.snapshot.positions(), wanted):
            return False, None
        return True, query(view)
