"""`GET /`: what arrived, what became of it, what waits, what was refused, how far the views have come."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, TypeVar

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from feedback.api import datasets
from feedback.api.errors import NoAnswerNow
from feedback.api.reading import on_thread, view_of
from feedback.api.services import Services, View, WorkerSays, services_of
from feedback.console.figures import NO_LOG, describe_age, described_rate, from_log, from_views, open_refusals
from feedback.escaping import for_terminal

T = TypeVar("T")

SHOWN = 8
_SECURITY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none';"
    " frame-ancestors 'none'"
)


def _seen(value: Any) -> Any:
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return for_terminal(value, lines=True)
    return value


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("feedback.console", "."),
        autoescape=True,
        # Marks that turn a line around, or hide, are shown.
        finalize=_seen,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["age"] = describe_age
    environment.filters["rate"] = described_rate
    return environment.get_template("page.html")


async def endpoint(request: Request) -> Response:
    """The page: what can be had within moments, each part by itself."""
    services = services_of(request)
    address = str(request.base_url).rstrip("/")
    threads, within_s = services.threads, services.waits.page
    views, log, releases = await asyncio.gather(
        _part(on_thread(threads.views, lambda: _from(services, from_views, dated=True), within_s)),
        _part(on_thread(threads.timelines, lambda: _from(services, from_log), within_s)),
        _part(datasets.looked(services, lambda: datasets.latest(services.datasets, SHOWN), within_s)),
    )
    html = await on_thread(threads.own, lambda: render(address, services.worker(), views, log, releases))
    return Response(
        html,
        media_type="text/html",
        headers={
            "content-security-policy": _SECURITY,
            "x-content-type-options": "nosniff",
            "referrer-policy": "no-referrer",
            "cache-control": "no-store",
        },
    )


async def _part(answer: Awaitable[T]) -> T | None:
    """A part of the page; None while it cannot be had: the rest is shown."""
    try:
        return await answer
    except NoAnswerNow:
        return None


def _from(services: Services, tables: Callable[[View, int], T], *, dated: bool = False) -> T:
    with view_of(services, dated=dated) as view:
        return tables(view, SHOWN)


def render(
    address: str,
    worker: WorkerSays,
    views: dict[str, Any] | None,
    log: dict[str, Any] | None,
    releases: list[dict[str, Any]] | None,
) -> str:
    """The page as HTML.

    Args:
        address: where this server is reached, for the commands that it shows.
        worker: what the worker says of itself.
        views, log, releases: what comes from each; None while it cannot be had.
    """
    shown = {**(views or {}), **(log or NO_LOG)}
    if views is not None:
        shown |= open_refusals(views["dead_letter_counts"], shown["settled"])
    return _template().render(
        address=address,
        worker=worker,
        ready=views is not None,
        log_answers=log is not None,
        releases=releases,
        **shown,
    )
