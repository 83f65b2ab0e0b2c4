"""A full disk: never a false 2xx, nothing torn, and whole again when there is space."""

from __future__ import annotations

import itertools
import json
import os
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.crash.checking import Server
from tests.crash.conftest import fill
from tests.crash.load import Load
from tests.feedback.running import server_on, until

pytestmark = [pytest.mark.crash, pytest.mark.disk]


def _post(server: Server, number: int) -> tuple[int, str | None]:
    event = {
        "specversion": "1.0",
        "id": f"x{number}",
        "source": "/full",
        "type": "loopline.feedback.comment.v1",
        "time": "2026-01-01T12:00:00Z",
        "data": {"subject": "s", "text": "w" * 20_000},
    }
    host, port = server.address()
    request = urllib.request.Request(
        f"http://{host}:{port}/v1/events",
        json.dumps(event).encode(),
        {"content-type": "application/json"},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, None
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers.get("retry-after")


def test_a_full_disk_gives_503_and_recovers_when_there_is_space(small_disk: Path) -> None:
    """While nothing can be written, nothing is promised; freed space is all that the server needs."""
    server = Server(small_disk / "home")
    try:
        server.start()
        before = Load(server.address, senders=2, batches=5)
        before.start()
        before.wait()
        ballast = small_disk / "ballast"
        fill(ballast)
        status, pause = until(lambda: _refused(server), "the first 503")
        assert (status, pause) == (503, "1")
        # A refused item that cannot be kept is no 422 either: the answer would promise its dead letter.
        # Write-ahead logs that are cut meanwhile leave room for a few.
        answers = list(iter(lambda: _bad(server), 503))
        assert set(answers) <= {422}
        ballast.unlink()
        until(lambda: _post(server, 10_000)[0] == 200, "the server to accept again")
        after = Load(server.address, senders=4, batches=5)
        after.start()
        after.wait()
        assert server.running is not None
        assert server.running.get("/readyz")[0] in (200, 503)
        _check(server, before, after, letters=len(answers))
    finally:
        server.stop()


def test_a_collector_that_dies_on_a_full_disk_is_started_again(small_disk: Path) -> None:
    """Its address cannot be written down before there is space; that ends nothing."""
    with server_on(small_disk / "home") as running:
        first, _ = running.children()
        url = running.url
        ballast = small_disk / "ballast"
        fill(ballast)
        os.kill(first, signal.SIGKILL)
        assert running.process.stderr is not None
        while "server.json cannot be written" not in (line := running.process.stderr.readline()):
            assert line, "the server ended"
        with urllib.request.urlopen(f"{url}/healthz", timeout=20) as answer:
            assert answer.status == 200
        assert running.process.poll() is None
        ballast.unlink()
        until(lambda: running.children()[0] != first, "the address to be written down")
        fill(ballast)
        status, _, err = running.end()
    assert status == 0, err


_numbers = itertools.count(1)


def _refused(server: Server) -> tuple[int, str | None] | None:
    status, pause = _post(server, next(_numbers))
    return (status, pause) if status != 200 else None


def _bad(server: Server) -> int:
    host, port = server.address()
    request = urllib.request.Request(
        f"http://{host}:{port}/v1/events",
        # Random, so that it is as large in the log as it looks.
        b'{"not": "an event", "fill": "' + os.urandom(15_000).hex().encode() + b'"}',
        {"content-type": "application/json"},
        method="POST",
    )
    with pytest.raises(urllib.error.HTTPError) as failure:
        urllib.request.urlopen(request, timeout=20)
    with failure.value:
        return failure.value.code


def _check(server: Server, before: Load, after: Load, letters: int) -> None:
    """The loads overlap in their ids: what was sent again counts once; each refusal is there."""
    assert set(before.acknowledged) <= set(after.acknowledged)
    assert server.running is not None
    server.running.get(f"/v1/waiting?after={after.positions[-1]}")
    comments = server.running.get("/v1/counts?by=kind")[1]["items"]
    kinds = {item["kind"]: item["n"] for item in comments}
    assert kinds["prediction.made"] == kinds["feedback.thumb"] == after.sent // 2
    refused = server.running.get("/v1/dead-letters?limit=1000")[1]["items"]
    assert sum(item["source"] is None for item in refused) == letters
