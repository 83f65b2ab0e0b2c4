"""`GET /openapi.json`: the description of this interface, as generated from the contract."""

from __future__ import annotations

from functools import cache

from starlette.requests import Request
from starlette.responses import Response

from feedback.api.reading import on_thread
from feedback.api.services import services_of


@cache
def _document() -> bytes:
    import msgspec

    from schemas.describe.openapi import document

    return msgspec.json.encode(document())


async def endpoint(request: Request) -> Response:
    """The OpenAPI document."""
    text = await on_thread(services_of(request).threads.own, _document)
    return Response(text, media_type="application/json", headers={"x-content-type-options": "nosniff"})
