"""Counting exactly: what was acknowledged against what the views show and the log rebuilds."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.load import BATCH, Load
from tests.feedback.running import Running, loopline, until
from tests.services.ports import free_port


class Server:
    """A server that can be killed and started again on the same home and port."""

    def __init__(self, home: Path, partitions: int = 2) -> None:
        self.home = home
        self.port = free_port()
        self.partitions = partitions
        self.running: Running | None = None
        self._started = 0.0

    def start(self, **variables: str) -> Running:
        """Start it, or start it again."""
        self.stop()
        words = ("--port", self.port, "--partitions", self.partitions)
        self._started = time.time()
        self.running = Running(self.home, *words, cwd=None, **variables)
        return self.running.ready()

    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    def ended(self) -> bool:
        """Whether its parent process has ended."""
        assert self.running is not None
        return self.running.process.poll() is not None

    def collector(self, *, other_than: int = 0) -> int:
        """The process of its collector, once there is one."""

        def told() -> int:
            assert self.running is not None
            server = self.running.home.server()
            return server.collector if server is not None and server.collector != other_than else 0

        return int(until(told, "a collector"))

    def worker(self, *, other_than: int = 0) -> int:
        """The process of its worker, once that runs: not what an earlier one said, nor its parent of it."""

        def running() -> int:
            assert self.running is not None
            said = self.running.home.worker_state()
            runs = said.state == "running" and said.at >= self._started
            return said.pid if runs and said.pid != other_than else 0

        return int(until(running, "a worker"))

    def stop(self) -> None:
        """End it in order."""
        if self.running is not None:
            self.running.end()
            self.running.home.close()
            self.running = None


@contextmanager
def serving(home: Path, **variables: str) -> Iterator[Server]:
    """A started server, ended at the end."""
    server = Server(home)
    server.start(**variables)
    try:
        yield server
    finally:
        server.stop()


def _found(running: Running, path: str) -> bool:
    return running.get(path)[0] == 200


def check_promise(server: Server, load: Load) -> None:
    """Every acknowledged event is in the views once, every refusal is kept, a rebuild is identical."""
    assert server.running is not None
    assert len(load.acknowledged) == len(set(load.acknowledged)) == load.sent
    for position in load.positions[-3:]:
        path = f"/v1/waiting?after={position}"
        until(partial(_found, server.running, path), "the views to follow")
    assert counts(server) == {"prediction.made": load.sent // 2, "feedback.thumb": load.sent // 2}
    assert server.running.get("/v1/waiting")[1]["items"] == []
    # A refused item whose answer was lost was sent again, and is a dead letter each time.
    letters = dead_letter_ids(server)
    assert set(load.refused) <= letters
    assert len(load.refused) == load.sent // BATCH
    said = loopline("verify", "--home", server.home)
    assert said.exit_code == 0, said.output
    assert "identical" in said.output


def counts(server: Server) -> dict[str, int]:
    """What the views count of each kind; `n` and `events` must agree, for nothing here is superseded."""
    assert server.running is not None
    status, answer = server.running.get("/v1/counts?by=kind")
    assert status == 200
    assert all(item["n"] == item["events"] for item in answer["items"])
    return {item["kind"]: item["n"] for item in answer["items"]}


def dead_letter_ids(server: Server) -> set[str]:
    """The event ids of all dead letters."""
    assert server.running is not None
    found: set[str] = set()
    query = "/v1/dead-letters?limit=1000"
    token: Any = ""
    while token is not None:
        _, page = server.running.get(query + (f"&next={token}" if token else ""))
        found.update(item["id"] for item in page["items"])
        token = page["next"]
    return found
