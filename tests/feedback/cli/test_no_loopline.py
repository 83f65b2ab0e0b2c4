"""An address at which something else answers: every command says so in one sentence, and ends with 3."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator

import pytest

from tests.feedback.running import lines, loopline, prediction

ANSWERS = {
    "a page": (200, "text/html", b"<html>Welcome to the intranet</html>"),
    "a missing page": (404, "text/html", b"<html>default backend - 404</html>"),
    "a login": (302, "text/html", b""),
    "another service's JSON": (200, "application/json", b'{"hello": "world"}'),
    "a list": (200, "application/json", b"[]"),
    "another service's problem": (
        403,
        "application/problem+json",
        b'{"type": "about:blank", "detail": "no"}',
    ),
    "a proxy without backends": (502, "text/html", b"<html>Bad gateway</html>"),
}

COMMANDS = {
    "send": ["send", "-"],
    "waiting": ["waiting"],
    "labels": ["labels", "m"],
    "feedback show": ["feedback", "show", "e-1"],
    "feedback list": ["feedback", "list"],
    "predictions list": ["predictions", "list"],
    "counts": ["counts"],
    "model list": ["model", "list"],
    "model show": ["model", "show", "m"],
    "model declare": ["model", "declare", "m", "1", "--text"],
    "dataset list": ["dataset", "list"],
    "dataset show": ["dataset", "show", "m@1"],
    "dead-letters list": ["dead-letters", "list"],
    "dead-letters show": ["dead-letters", "show", "dead:0:0"],
    "dead-letters replay": ["dead-letters", "replay", "dead:0:0"],
}


class Elsewhere:
    """An HTTP server that is no Loopline, and answers everything alike."""

    def __init__(self) -> None:
        self.answer = (200, "text/html", b"")
        elsewhere = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

            def do_GET(self) -> None:
                """Answer."""
                self.rfile.read(int(self.headers.get("content-length") or 0))
                status, media_type, body = elsewhere.answer
                self.send_response(status)
                self.send_header("content-type", media_type)
                self.send_header("content-length", str(len(body)))
                if status == 302:
                    self.send_header("location", "/login")
                self.end_headers()
                self.wfile.write(body)

            def do_POST(self) -> None:
                """Answer in the same way."""
                self.do_GET()

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    """A server that is no Loopline."""
    server = Elsewhere()
    yield server
    server.close()


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_no_loopline_is_told_in_one_sentence(elsewhere: Elsewhere, command: str, answer: str) -> None:
    """Whatever else answers there, the message names the address and asks whether it is right."""
    elsewhere.answer = ANSWERS[answer]
    words = ["--url", elsewhere.url, "--retry-for", "0", *COMMANDS[command]]
    result = loopline(*words, stdin=lines(prediction(1)))
    assert result.exit_code == 3, (result.stdout, result.stderr)
    (said,) = [line for line in result.stderr.splitlines() if elsewhere.url in line]
    assert result.stderr.splitlines()[-1] == said
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("answer", ANSWERS)
def test_the_doctor_finds_no_loopline(elsewhere: Elsewhere, answer: str) -> None:
    """Its finding about the server says so, and what to correct."""
    elsewhere.answer = ANSWERS[answer]
    result = loopline("--url", elsewhere.url, "doctor")
    (found,) = [line for line in result.stdout.splitlines() if elsewhere.url in line]
    assert found.startswith("fail")
    assert result.exit_code == 1
