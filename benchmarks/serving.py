"""Servers in processes of their own: the real collector on a fresh home, and the peer.

Each listens on a free port of this machine and ends with its context. CPU is read from the system's own
account of the process; what is asked of a server is left to `load`.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.measuring import cpu_of
from feedback.installation.home import Home

_START_S = 60.0
_END_S = 20.0


class Serving(NamedTuple):
    """A server that answers."""

    port: int
    pid: int

    def cpu(self) -> float:
        """CPU seconds that it has used so far."""
        return cpu_of(self.pid)


@contextlib.contextmanager
def collector(folder: str) -> Iterator[Serving]:
    """The real collector, alone: no worker takes the other core."""
    with tempfile.TemporaryDirectory(dir=folder) as place:
        home = Home(Path(place) / "home")
        home.create(1)
        with _listening() as listening:
            command = [
                "feedback.processes.home_server",
                "collector",
                str(home.path),
                "--socket",
                str(listening.fileno()),
            ]
            with _process(command, listening, "/healthz") as serving:
                yield serving


@contextlib.contextmanager
def peer(folder: str) -> Iterator[Serving]:
    """FastAPI and pydantic, one row and one commit an event: `benchmarks.peer`."""
    with tempfile.TemporaryDirectory(dir=folder) as place, _listening() as listening:
        command = ["benchmarks.peer", str(listening.fileno()), str(Path(place) / "events.sqlite")]
        with _process(command, listening, "/healthz") as serving:
            yield serving


@contextlib.contextmanager
def _listening() -> Iterator[socket.socket]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(2048)
        yield listening


@contextlib.contextmanager
def _process(command: list[str], listening: socket.socket, healthy: str) -> Iterator[Serving]:
    port = listening.getsockname()[1]
    # Standard input tells the child that this process is gone.
    process = subprocess.Popen(
        [sys.executable, "-m", *command], stdin=subprocess.PIPE, pass_fds=[listening.fileno()]
    )
    try:
        _wait(process, port, healthy)
        yield Serving(port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _wait(process: subprocess.Popen[bytes], port: int, healthy: str) -> None:
    deadline = time.monotonic() + _START_S
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", healthy)
            if connection.getresponse().status == 200:
                return
        except OSError:
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError(f"{process.args!r} does not answer")
