"""The few lines of ASGI that the hot path needs: read a body up to a limit, send JSON, send a problem.

Routing, and everything that is not hot, is left to Starlette in `feedback.api`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import msgspec

from schemas.errors import Malformed
from schemas.problems import Problem

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]

JSON_TYPE = b"application/json"
PROBLEM_TYPE = b"application/problem+json"

# So much of a body that is too large is read and thrown away, so that a client that sends first and
# listens later sees the answer instead of a broken connection.
_PATIENCE_BYTES = 8 * 1024 * 1024

_encode = msgspec.json.Encoder().encode
_SNIFFLESS = (b"x-content-type-options", b"nosniff")


class ClientGone(Exception):
    """The client hung up before the request was complete."""


class TooLarge(Malformed):
    """The request is over a limit; nothing of it is kept. `unread`: the client is still sending it."""

    def __init__(self, detail: str, *, unread: bool = False) -> None:
        self.unread = unread
        super().__init__(detail)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The body of a request. Raises TooLarge when it is over `limit` bytes, ClientGone when it breaks off."""
    message = await receive()
    if message["type"] != "http.request":
        raise ClientGone
    body: bytes = message.get("body", b"")
    if message.get("more_body", False):
        return await _read_on(body, scope, receive, limit)
    if len(body) > limit:
        raise TooLarge(_over(limit))
    return body


async def _read_on(body: bytes, scope: Scope, receive: Receive, limit: int) -> bytes:
    chunks, size, more = [body], len(body), True
    if _declared(scope) > _PATIENCE_BYTES:
        raise TooLarge(_over(limit), unread=True)
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGone
        chunk = message.get("body", b"")
        more = message.get("more_body", False)
        size += len(chunk)
        if size <= limit:
            chunks.append(chunk)
        elif size > _PATIENCE_BYTES:
            break
    if size > limit:
        raise TooLarge(_over(limit), unread=more)
    return b"".join(chunks)


def _declared(scope: Scope) -> int:
    """The body's length as the headers declare it; 0 when they do not."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


def _over(limit: int) -> str:
    return f"the body is over {limit} bytes. Nothing of it was kept."


async def send_json(
    send: Send, status: int, body: bytes, extra: Headers = (), *, problem: bool = False
) -> None:
    """Send a JSON body."""
    await send_text(send, body, PROBLEM_TYPE if problem else JSON_TYPE, status, extra)


async def send_text(
    send: Send, body: bytes, media_type: bytes, status: int = 200, extra: Headers = ()
) -> None:
    """Send a body of some media type."""
    headers = [
        (b"content-type", media_type),
        (b"content-length", str(len(body)).encode()),
        _SNIFFLESS,
        *extra,
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def problem_body(status: int, refusal: Problem) -> bytes:
    """The JSON of an RFC 9457 problem."""
    return _encode({**msgspec.structs.asdict(refusal), "status": status})


async def send_problem(send: Send, status: int, refusal: Problem, extra: Headers = ()) -> None:
    """Send an RFC 9457 problem."""
    await send_json(send, status, problem_body(status, refusal), extra, problem=True)
