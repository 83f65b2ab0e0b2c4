"""One request to an ASGI application, without a server: what a test sends, in chunks, and what it gets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

SINGLE = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
LINES = "application/x-ndjson"
Headers = list[tuple[str, str]]


class Answer(NamedTuple):
    """A response: no status where the application answered nothing."""

    status: int | None
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


async def ask(
    app: Any,
    chunks: Sequence[bytes] | bytes,
    content_type: str | None = BATCH,
    *,
    headers: Headers | None = None,
    method: str = "POST",
    path: str = "/v1/events",
    breaks_off: bool = False,
) -> Answer:
    """Send a request in these chunks; with `breaks_off` the client hangs up instead of sending the last."""
    chunks = [chunks] if isinstance(chunks, bytes) else list(chunks)
    sent: list[dict[str, Any]] = []
    messages = [
        {"type": "http.request", "body": chunk, "more_body": breaks_off or index < len(chunks) - 1}
        for index, chunk in enumerate(chunks)
    ]
    queue = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(queue, {"type": "http.disconnect"})

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    named = [*([("content-type", content_type)] if content_type is not None else []), *(headers or [])]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in named],
    }
    await app(scope, receive, send)
    if not sent:
        return Answer(None, {}, b"")
    received = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Answer(sent[0]["status"], received, b"".join(message.get("body", b"") for message in sent[1:]))


def ask_now(
    app: Any, chunks: Sequence[bytes] | bytes, content_type: str | None = BATCH, **more: Any
) -> Answer:
    """`ask`, from a test that is no coroutine."""
    return asyncio.run(ask(app, chunks, content_type, **more))


def event(kind: str, event_id: str, **data: Any) -> dict[str, Any]:
    """An event as a product would send it; `time` may be given among the data."""
    time = data.pop("time", "2026-11-20T09:12:31.402Z")
    source = data.pop("source", "/shop")
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": source,
        "type": f"loopline.{kind}.v1",
        "time": time,
        "data": data,
    }


def thumb(event_id: str = "t-1", prediction_id: str = "p-1", **data: Any) -> dict[str, Any]:
    """A thumb up."""
    return event("feedback.thumb", event_id, prediction_id=prediction_id, **{"value": "up", **data})


def encoded(value: Any) -> bytes:
    """As JSON without white space."""
    return json.dumps(value, separators=(",", ":")).encode()
