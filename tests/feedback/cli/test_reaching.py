"""The way of the command line to a server elsewhere: who it says it is, and what it says about strangers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.feedback.running import loopline
from tests.services import fake_server as moves
from tests.services.fake_server import FakeServer, serving

EVENT = {"specversion": "1.0", "id": "e-1", "source": "/t", "type": "loopline.feedback.thumb.v1"}


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server that accepts everything until it is scripted."""
    with serving() as fake:
        yield fake


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with one event."""
    path = tmp_path / "events.ndjson"
    path.write_text(json.dumps(EVENT))
    return path


def test_credentials_and_headers_of_the_environment_are_sent(
    server: FakeServer, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the client's; what is told has neither."""
    monkeypatch.setenv("LOOPLINE_URL", server.url.replace("//", "//alice:s3%40cret@"))
    monkeypatch.setenv("LOOPLINE_HEADERS", "X-Tenant: shop")
    done = loopline("send", file)
    assert done.exit_code == 0, done.stderr
    _, headers, _ = server.requests[0]
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"alice:s3@cret").decode()
    assert headers["X-Tenant"] == "shop"
    assert f"1 event accepted by {server.url}" in done.stdout
    assert "s3" not in done.stdout + done.stderr


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 405, 410, 451])
def test_a_stranger_is_told_in_one_sentence(server: FakeServer, file: Path, status: int) -> None:
    """No traceback, no long wait, no loss: exit status 3."""
    server.otherwise = moves.page(status)
    done = loopline("send", file, "--url", server.url)
    assert done.exit_code == 3
    (told,) = [line for line in done.stderr.splitlines() if line.startswith("loopline:")]
    assert f"{server.url} answered {status} (text/html)" in told
    assert len(server.requests) == 1
