"""A worker's `/healthz`, `/readyz` and `/metrics`, as an ASGI application.

It only reads `WorkerProgress`, so that it answers while the worker's threads wait for a database, a broker or
each other. The caller chooses the port and the thread that serve it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from schemas.problems import problem
from streams.ingest.asgi import Receive, Scope, Send, send_json, send_problem, send_text
from streams.kafka.worker.progress import WorkerProgress
from streams.log.port import format_positions


class Health:
    """The application.

    Args:
        progress: what the worker says.
        shown: takes from a reason what nobody may see.
    """

    def __init__(self, progress: WorkerProgress, shown: Callable[[str], str] = str) -> None:
        self._worker = progress
        self._shown = shown

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        path = scope["path"]
        if scope["method"] not in ("GET", "HEAD"):
            refusal = problem("method_not_allowed", "a worker answers GET and HEAD only")
            await send_problem(send, 405, refusal, [(b"allow", b"GET, HEAD")])
        elif path == "/healthz":
            # Not 503, which means that there are too many requests.
            turns = self._worker.turns()
            await _answer(send, 200 if turns else 500, {"status": "ok" if turns else "the worker hangs"})
        elif path == "/readyz":
            await self._ready(send)
        elif path == "/metrics":
            await send_text(send, generate_latest(self._worker.registry), CONTENT_TYPE_PLAIN_0_0_4.encode())
        else:
            detail = "/healthz, /readyz and /metrics are here"
            await send_problem(send, 404, problem("not_found", detail))

    async def _ready(self, send: Send) -> None:
        reasons = [self._shown(reason) for reason in self._worker.reasons()]
        state, positions = self._worker.state, self._worker.positions
        lacking = [*self._worker.lacking(), *self._worker.clocks.reasons()]
        document: dict[str, Any] = {
            "status": "unavailable" if reasons else "degraded" if lacking else "ready",
            "reasons": [*reasons, *lacking],
            "worker": state.name,
            "partitions": format_positions(positions),
            # Null where it is not known: no number would be true.
            "lag_blocks": self._worker.behind(),
        }
        await _answer(send, 503 if reasons else 200, document)


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    await send_json(send, status, json.dumps(body).encode())
