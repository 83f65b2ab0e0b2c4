"""`GET /`: what arrived, what became of it, what waits, what was refused, how far the views have come."""

from __future__ import annotations

from functools import cache
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import Response

from feedback.api import datasets
from feedback.api.errors import Unavailable
from feedback.api.reading import on_thread, view_of
from feedback.api.services import Services, services_of
from feedback.datasets.errors import ShelfUnreachable
from feedback.escaping import for_terminal
from feedback.page.figures import describe_age, described_rate, tables

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
        loader=jinja2.PackageLoader("feedback.page", "."),
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
    """The page."""
    services = services_of(request)
    address = str(request.base_url).rstrip("/")
    html = await on_thread(services, lambda: render(services, address))
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


def render(services: Services, address: str) -> str:
    """The page as HTML; `address` is where this server is reached, for the commands that it shows."""
    return _template().render(address=address, worker=services.worker(), **_state(services))


def _releases(services: Services) -> list[dict[str, Any]] | None:
    """The newest releases; None while the place where they lie cannot be reached: the rest is shown."""
    try:
        return datasets.latest(services.datasets, SHOWN)
    except ShelfUnreachable:
        return None


def _state(services: Services) -> dict[str, Any]:
    releases = _releases(services)
    try:
        with view_of(services) as view:
            return {"ready": True, "releases": releases, **tables(view, SHOWN)}
    except Unavailable:
        return {"ready": False, "releases": releases}
