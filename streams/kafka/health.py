"""A worker's `/healthz`, `/readyz` and `/metrics`, served from a thread of its own.

It answers while the worker's other threads wait for a database, a broker or each other: it only reads what
they left in `Progress`.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from streams.kafka.progress import Progress
from streams.log.port import format_positions


class Health:
    """Serves a worker's health until `close`. Port 0 takes a free one; `port` says which.

    Raises OSError when the port is taken.
    """

    def __init__(self, progress: Progress, host: str = "127.0.0.1", port: int = 0) -> None:
        class Handler(_Handler):
            worker = progress

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.2,), name="health", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    worker: Progress
    protocol_version = "HTTP/1.1"
    # A connection that sends nothing gives its thread back.
    timeout = 10

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            self._answer(200, {"status": "ok"})
        elif path == "/readyz":
            self._ready()
        elif path == "/metrics":
            self._send(200, generate_latest(self.worker.registry), CONTENT_TYPE_LATEST)
        else:
            self._answer(404, {"title": "Not found", "detail": "/healthz, /readyz and /metrics are here"})

    def _ready(self) -> None:
        reasons = self.worker.reasons()
        state, positions, lag = self.worker.state, self.worker.positions, self.worker.lag()
        said: dict[str, Any] = {
            "status": "unavailable" if reasons else "ready",
            "reasons": reasons,
            "worker": state.name,
            "partitions": format_positions(positions),
            "lag_blocks": sum(lag.values()),
        }
        self._answer(503 if reasons else 200, said)

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, json.dumps(body).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: whoever asks every second is no news."""
