"""The servers of a soak: `loopline up` on a home, or a collector and a worker on a Kafka and a PostgreSQL.

Both are the very commands that people run, in processes of their own, with a folder for temporary files that
nobody else uses.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from benchmarks.soak.load import request
from benchmarks.soak.sampling import size_of
from feedback.installation.home import Home
from tests.services.deployment import Deployment, Member
from tests.services.kafka.broker import Cluster
from tests.services.postgres import PostgresServer

_COMMAND = (sys.executable, "-P", "-c", "from feedback.cli import main; main()")
_START_S, _END_S, _COMMAND_S = 60.0, 40.0, 300.0
_READERS_CACHE, _WRITERS_CACHE = 32 * 1024**2, 96 * 1024**2


class Failed(Exception):
    """A server or a command did not do what it must."""


class Servers(Protocol):
    """What is soaked."""

    def processes(self) -> Mapping[str, int]:
        """Its processes now, by what they are."""
        ...

    def places(self) -> Mapping[tuple[str, str], float]:
        """Write-ahead logs and temporary files, by where they are."""
        ...

    def cache(self, subject: str) -> float:
        """How many bytes a process may keep of the files that it reads and writes."""
        ...

    def address(self) -> tuple[str, int]:
        """Where it is asked. Raises LookupError."""
        ...

    def variables(self) -> Mapping[str, str]:
        """The environment of a process beside it, with the same folder for temporary files."""
        ...

    def kill(self, subject: str) -> None:
        """SIGKILL to its `collector` or `worker`, and wait until there is another one that works."""
        ...

    def command(self, *words: str) -> str:
        """Run a command of `loopline` on it; what that said. Raises Failed."""
        ...

    def end(self) -> None:
        """End it, in order. Raises Failed when something of it is left."""
        ...


def until(holds: Callable[[], bool], what: str, patience_s: float = _START_S) -> None:
    """Wait until something holds. Raises Failed."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, LookupError):
            if holds():
                return
        time.sleep(0.1)
    raise Failed(f"waited {patience_s:.0f} s for {what}")


def _environment(**variables: str) -> dict[str, str]:
    """This process's environment without settings, with others."""
    return {name: said for name, said in os.environ.items() if not name.startswith("LOOPLINE_")} | variables


def _ready(address: tuple[str, int]) -> bool:
    return request(address, "GET", "/readyz")[0] == 200


class Embedded:
    """`loopline up` on a fresh home."""

    def __init__(self, folder: Path) -> None:
        self._home = Home(folder / "home")
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._said = folder / "said"
        self._variables = {"TMPDIR": str(self._temporary)}
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [*_COMMAND, "--home", str(self._home.path), "up", "--port", "0"],
                env=_environment(**self._variables),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        try:
            self._until(lambda: _ready(self.address()), "the server")
        except BaseException:
            self.close()
            raise

    def processes(self) -> Mapping[str, int]:
        """Its processes now."""
        server, worker = self._home.server(), self._home.worker_state().pid
        return {
            "supervisor": self._process.pid,
            "collector": server.collector if server else 0,
            # Between two workers it is the supervisor that says what becomes of them.
            "worker": 0 if worker == self._process.pid else worker,
        }

    def places(self) -> Mapping[tuple[str, str], float]:
        """Its write-ahead logs and temporary files."""
        wal = "write-ahead log"
        views = self._home.current_path()
        return {
            ("log", wal): size_of(self._home.log_path.with_name("log.sqlite-wal")),
            ("views", wal): size_of(views.with_name(f"{views.name}-wal")) if views else 0,
            ("disk", "temporary files"): len(list(self._temporary.rglob("*"))) + self._strange(),
        }

    def _strange(self) -> int:
        """Files in the home that are none of those which a home has."""
        known = {"lock", "server.json", "worker.json", "store", "datasets"}
        here = [each for each in self._home.path.iterdir() if not each.name.startswith("log.sqlite")]
        return len([each for each in here if each.name not in known])

    def cache(self, subject: str) -> float:
        """What a process may keep of its files."""
        path = self._home.current_path()
        size = size_of(path) if path else 0
        return min(size, {"worker": _WRITERS_CACHE, "collector": _READERS_CACHE}.get(subject, 0))

    def address(self) -> tuple[str, int]:
        """Where it is asked."""
        server = self._home.server()
        if server is None:
            raise LookupError
        host, _, port = server.url.removeprefix("http://").rpartition(":")
        return host, int(port)

    def variables(self) -> Mapping[str, str]:
        """Its environment."""
        return _environment(**self._variables)

    def kill(self, subject: str) -> None:
        """Kill, and wait for another."""
        before = self.processes()[subject]
        os.kill(before, signal.SIGKILL)

        def again() -> bool:
            said = self._home.worker_state()
            runs = subject != "worker" or said.state == "running"
            return self.processes()[subject] not in (before, 0) and runs

        self._until(lambda: again() and _ready(self.address()), f"another {subject}")

    def command(self, *words: str) -> str:
        """Run a command on it."""
        done = subprocess.run(
            [*_COMMAND, "--home", str(self._home.path), *words],
            env=_environment(**self._variables),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_COMMAND_S,
            check=False,
        )
        return _said_well(words, done)

    def end(self) -> None:
        """End it, in order."""
        processes = self.processes()
        self._process.terminate()
        status = self._process.wait(_END_S)
        left = [name for name, pid in processes.items() if pid and Path(f"/proc/{pid}").exists()]
        wal = [each.name for each in self._home.path.rglob("*-wal") if each.stat().st_size]
        self._home.close()
        if status or left or wal:
            raise Failed(f"ended with status {status}, and left {left + wal}:\n{self.said()}")

    def close(self) -> None:
        """Leave no process."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def said(self) -> str:
        """The end of what it logged."""
        return self._said.read_text(errors="replace")[-4000:]

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        try:
            until(lambda: self._process.poll() is not None or holds(), what)
        except Failed as error:
            raise Failed(f"{error}:\n{self.said()}") from None
        if self._process.poll() is not None:
            raise Failed(f"the server ended with status {self._process.returncode}:\n{self.said()}")


class Distributed:
    """One collector and one worker, on a deployment that is there."""

    def __init__(self, deployment: Deployment, temporary: Path) -> None:
        self._deployment = deployment
        self._temporary = temporary
        (self._collector,) = deployment.collect(1)
        (self._worker,) = deployment.work(1)
        self._child = 0

    def processes(self) -> Mapping[str, int]:
        """Its processes now."""
        watcher = self._worker.pid
        # Between two of its lives there is none; the last one is asked for in vain then.
        self._child = next((pid for pid in self._worker.pids() if pid != watcher), self._child)
        return {"collector": self._collector.pid, "watcher": watcher, "worker": self._child}

    def places(self) -> Mapping[tuple[str, str], float]:
        """Its write-ahead logs and temporary files."""
        said = {".said"}
        strange = [
            each
            for each in self._deployment.folder.iterdir()
            if each.suffix not in said and each.name != "datasets"
        ]
        files = len(list(self._temporary.rglob("*"))) + len(strange)
        return {("disk", "temporary files"): files}

    def cache(self, subject: str) -> float:
        """What a process may keep of its files."""
        return 0.0

    def address(self) -> tuple[str, int]:
        """Where it is asked."""
        return self._deployment.address()

    def variables(self) -> Mapping[str, str]:
        """Its environment."""
        return _environment(TMPDIR=str(self._temporary))

    def kill(self, subject: str) -> None:
        """Kill, and wait for another."""
        if subject == "collector":
            self._collector.kill()
            self._collector.start().ready()
            return
        before = self.processes()["worker"]
        os.kill(before, signal.SIGKILL)
        until(lambda: self.processes()["worker"] != before, "another worker")
        self._worker.ready()

    def command(self, *words: str) -> str:
        """Run a command on it."""
        done = self._deployment.command(*words, LOOPLINE_URL=self._collector.url)
        return _said_well(words, done)

    def end(self) -> None:
        """End it, in order."""
        for member in (self._collector, self._worker):
            pids = member.pids()
            status = member.end()
            left = [pid for pid in pids if Path(f"/proc/{pid}").exists()]
            if status or left:
                raise Failed(f"the {member.kind} ended with status {status}, left {left}:\n{member.said()}")

    def said(self) -> str:
        """The end of what they logged."""
        return "\n".join(_tail(member) for member in (self._collector, self._worker))


def _tail(member: Member) -> str:
    return f"--- the {member.kind}:\n{member.said()[-3000:]}"


def _said_well(words: tuple[str, ...], done: subprocess.CompletedProcess[str]) -> str:
    if done.returncode:
        raise Failed(f"loopline {' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextlib.contextmanager
def embedded() -> Iterator[Embedded]:
    """`loopline up` on a home that goes with the context."""
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        servers = Embedded(Path(folder))
        try:
            yield servers
        finally:
            servers.close()


@contextlib.contextmanager
def cluster() -> Iterator[Distributed]:
    """A broker and a PostgreSQL that go with the context, and a deployment on them."""
    flushed = {"log.flush.interval.messages": "1"}
    with (
        tempfile.TemporaryDirectory(prefix="soak-") as temporary,
        Cluster(settings=flushed) as kafka,
        PostgresServer() as postgres,
        Deployment(
            kafka.address("soak"), postgres.fresh_database(), partitions=2, TMPDIR=temporary
        ) as deployment,
    ):
        yield Distributed(deployment, Path(temporary))
