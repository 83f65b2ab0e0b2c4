"""Alive is not well: a worker that hangs, a disk without room for views, a client that stops half way."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.checking import Server, check_promise, counts, serving
from tests.crash.conftest import fill
from tests.crash.load import BATCH, Load, batch
from tests.feedback.running import until

pytestmark = pytest.mark.crash

_STUCK_AFTER_S = 1.0
_TYPE = "Content-Type: application/cloudevents-batch+json"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is quick to call a worker stuck."""
    with serving(
        tmp_path_factory.mktemp("well") / "home", LOOPLINE_STUCK_AFTER=str(_STUCK_AFTER_S)
    ) as started:
        yield started


@pytest.fixture
def paused(server: Server) -> Iterator[Server]:
    """The same, with a worker that is alive and does nothing; it goes on at the end."""
    worker = server.worker()
    os.kill(worker, signal.SIGSTOP)
    try:
        yield server
    finally:
        os.kill(worker, signal.SIGCONT)
        until(lambda: _ready(server)[0] == 200, "the worker to go on")


def _ready(server: Server) -> tuple[int, dict[str, object]]:
    assert server.running is not None
    return server.running.get("/readyz")


def _post(server: Server, body: bytes) -> str:
    """Send a batch, which must be taken; gives the position that covers it."""
    host, port = server.address()
    headers = dict([_TYPE.split(": ")])
    request = urllib.request.Request(f"http://{host}:{port}/v1/events", body, headers, method="POST")
    with urllib.request.urlopen(request, timeout=20) as answer:
        return str(json.load(answer)["position"])


def _events(name: int) -> bytes:
    return json.dumps(batch(name, 0)).encode()


def test_a_worker_that_hangs_behind_the_log_is_not_ready(paused: Server) -> None:
    """The process is there, the views stand still: 503 with the reason, in time and not before it."""
    _post(paused, _events(1))
    sent_at = time.monotonic()
    _, said = until(lambda: (answer := _ready(paused))[0] == 503 and answer, "a 503")
    waited_s = time.monotonic() - sent_at
    assert _STUCK_AFTER_S * 0.9 <= waited_s <= _STUCK_AFTER_S + 10
    assert "have not moved for" in str(said["reasons"])
    assert said["lag_blocks"]
    # Nothing is wrong with the log: events are taken meanwhile.
    position = _post(paused, _events(2))
    os.kill(paused.worker(), signal.SIGCONT)
    until(lambda: _ready(paused)[0] == 200, "the worker to go on")
    assert paused.running is not None
    assert paused.running.get(f"/v1/waiting?after={position}")[0] == 200
    assert counts(paused)["feedback.thumb"] >= BATCH


def test_a_worker_without_anything_to_do_is_ready(paused: Server) -> None:
    """Readiness looks at progress: nothing to do is not standing still, whatever the process does."""
    time.sleep(_STUCK_AFTER_S * 2)
    status, said = _ready(paused)
    assert (status, said["lag_blocks"]) == (200, 0)


@pytest.mark.parametrize("half_close", [False, True], ids=["gone", "said all it has"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])
def test_half_a_request_leaves_nothing(server: Server, half_close: bool, chunked: bool) -> None:
    """A client cut off in a body, or that sends less than it said, was not heard."""
    body = _events(3)
    before = _post(server, b"[]")
    size = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1\r\n{_TYPE}\r\n{size}\r\n\r\n"
    said = b"%x\r\n%b\r\n" % (len(body), body) if chunked else body[:-1]
    with socket.create_connection(server.address(), timeout=10) as connection:
        connection.sendall(head.encode() + said)
        if half_close:
            connection.shutdown(socket.SHUT_WR)
            assert b" 200 " not in connection.recv(65536)
    # Two more requests and a pause: what had been taken would be in the log by then.
    _post(server, b"[]")
    time.sleep(0.1)
    assert _post(server, b"[]") == before


@pytest.mark.disk
def test_views_without_room_wait_for_it(small_disk: Path, tmp_path: Path) -> None:
    """The store's disk is full, the log's is not: events are taken, /readyz says no, and space mends it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "store").symlink_to(small_disk, target_is_directory=True)
    with serving(home, LOOPLINE_STUCK_AFTER=str(_STUCK_AFTER_S)) as server:
        server.worker()
        ballast = small_disk / "ballast"
        fill(ballast)
        load = Load(server.address, senders=2, batches=20)
        load.start()
        load.wait()
        until(lambda: "disk is full" in str(_ready(server)[1]["reasons"]), "a 503 with the reason")
        ballast.unlink()
        until(lambda: _ready(server)[0] == 200, "the views to catch up")
        check_promise(server, load)
