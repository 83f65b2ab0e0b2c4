"""A process that was told to end does so in time, whatever it waits for, and sooner when it can."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.feedback.running import COMMAND, until
from tests.services.ports import free_port

PROGRAM = """
import os, signal, sys, time
from feedback.processes.ending import ends_after_signal
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGINT, lambda *_: sys.exit(5))
say = lambda: print("it ends", flush=True)
with ends_after_signal((signal.SIGTERM, signal.SIGINT), say, within_s=1.0, status=lambda: 7):
    print("runs", flush=True)
    while True:
        time.sleep(60)
"""


SERVER = """
import signal, socket, sys, time
import structlog
from feedback.processes.home_server import serve
from feedback.processes.ending import ends_after_signal
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))

class Hanging:
    refused = staticmethod(lambda code: None)

    async def __call__(self, scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.complete"})
        print("runs", flush=True)
        await receive()
        time.sleep(60)

say = lambda: print("it ends", flush=True)
with ends_after_signal((signal.SIGTERM, signal.SIGINT), say, within_s=1.0, status=lambda: 7) as hear:
    serve(Hanging(), socket.create_server(("127.0.0.1", 0)), "warning", hear)
"""


def ended_by(number: int, program: str = PROGRAM) -> tuple[int, float, str]:
    """The exit status of the program, how long its end took, and what it said of it."""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        # What it was not told to end by is no sign.
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.2)
        since = time.monotonic()
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
        return process.returncode, time.monotonic() - since, said


@pytest.mark.parametrize("number, status, said", [(signal.SIGTERM, 7, "it ends\n"), (signal.SIGINT, 5, "")])
def test_who_does_not_end_by_itself_is_ended(number: int, status: int, said: str) -> None:
    """After the time it has, with a word and the status that was named; who ends by itself has its own."""
    ended = ended_by(number)
    assert (ended[0], ended[2]) == (status, said)
    assert (ended[1] >= 1.0) == (status == 7)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_hangs_at_its_end_is_ended(number: int) -> None:
    """It serves on an event loop, which takes signals for itself, and what it does last never returns."""
    status, took_s, said = ended_by(number, SERVER)
    assert (status, said) == (7, "it ends\n")
    assert 1.0 <= took_s < 10.0


@contextlib.contextmanager
def hung_service() -> Iterator[int]:
    """The port of a service that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield listening.getsockname()[1]


def test_whoever_waits_for_a_service_that_hangs_ends_within_ten_seconds(tmp_path: Path) -> None:
    """Servers by SIGTERM, commands by Ctrl-C; brokers, PostgreSQL and the object store all hang."""
    worker_port = free_port()
    worker = f"http://127.0.0.1:{worker_port}"
    with hung_service() as port:
        settings = {
            "LOOPLINE_LOG": f"kafka://127.0.0.1:{port}/hung",
            "LOOPLINE_STORE": f"postgresql://u:p@127.0.0.1:{port}/hung",
            "LOOPLINE_DATASETS": f"s3://k:s@bucket/x?scheme=http&endpoint_override=127.0.0.1:{port}",
        }
        told = {
            ("worker", "--port", str(worker_port)): signal.SIGTERM,
            ("collector", "--port", str(free_port())): signal.SIGTERM,
            ("topics", "ensure"): signal.SIGINT,
            ("verify",): signal.SIGINT,
            ("dataset", "list"): signal.SIGINT,
        }
        processes = {
            words: subprocess.Popen(
                [*COMMAND, *words], env=os.environ | settings, cwd=tmp_path, stderr=subprocess.PIPE, text=True
            )
            for words in told
        }
        try:
            # By then all of them wait: each has less to load than a worker.
            until(lambda: urllib.request.urlopen(f"{worker}/healthz", timeout=5).close() is None, "a worker")
            time.sleep(1)
            for words, number in told.items():
                processes[words].send_signal(number)
            since = time.monotonic()
            for words, process in processes.items():
                process.wait(30)
                assert time.monotonic() - since < 10, words
            assert processes[next(iter(told))].returncode == 0
        finally:
            for process in processes.values():
                process.kill()
                process.communicate()
