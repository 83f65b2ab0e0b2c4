"""How a route reads: on a thread, from one snapshot, once the views have come as far as was asked.

Routes are plain functions from a view and parameters to an answer; `route` makes endpoints of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from feedback.api.errors import NotCaughtUp, Unavailable
from feedback.api.parameters import Parameters, after
from feedback.api.services import Services, View, services_of
from feedback.datasets.errors import ShelfUnreachable
from feedback.place import PlaceRefused
from feedback.settings import without_password
from streams.log.port import Positions, format_positions
from streams.queries.freshness import reached
from streams.store.sqlite import StoreMissing, StoreUnreadable

PATIENCE_S = 5.0
# A read that waits looks again after so long, and then less and less often.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.01, 0.05

_encode = msgspec.json.Encoder().encode

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


def route(name: str, query: Query, known: Sequence[str] = ()) -> Endpoint:
    """The endpoint that answers with what `query` gives, in JSON.

    Args:
        name: the route's name in the metrics.
        query: from a view, the path's parameters and the query's to the answer; it may raise a Refusal.
        known: the query parameters it takes, besides `after`.
    """

    async def endpoint(request: Request) -> Response:
        started = time.perf_counter()
        parameters = Parameters(request, known)
        answer = await read(request, lambda view: query(view, request.path_params, parameters))
        services_of(request).metrics.read_seconds.labels(name).observe(time.perf_counter() - started)
        return json_response(answer)

    return endpoint


async def read(request: Request, query: Callable[[View], Any]) -> Any:
    """What `query` answers from a view that covers the request's `after`. Raises NotCaughtUp after 5 s."""
    services = services_of(request)
    wanted = after(request, services.log.identity)
    deadline, pause = time.monotonic() + PATIENCE_S, _FIRST_PAUSE_S
    while True:
        found, answer = await on_thread(services, lambda: _try(services, wanted, query))
        if found:
            return answer
        if time.monotonic() >= deadline:
            raise NotCaughtUp(f"the views are not at {format_positions(wanted)} yet; is the worker running?")
        await asyncio.sleep(pause)
        pause = min(pause * 1.2, _LONGEST_PAUSE_S)


async def on_thread(services: Services, work: Callable[[], Any]) -> Any:
    """Run blocking work on one of the read side's threads."""
    return await asyncio.get_running_loop().run_in_executor(services.pool, work)


@contextmanager
def view_of(services: Services) -> Iterator[View]:
    """A view to answer from, until the context ends.

    Raises Unavailable while there are no views, or none that can be opened, or while the log or the store
    does not answer.
    """
    away: tuple[type[Exception], ...] = (*services.away, ShelfUnreachable)
    try:
        now, ends = services.ends()
        with services.store().snapshot() as snapshot:
            yield View(snapshot, services.originals, now, ends, services)
    except (PlaceRefused, StoreMissing, StoreUnreadable) as error:
        raise Unavailable(without_password(str(error))) from None
    except away as error:
        raise Unavailable(without_password(str(error))) from error


def _try(services: Services, wanted: Positions, query: Callable[[View], Any]) -> tuple[bool, Any]:
    with view_of(services) as view:
        if wanted and not reached(view.snapshot.positions(), wanted):
            return False, None
        return True, query(view)
