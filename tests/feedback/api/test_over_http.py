"""Over a real connection: what only shows between two sockets, where bodies lie about their length."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from feedback.server import door
from feedback.server.hosts import Hosts
from feedback.server.http_protocol import Limits
from tests.feedback.conftest import Loop
from tests.streams.asking import BATCH, SINGLE, encoded, thumb


class Listening:
    """A loop behind uvicorn on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop(folder)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        config = door.config(self.loop.app, Hosts(), limits=Limits(), log_level="critical", lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        deadline = time.monotonic() + 10
        while not self.server.started and time.monotonic() < deadline:
            time.sleep(0.01)

    def stop(self) -> None:
        """End the server."""
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()
        self.loop.appender.stop()

    def events(self) -> int:
        """How many blocks the log has."""
        return sum(self.loop.log.ends().values())


@pytest.fixture(scope="module")
def listening(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listening]:
    """A server for the tests of this module."""
    listening = Listening(tmp_path_factory.mktemp("home"))
    yield listening
    listening.stop()


def head(content_type: str, length: int | None, *more: str) -> bytes:
    """The head of a request; without a length it is sent in chunks."""
    size = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = ["POST /v1/events HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {content_type}", size, *more]
    return "\r\n".join([*lines, "", ""]).encode()


def connect(listening: Listening) -> socket.socket:
    """A connection that does not wait for ever."""
    return socket.create_connection(("127.0.0.1", listening.port), timeout=10)


def answer(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next response on a connection."""
    file = connection.makefile("rb")
    status = int(file.readline().split()[1])
    headers: dict[str, str] = {}
    while (line := file.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return status, headers, file.read(int(headers["content-length"]))


def test_one_connection_carries_good_and_bad(listening: Listening) -> None:
    """A refused request, of whatever kind, leaves the connection whole for the next one."""
    good = encoded(thumb())
    requests = [
        (head(SINGLE, len(good)) + good, 200),
        (head("text/plain", len(good)) + good, 415),
        (head(SINGLE, 3) + b"{\xff}", 400),
        (head(SINGLE, 2) + b"{}", 422),
        (head(SINGLE, 70_000) + b"1" * 70_000, 413),
        (head(BATCH, 2_000_000) + b"[" + b" " * 1_999_999, 413),
        (head(SINGLE, len(good)) + good, 200),
    ]
    with connect(listening) as connection:
        for request, status in requests:
            connection.sendall(request)
            assert answer(connection)[0] == status


def test_chunks_are_put_together(listening: Listening) -> None:
    """A body without a declared length is read to its end, and limited all the same."""
    body = encoded([thumb("t-1"), thumb("t-2")])
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:10], body[10:11], body[11:]))
    with connect(listening) as connection:
        connection.sendall(head(BATCH, None) + chunks + b"0\r\n\r\n")
        status, _, text = answer(connection)
        assert (status, json.loads(text)["accepted"]) == (200, 2)
        connection.sendall(
            head(BATCH, None) + (b"%x\r\n%b\r\n" % (300_000, b" " * 300_000)) * 4 + b"0\r\n\r\n"
        )
        assert answer(connection)[0] == 413


def test_a_hopeless_body_is_answered_before_it_ends(listening: Listening) -> None:
    """Whoever announces a gigabyte is told at once, and the connection is closed."""
    with connect(listening) as connection:
        connection.sendall(head(BATCH, 10**9) + b"[" * 1000)
        status, headers, _ = answer(connection)
        assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize("sent", [b"", b"[", encoded([thumb()])[:-1]])
def test_half_a_batch_leaves_nothing(listening: Listening, sent: bytes) -> None:
    """A client that hangs up before the declared length was not heard; the server goes on."""
    before = listening.events()
    with connect(listening) as connection:
        connection.sendall(head(BATCH, len(encoded([thumb()]))) + sent)
    with connect(listening) as connection:
        connection.sendall(head(BATCH, 2) + b"[]")
        assert answer(connection)[0] == 200
    time.sleep(0.05)
    assert listening.events() == before


def test_a_declared_length_that_is_too_short_is_a_bad_request(listening: Listening) -> None:
    """The cut event is no JSON, and what follows is no request: 400, and the server goes on."""
    good = encoded(thumb())
    with connect(listening) as connection:
        connection.sendall(head(SINGLE, 10) + good + b"\r\n\r\n")
        assert answer(connection)[0] == 400
    with connect(listening) as connection:
        connection.sendall(head(SINGLE, len(good)) + good)
        assert answer(connection)[0] == 200


def test_a_client_that_asks_first_is_told_to_go_on(listening: Listening) -> None:
    """`Expect: 100-continue` gets its interim answer."""
    good = encoded(thumb())
    with connect(listening) as connection:
        connection.sendall(head(SINGLE, len(good), "Expect: 100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(good)
        assert answer(connection)[0] == 200
