"""The door over real sockets: bytes, time and number are bounded before a request is whole."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from feedback.server import door
from feedback.server.hosts import Hosts
from feedback.server.http_protocol import SPARE, Limits
from tests.feedback.conftest import Loop
from tests.streams.asking import encoded, thumb

LIMITS = Limits(connections=8, request_s=1.5, write_s=0.5)
GET = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
POST = b"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
GOOD = POST + b"Content-Length: %d\r\n\r\n%b" % (len(encoded(thumb())), encoded(thumb()))


class Served:
    """A loop in memory behind the real door."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop(folder)
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=256)
        config = door.config(
            self.loop.app, Hosts(), refused=self.loop.app.refused, limits=LIMITS, lifespan="on"
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [self.socket]})
        self.thread.start()
        self.wait(lambda: self.server.started)

    def wait(self, holds: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        """A connection that does not wait for ever."""
        return socket.create_connection(self.socket.getsockname(), timeout=20)

    def quiet(self) -> None:
        """Wait until no connection is left."""
        self.wait(lambda: not self.server.server_state.connections)

    def counted(self, code: str) -> float:
        """How many requests were refused for this."""
        registry = self.loop.metrics.registry
        return registry.get_sample_value("loopline_requests_refused_total", {"code": code}) or 0.0

    def ask(self, *sent: bytes) -> list[tuple[int, dict[str, str], bytes]]:
        """The answers to what is sent, until the server closes or is silent."""
        with self.connect() as connection:
            for part in sent:
                with contextlib.suppress(ConnectionError):
                    connection.sendall(part)
            return answers(connection)

    def stop(self) -> None:
        """End the server."""
        self.server.should_exit = True
        self.thread.join(10)
        self.socket.close()
        self.loop.appender.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for the tests of this module."""
    served = Served(tmp_path_factory.mktemp("home"))
    yield served
    served.stop()


@pytest.fixture
def served(running: Served) -> Served:
    """The same, with nobody else connected."""
    running.quiet()
    return running


def answers(connection: socket.socket) -> list[tuple[int, dict[str, str], bytes]]:
    """All answers on a connection, until it is closed."""
    found = []
    with connection.makefile("rb") as file:
        while line := file.readline():
            headers: dict[str, str] = {}
            while (header := file.readline().strip()) != b"":
                name, _, value = header.decode().partition(":")
                headers[name.lower()] = value.strip()
            status = int(line.split()[1])
            found.append((status, headers, b"" if status == 100 else _body(file, headers)))
    return found


def _body(file: Any, headers: dict[str, str]) -> bytes:
    body: bytes = file.read(int(headers.get("content-length", 0)))
    return body


def problem(answer: tuple[int, dict[str, str], bytes]) -> tuple[int, str]:
    """Status and code of a refusal, which is a problem that says that the connection ends."""
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json"
    said = json.loads(body)
    assert said["status"] == status
    assert said["type"] == f"urn:loopline:problem:{said['code']}"
    return status, said["code"]


def closing(request: bytes) -> bytes:
    """The request, as the last on its connection."""
    return request.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)


def test_another_servers_name_is_421(served: Served) -> None:
    """A rebound name reads nothing and writes nothing, and is counted."""
    before, blocks = served.counted("misdirected"), sum(served.loop.log.ends().values())
    for request in (GET, GOOD):
        (answer,) = served.ask(closing(request.replace(b"127.0.0.1", b"rebound.example.com")))
        assert problem(answer) == (421, "misdirected")
    assert served.counted("misdirected") == before + 2
    assert sum(served.loop.log.ends().values()) == blocks


def test_other_sites_pages_are_403(served: Served) -> None:
    """No answer has a header that lets a page of another site read it."""
    for name, text in (("Origin", "http://a.example"), ("Sec-Fetch-Site", "cross-site")):
        line = f"Host: 127.0.0.1\r\n{name}: {text}".encode()
        (answer,) = served.ask(closing(GET.replace(b"Host: 127.0.0.1", line)))
        assert problem(answer) == (403, "cross_site")
        assert not [name for name in answer[1] if name.startswith("access-control")]


@pytest.mark.parametrize(
    "target,status",
    [
        ("http://127.0.0.1/healthz", 200),
        ("http://evil.example.com/healthz", 421),
        ("http://user@127.0.0.1/healthz", 400),
    ],
)
def test_a_target_that_names_a_host_goes_before_the_header(served: Served, target: str, status: int) -> None:
    """As HTTP has it; the header alone lets nobody in."""
    ((got, _, _),) = served.ask(closing(GET.replace(b"/healthz", target.encode())))
    assert got == status


HEADS = {
    "one long line": GET[:-2] + b"X-Long: " + b"a" * 40_000 + b"\r\n\r\n",
    "a line without end": GET[:-2] + b"X-Long: " + b"a" * 400_000,
    "many lines": GET[:-2] + b"".join(b"X-%d: a\r\n" % number for number in range(250)) + b"\r\n",
    "a long target": GET.replace(b"/healthz", b"/healthz?" + b"a" * 40_000),
    "a long name": GET[:-2] + b"X" * 40_000 + b": a\r\n\r\n",
    "megabytes": GET[:-2] + b"".join(b"X: %d\r\n" % number for number in range(1_000_000)),
}


@pytest.mark.parametrize("name", HEADS)
def test_a_head_is_at_most_32_kib(served: Served, name: str) -> None:
    """431, whether it ends or not, and the connection is closed."""
    (answer,) = served.ask(HEADS[name])
    assert problem(answer) == (431, "headers_too_large")
    assert answer[1]["connection"] == "close"


def test_a_head_below_that_is_read(served: Served) -> None:
    """31 KiB of cookies that somebody else set are no reason to refuse anything."""
    ((status, _, _),) = served.ask(closing(GET[:-2] + b"Cookie: " + b"a" * 31_000 + b"\r\n\r\n"))
    assert status == 200


@pytest.mark.parametrize(
    "begun",
    [b"GET", b"GET / HTTP/1.1\r\nHost: 1", POST + b"Content-Length: 500\r\n\r\n{", POST[:-2]],
    ids=["first byte", "head", "body", "line"],
)
def test_a_request_that_does_not_come_whole_is_408(served: Served, begun: bytes) -> None:
    """A byte now and then keeps nothing open."""
    started = time.monotonic()
    with served.connect() as connection:
        connection.sendall(begun)
        connection.settimeout(0.1)
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - started < 10:
                try:
                    assert connection.recv(1, socket.MSG_PEEK)
                    break
                except TimeoutError:
                    connection.sendall(b" " if begun.endswith((b"{", b"GET")) else b"1")
        connection.settimeout(20)
        (answer,) = answers(connection)
    assert problem(answer) == (408, "timeout")
    assert LIMITS.request_s <= time.monotonic() - started < LIMITS.request_s + 5


@pytest.mark.parametrize("sent", [b"", b"\r\n", GET])
def test_a_connection_on_which_nothing_begins_is_closed(served: Served, sent: bytes) -> None:
    """New or kept alive, also when empty lines arrive: without an answer that a next request could take."""
    with served.connect() as connection:
        connection.sendall(sent)
        assert [status for status, _, _ in answers(connection)] == ([200] if sent == GET else [])


def test_one_connection_more_than_allowed_is_503(served: Served) -> None:
    """It says when to try again and is closed; when one has left there is room for one."""
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(served.connect()) for _ in range(LIMITS.connections)]
        served.wait(lambda: len(served.server.server_state.connections) == LIMITS.connections)
        (answer,) = served.ask(GET)
        assert problem(answer) == (503, "busy")
        assert answer[1]["retry-after"] == "1"
        served.wait(lambda: len(served.server.server_state.connections) == LIMITS.connections)
        held[0].close()
        served.wait(lambda: len(served.server.server_state.connections) < LIMITS.connections)
        assert served.ask(closing(GET))[0][0] == 200


def test_far_more_connections_are_closed_at_once(served: Served) -> None:
    """However many come: the server holds no more than it said and a few to answer with 503."""
    with contextlib.ExitStack() as stack:
        for _ in range(LIMITS.connections + SPARE + 60):
            stack.enter_context(served.connect())
        assert len(served.server.server_state.connections) <= LIMITS.connections + SPARE
    served.quiet()
    assert served.ask(closing(GET))[0][0] == 200


def test_answers_come_in_the_order_of_the_requests(served: Served) -> None:
    """What was asked well before a request that cannot be read is answered before that is refused."""
    found = served.ask(GOOD + GET + GOOD + b"\x00\x01 garbage\r\n\r\n" + GOOD)
    assert [status for status, _, _ in found] == [200, 200, 200, 400]
    assert problem(found[-1]) == (400, "invalid_request")


def test_a_head_that_is_too_long_waits_for_the_answers_before_it(served: Served) -> None:
    """Pipelined behind good ones it is refused in its turn."""
    found = served.ask(GOOD + GET + HEADS["one long line"])
    assert [status for status, _, _ in found] == [200, 200, 431]


@pytest.mark.parametrize(
    "request_",
    [
        POST + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        POST + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
        POST + b"Content-Length: +2\r\n\r\n{}",
        POST + b"Content-Length: -2\r\n\r\n{}",
        POST + b"Transfer-Encoding: gzip\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}garbage",
        POST + b" folded: 1\r\nContent-Length: 2\r\n\r\n{}",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\nHost: 127.0.0.1\r\n\r\n",
        b"GET /healthz\r\n\r\n",
        b"CONNECT 127.0.0.1:80 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_two_readers_could_read_differently_is_refused(served: Served, request_: bytes) -> None:
    """Two lengths, odd lengths, broken chunks, other protocols: 400, and nothing behind it is read."""
    found = served.ask(request_ + GOOD)
    assert [problem(answer) for answer in found] == [(400, "invalid_request")]


def test_tiny_chunks_and_their_extensions_are_read(served: Served) -> None:
    """A body in pieces of one byte is the same body."""
    body = encoded(thumb())
    chunks = b"".join(
        b"1;of=%d\r\n%b\r\n" % (number, body[number : number + 1]) for number in range(len(body))
    )
    ((status, _, text),) = served.ask(
        closing(POST) + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    )
    assert (status, json.loads(text)["accepted"]) == (200, 1)


def test_a_request_that_goes_on_for_ever_is_413(served: Served) -> None:
    """Extensions of chunks are no body, and count all the same."""
    endless = POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"a" * (20 * 1024 * 1024)
    assert [problem(answer) for answer in served.ask(endless)] == [(413, "too_large")]


def test_what_comes_behind_the_body_is_not_believed(served: Served) -> None:
    """A trailer changes nothing of the head."""
    body = encoded(thumb())
    chunked = closing(
        POST
    ) + b"Transfer-Encoding: chunked\r\nTrailer: Content-Type\r\n\r\n%x\r\n%b\r\n0\r\n" % (len(body), body)
    ((status, _, _),) = served.ask(chunked + b"Content-Type: text/plain\r\nHost: evil.example.com\r\n\r\n")
    assert status == 200


def test_a_client_that_asks_first_is_told_to_go_on(served: Served) -> None:
    """100-continue is answered where the body is wanted, and only there."""
    body, ask = encoded(thumb()), b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    found = served.ask(closing(POST) + ask % len(body), body)
    assert [status for status, _, _ in found] == [100, 200]
    refused = closing(POST).replace(b"application/json", b"text/plain")
    assert [status for status, _, _ in served.ask(refused + ask % len(body))] == [415]


def test_a_client_that_never_reads_is_given_up(served: Served) -> None:
    """What is written for it has an end, and so has its connection."""
    with served.connect() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        request = GET.replace(b"/healthz", b"/openapi.json")
        connection.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for _ in range(300):
                connection.sendall(request)
        served.wait(lambda: bool(served.server.server_state.connections))
        served.quiet()


def test_other_methods_are_answered_as_any(served: Served) -> None:
    """HEAD has no body; OPTIONS offers nothing to other sites; a change of protocol is not made."""
    head, options = GET.replace(b"GET", b"HEAD"), GET.replace(b"GET", b"OPTIONS")
    with served.connect() as connection:
        connection.sendall(closing(head))
        text = connection.recv(4096)
    assert text.startswith(b"HTTP/1.1 200")
    assert text.endswith(b"\r\n\r\n")
    ((status, headers, _),) = served.ask(closing(options))
    assert status == 405
    assert "access-control-allow-origin" not in headers
    upgrade = GET[:-2] + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    assert [status for status, _, _ in served.ask(upgrade + b"\x81\x05hello")] == [200]


def test_media_types_that_any_page_can_send_are_refused(served: Served) -> None:
    """A form needs no permission to be sent: none of its three types is an event."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        request = closing(GOOD).replace(b"application/json", kind.encode())
        ((status, _, _),) = served.ask(request)
        assert status == 415


@pytest.mark.parametrize(
    "open_files,connections",
    [((4096, 4096), 1000), ((1024, resource.RLIM_INFINITY), 1000), ((1024, 1024), 760), ((128, 128), 32)],
)
def test_a_server_takes_as_many_connections_as_it_may_open_files(
    monkeypatch: pytest.MonkeyPatch, open_files: tuple[int, int], connections: int
) -> None:
    """What it opens besides comes first; where that hardly fits, a quarter is for connections."""
    monkeypatch.setattr(resource, "getrlimit", lambda which: open_files)
    monkeypatch.setattr(resource, "setrlimit", lambda which, wanted: None)
    assert door.fitting_connections(1000) == connections
