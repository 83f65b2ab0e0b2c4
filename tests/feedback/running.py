"""Running the command line in tests: in this process, or as the real processes of a server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from feedback.cli import main
from feedback.cli.options import Choices
from feedback.installation.home import Home

COMMAND = [sys.executable, "-P", "-c", "from loopline_platform import main; main()"]
PATIENCE_S = 40.0
TIME = "2026-01-01T12:00:00Z"


def loopline(*arguments: object, stdin: bytes | None = None, lock_wait_s: float = 10.0) -> Result:
    """Run a command in this process."""
    choices = Choices(lock_wait_s=lock_wait_s)
    result = CliRunner().invoke(main, [str(each) for each in arguments], input=stdin, obj=choices)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def told(*arguments: object, status: int = 0, stdin: bytes | None = None) -> Any:
    """The JSON document that a command answers with."""
    result = loopline(*arguments, "--json", stdin=stdin)
    assert result.exit_code == status, (result.stdout, result.stderr)
    return json.loads(result.stdout)


def event(kind: str, number: int | str, **data: Any) -> dict[str, Any]:
    """A CloudEvent of a product's."""
    return {
        "specversion": "1.0",
        "id": f"e-{number}",
        "source": "/test",
        "type": f"loopline.{kind}.v1",
        "time": TIME,
        "data": data,
    }


def prediction(number: int) -> dict[str, Any]:
    """A prediction of the model `m`, version 1."""
    return event(
        "prediction.made", f"p{number}", prediction_id=f"p-{number}", model="m", model_version="1", output="a"
    )


def lines(*events: dict[str, Any]) -> bytes:
    """Events, one a line."""
    return b"".join(json.dumps(each).encode() + b"\n" for each in events)


def until(holds: Callable[[], Any], what: str) -> Any:
    """Wait until something holds, and give it back."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            found = holds()
            if found:
                return found
        time.sleep(0.05)
    raise AssertionError(f"waited {PATIENCE_S:g} s for {what}")


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has buried yet has."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return False


class Running:
    """A server as its own process, with its two children."""

    def __init__(self, home: Path, *arguments: object, cwd: Path | None = None, **variables: str) -> None:
        self.home = Home(home)
        words = ["up", "--home", str(home), "--port", "0", *map(str, arguments)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LOOPLINE_")}
        environment |= variables
        self._told: tuple[str, str] | None = None
        self.process = subprocess.Popen(
            [*COMMAND, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,
            cwd=cwd,
        )

    def ready(self) -> Running:
        """Wait until it answers and its worker runs."""
        until(lambda: self.home.server() or self.process.poll() is not None, "the server's address")
        assert self.process.poll() is None, self.process.communicate()
        until(lambda: self.home.worker_state().state in ("running", "refused"), "the worker")
        return self

    @property
    def url(self) -> str:
        """Its address."""
        server = self.home.server()
        assert server is not None
        return server.url

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a GET."""
        status, content = self.fetch(path)
        return status, json.loads(content)

    def fetch(self, path: str) -> tuple[int, bytes]:
        """Status and content of a GET."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def children(self) -> tuple[int, int]:
        """The process ids of collector and worker."""
        server = self.home.server()
        assert server is not None
        return server.collector, self.home.worker_state().pid

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str, str]:
        """Send a signal and wait; gives the exit status and what was said."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        if self._told is None:
            self._told = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, *self._told


@contextlib.contextmanager
def server_on(home: Path, *arguments: object, cwd: Path | None = None, **variables: str) -> Iterator[Running]:
    """A running server, ended at the end."""
    running = Running(home, *arguments, cwd=cwd, **variables)
    try:
        yield running.ready()
    finally:
        running.end()
        running.home.close()
