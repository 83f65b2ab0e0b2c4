"""Loopline on many machines, in small: collectors and workers as the very commands that a deployment runs.

    with Deployment(log, store) as loopline:
        loopline.collect(2)
        loopline.work(2)
        loopline.workers[0].kill()

Every process has a session of its own, so that killing one kills all of it, as the loss of a machine does.
What is counted afterwards is left to `counting`.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg

from tests.feedback.running import COMMAND, PATIENCE_S, until
from tests.services.ports import free_port

_END_S = 30.0


class Member:
    """One process of a deployment: `loopline collector` or `loopline worker`, on a port of its own."""

    def __init__(self, kind: str, variables: Mapping[str, str], said: Path) -> None:
        self.kind = kind
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._variables = dict(variables)
        self._said = said
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **variables: str) -> Self:
        """Start it, or start it again on the same port; `variables` hold for this time only."""
        assert not self.running, f"this {self.kind} is running"
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LOOPLINE_")}
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [*COMMAND, self.kind, "--port", str(self.port)],
                # On SIGABRT it says what each of its threads does.
                env=environment | self._variables | variables | {"PYTHONFAULTHANDLER": "1"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                cwd=self._said.parent,
            )
        return self

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def ended(self) -> bool:
        """Whether the process is not there any more."""
        return not self.running

    @property
    def pid(self) -> int:
        """The process that was started; the leader of its session."""
        assert self._process is not None
        return self._process.pid

    def pids(self) -> list[int]:
        """Every process of its session, the started one among them."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError, ProcessLookupError):
                    if os.getsid(int(entry.name)) == self.pid:
                        found.append(int(entry.name))
        return found

    def signal(self, number: int) -> None:
        """Send a signal to all of it."""
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self) -> None:
        """SIGKILL all of it at once, as when a machine goes."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait(_END_S)

    def freeze(self) -> None:
        """Stop all of it in its tracks."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on as if nothing had happened."""
        self.signal(signal.SIGCONT)

    def end(self) -> int:
        """SIGTERM to the started process, and its exit status."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
        return self._process.wait(_END_S)

    def wait(self) -> int:
        """Its exit status, once it ends by itself."""
        assert self._process is not None
        return self._process.wait(PATIENCE_S)

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of a GET. Raises OSError while it does not answer."""
        try:
            with urllib.request.urlopen(self.url + path, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def healthy(self) -> bool:
        """Whether the process answers."""
        with contextlib.suppress(OSError):
            return self.get("/healthz")[0] == 200
        return False

    def ready(self) -> Self:
        """Wait until it says that it is ready."""

        answer: tuple[int, Any] = (0, "no answer")

        def says_so() -> bool:
            nonlocal answer
            assert self.running, f"the {self.kind} has ended:\n{self.said()}"
            answer = self.get("/readyz")
            return answer[0] == 200

        try:
            until(says_so, f"a ready {self.kind}")
        except AssertionError as error:
            self.signal(signal.SIGABRT)
            time.sleep(1)
            error.add_note(f"it answered last: {answer}\nand said:\n{self.said()}")
            raise
        return self

    def lines(self) -> list[str]:
        """All lines of its log so far: what begins with a time."""
        said = self._said.read_text(errors="replace")
        return [line for line in said.splitlines() if line[:4].isdigit()]

    def said(self) -> str:
        """The end of what it wrote to standard output and standard error."""
        return self._said.read_text(errors="replace")[-6000:]


class Deployment:
    """Collectors and workers on one log and one store. Topics are made; everything ends with the context.

    Args:
        log: the log's address, with a prefix that nobody else uses.
        store: the address of an empty database.
        partitions: of the log.
        replication: of its topics.
        variables: further settings of every process.
    """

    def __init__(
        self, log: str, store: str, *, partitions: int = 4, replication: int = 1, **variables: str
    ) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="deployment-")
        self.folder = Path(self._folder.name)
        self.variables = {
            "LOOPLINE_LOG": log,
            "LOOPLINE_STORE": store,
            "LOOPLINE_DATASETS": str(self.folder / "datasets"),
            **variables,
        }
        self.collectors: list[Member] = []
        self.workers: list[Member] = []
        self._turn = itertools.count()
        made = self.command("topics", "ensure", "--partitions", partitions, "--replication", replication)
        if made.returncode != 0:
            self._folder.cleanup()
            raise AssertionError(made.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for member in (*self.collectors, *self.workers):
            # Shown by pytest when the test has failed.
            sys.stderr.write(f"--- {member.kind} on port {member.port} said:\n{member.said()}\n")
            if member.running:
                member.thaw()
                member.kill()
        self._folder.cleanup()

    def command(self, *words: object, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `loopline` to its end, with this deployment's settings."""
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LOOPLINE_")}
        return subprocess.run(
            [*COMMAND, *map(str, words)],
            env=environment | self.variables | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            cwd=self.folder,
            check=False,
        )

    def member(self, kind: str) -> Member:
        """A collector or worker that is not started yet."""
        members = self.collectors if kind == "collector" else self.workers
        member = Member(kind, self.variables, self.folder / f"{kind}-{len(members)}.said")
        members.append(member)
        return member

    def collect(self, count: int = 1, **variables: str) -> list[Member]:
        """So many more collectors, ready."""
        new = [self.member("collector").start(**variables) for _ in range(count)]
        return [each.ready() for each in new]

    def work(self, count: int = 1, **variables: str) -> list[Member]:
        """So many more workers, ready."""
        new = [self.member("worker").start(**variables) for _ in range(count)]
        return [each.ready() for each in new]

    def address(self) -> tuple[str, int]:
        """Where to send the next request: the running collectors take turns. Raises LookupError."""
        running = [each for each in self.collectors if each.running]
        if not running:
            raise LookupError("no collector is running")
        return "127.0.0.1", running[next(self._turn) % len(running)].port

    @contextlib.contextmanager
    def holding_positions(self) -> Iterator[None]:
        """Lock all positions of the current views: whoever wants to move them waits."""
        with psycopg.connect(self.variables["LOOPLINE_STORE"]) as connection:
            for table in self.tables("positions"):
                connection.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
            yield
            connection.rollback()

    def tables(self, name: str) -> list[str]:
        """The tables of that name in every store, quoted."""
        with psycopg.connect(self.variables["LOOPLINE_STORE"]) as connection:
            rows = connection.execute(
                "SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables"
                " WHERE schemaname LIKE 'loopline_views_%%' AND tablename = %s",
                [name],
            ).fetchall()
        return [str(row[0]) for row in rows]
