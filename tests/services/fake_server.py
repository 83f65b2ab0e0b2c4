"""A server to send to: the standard library's, answering as a script says and remembering what it took.

A script is a list of moves, one a request; when it is empty, everything is accepted. It knows as much of the
contract as the client relies on, and nothing of how the real server keeps its word.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Event = dict[str, Any]
Move = Callable[["Handler", list[Event]], None]


class Handler(BaseHTTPRequestHandler):
    """One connection to the fake server, kept alive."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: FakeServer

    def do_POST(self) -> None:
        """Take a batch and let the script's next move answer it."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        lines = self.headers["Content-Type"] == "application/x-ndjson"
        events = [json.loads(line) for line in body.splitlines()] if lines else json.loads(body)
        with self.server.lock:
            move = self.server.script.pop(0) if self.server.script else self.server.otherwise
        move(self, events)

    def do_GET(self) -> None:
        """Answer from the table of pages."""
        status, body = self.server.pages.get(self.path, (404, encoded(problem("not_found"))))
        self.server.requests.append((self.path, dict(self.headers), b""))
        self.server.before_page()
        self.answer(status, body)

    def answer(self, status: int, body: bytes | object, **headers: str) -> None:
        """Send a whole answer; anything but bytes as JSON. ``Retry_After`` is the header Retry-After."""
        raw = body if isinstance(body, bytes) else encoded(body)
        usual = "application/json" if status == 200 else "application/problem+json"
        self.send_response(status)
        self.send_header("Content-Type", headers.pop("Content_Type", usual))
        self.send_header("Content-Length", str(len(raw)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(raw)
        self.wfile.flush()

    def hang_up(self) -> None:
        """End the connection without another byte."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing on standard error."""


class FakeServer(ThreadingHTTPServer):
    """Listens on a free port of this machine."""

    # Its own threads are joined in stop(), after their connections are shut.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.lock = threading.Lock()
        self.script: list[Move] = []
        self.otherwise: Move = accept
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        self.times_accepted: Counter[str] = Counter()
        self.accepted: dict[str, Event] = {}
        self.pages: dict[str, tuple[int, bytes]] = {}
        self.before_page: Callable[[], object] = lambda: None
        self.released = threading.Event()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    @property
    def connections_made(self) -> int:
        """How many connections were opened so far."""
        return self._made

    _made = 0

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, so that stop() can end it."""
        self._made += 1
        self._connections.add(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is part of the play."""

    def take(self, events: list[Event]) -> None:
        """Keep events as accepted."""
        with self.lock:
            for event in events:
                self.times_accepted[event["id"]] += 1
                self.accepted[event["id"]] = event

    def stop(self) -> None:
        """Stop listening, end every connection and thread."""
        self.released.set()
        self.shutdown()
        for each in self._connections:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self.server_close()
        self._thread.join()


@contextlib.contextmanager
def serving(port: int = 0) -> Iterator[FakeServer]:
    """A fake server for the length of a block."""
    server = FakeServer(port)
    try:
        yield server
    finally:
        server.stop()


def encoded(body: object) -> bytes:
    """A body as JSON."""
    return json.dumps(body).encode()


def problem(code: str, detail: str = "no") -> dict[str, Any]:
    """A problem as Loopline words it."""
    return {"type": f"urn:loopline:problem:{code}", "title": "No", "detail": detail, "code": code}


# ---- moves


def accept(handler: Handler, events: list[Event]) -> None:
    """Every event is accepted."""
    judge({})(handler, events)


def judge(verdicts: dict[str, str]) -> Move:
    """Give the events with these ids another status; ``refused`` and ``retry`` carry a problem."""

    def move(handler: Handler, events: list[Event]) -> None:
        items: list[dict[str, Any]] = []
        for index, event in enumerate(events):
            status = verdicts.get(event["id"], "accepted")
            item: dict[str, Any] = {"index": index, "id": event["id"], "status": status}
            if status != "accepted":
                item["problem"] = problem("invalid_value", f"because of {status}")
            items.append(item)
        good = [event for event in events if event["id"] not in verdicts]
        handler.server.take(good)
        refused = sum(item["status"] == "refused" for item in items)
        handler.answer(200, {"accepted": len(good), "refused": refused, "position": "0:0:1", "items": items})

    return move


def status(code: int, **headers: str) -> Move:
    """Answer with a problem of Loopline's, taking nothing."""

    def move(handler: Handler, events: list[Event]) -> None:
        handler.answer(code, problem("invalid_value", f"status {code}"), **headers)

    return move


def page(code: int, body: bytes = b"<html>not here</html>", kind: str = "text/html", **headers: str) -> Move:
    """Answer as something in between does: a proxy, a login page, another server."""

    def move(handler: Handler, events: list[Event]) -> None:
        handler.answer(code, body, Content_Type=kind, **headers)

    return move


def at_most(count: int) -> Move:
    """Answer 413 to more events than that."""

    def move(handler: Handler, events: list[Event]) -> None:
        (status(413) if len(events) > count else accept)(handler, events)

    return move


def hang_up(handler: Handler, events: list[Event]) -> None:
    """Close the connection without an answer, nothing taken."""
    handler.hang_up()


def take_and_hang_up(handler: Handler, events: list[Event]) -> None:
    """Take the events and close without an answer, as a crash between commit and reply does."""
    handler.server.take(events)
    handler.hang_up()


def take_and_half_answer(handler: Handler, events: list[Event]) -> None:
    """Take the events, announce an answer of 1,000 bytes, and end after some of them."""
    handler.server.take(events)
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" + b'{"accepted": 1, "items": [')
    handler.hang_up()


def greeting_page(handler: Handler, events: list[Event]) -> None:
    """Answer 200 as a proxy's log-in page does."""
    page(200, b"<html>Welcome to the hotel</html>")(handler, events)


def silence(handler: Handler, events: list[Event]) -> None:
    """Answer nothing until the server is released."""
    handler.server.released.wait(30)
    handler.hang_up()
