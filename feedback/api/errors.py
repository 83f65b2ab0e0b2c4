"""Refusals of the read side, and their rendering: every error is an RFC 9457 problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from feedback.redaction import redacted
from schemas.errors import LooplineError, Malformed, Refused, Unavailable
from schemas.problems import problem
from streams.ingest.asgi import PROBLEM_TYPE, problem_body

_CODES = {404: "not_found", 405: "method_not_allowed"}


class RouteError(LooplineError):
    """A request that is not answered as asked; each class also says in the tree what that means."""

    status = 400
    code = "invalid_request"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, detail: str) -> None:
        self.detail = detail
        super().__init__(detail)


class InvalidRequest(RouteError, Malformed):
    """A parameter is missing or cannot be understood."""


class NotFound(RouteError, Refused):
    """There is nothing under this name."""

    status, code = 404, "not_found"


class PositionNotReached(RouteError, Unavailable):
    """The views did not reach the asked position in time."""

    status, code = 504, "not_caught_up"


class NoAnswerNow(RouteError, Unavailable):
    """There is nothing to answer from, for the moment."""

    status, code = 503, "unavailable"
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}


def problem_response(
    status: int, code: str, detail: str, headers: Mapping[str, str] | None = None
) -> Response:
    """A problem as a response."""
    return Response(
        problem_body(status, problem(code, redacted(detail))),
        status,
        headers={"x-content-type-options": "nosniff", **(headers or {})},
        media_type=PROBLEM_TYPE.decode(),
    )


async def render_refusal(request: Request, refusal: Exception) -> Response:
    """The response to one of our own refusals."""
    assert isinstance(refusal, RouteError)
    return problem_response(refusal.status, refusal.code, refusal.detail, refusal.headers)


async def render_http(request: Request, error: Exception) -> Response:
    """The response where the router finds no route, or none with this method."""
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        detail = f"there is no route {request.url.path[:200]}; /openapi.json lists them"
    elif error.status_code == 405:
        detail = f"{request.method} is not possible here"
    else:
        detail = error.detail
    code = _CODES.get(error.status_code, "invalid_request")
    return problem_response(error.status_code, code, detail, error.headers)


async def render_failure(request: Request, error: Exception) -> Response:
    """The response to what nobody foresaw: the server logs it, the answer is silent."""
    return problem_response(500, "unavailable", "this is a defect; the server's log says more")
