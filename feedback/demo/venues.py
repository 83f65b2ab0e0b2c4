"""Where the demo plays: on a fresh home with a server of its own, or on a Kafka and a PostgreSQL.

On a cluster the processes are those that a deployment runs, started by their own commands. What is played
is in `story`; both give the same numbers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Protocol

import msgspec

from feedback.installation.cluster import Cluster, ClusterRefused
from feedback.installation.home import Home
from feedback.processes.supervisor import Supervisor
from feedback.server_client import NoAnswer, OverHttp
from feedback.settings import without_password

_COMMAND = (sys.executable, "-P", "-c", "from loopline_platform import main; main()")
_PARTITIONS = 4
_START_S, _END_S, _POLL_S = 60.0, 45.0, 0.1


class Venue(Protocol):
    """A place with a server. `folder` is where releases are loaded from: `datasets` lies in it."""

    folder: Path
    words: list[str]
    """What a command of `loopline` is given to work there."""

    def start(self) -> str:
        """Start what serves; returns its address."""
        ...

    def watch(self, stop: threading.Event) -> None:
        """Keep it running until `stop` is set."""
        ...

    def stop(self) -> None:
        """End it. What it took stays."""
        ...

    def places(self) -> list[tuple[str, str]]:
        """What it is made of, and where that is, for people."""
        ...

    def typed(self, url: str) -> str:
        """What somebody who looks around types behind `loopline`."""
        ...

    def again(self, command: str) -> str:
        """How to look around once it has ended; empty when there is nothing to type."""
        ...


class OnHome:
    """A fresh home, with the server that `loopline up` runs."""

    def __init__(self, home: Home, host: str = "127.0.0.1", port: int = 8710) -> None:
        self.folder = home.path
        self.words = ["--home", str(home.path)]
        self._server = Supervisor(home, host, port)

    def start(self) -> str:
        """Start the server; returns its address."""
        return self._server.start()

    def watch(self, stop: threading.Event) -> None:
        """Keep the server running until `stop` is set."""
        self._server.watch(stop)

    def stop(self) -> None:
        """End the server."""
        self._server.stop()

    def places(self) -> list[tuple[str, str]]:
        """The home."""
        return [("home", _shown(self.folder))]

    def typed(self, url: str) -> str:
        """The home is enough: its server is found there."""
        return f"--home {_shown(self.folder)}"

    def again(self, command: str) -> str:
        """How to start a server on the home."""
        return f" Look around with:\n\n   {command} {self.typed('')} up"


class OnCluster:
    """Fresh topics and an empty database, with one collector and one worker.

    The shelf of `cluster` is the folder `datasets` of `folder`.
    """

    def __init__(self, cluster: Cluster, folder: Path, host: str = "127.0.0.1", port: int = 8710) -> None:
        self.folder = folder
        self._cluster = cluster
        names = {"LOOPLINE_LOG": "--log", "LOOPLINE_STORE": "--store", "LOOPLINE_DATASETS": "--datasets"}
        self.words = [word for name, said in cluster.variables().items() for word in (names[name], said)]
        self._host, self._port = host, port
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> str:
        """Make the topics and start the processes; returns the collector's address. Raises ClusterRefused."""
        self._make_topics()
        collector = self._spawn("collector", "--host", self._host, "--port", str(self._port))
        worker = self._spawn("worker", "--port", "0")
        url = _address(collector)
        _address(worker)
        self._wait_until_it_answers(url)
        return url

    def watch(self, stop: threading.Event) -> None:
        """Wait until `stop` is set. Raises ClusterRefused when one of the processes ends."""
        while not stop.wait(_POLL_S):
            for process in self._processes:
                if process.poll() is not None:
                    raise ClusterRefused(
                        f"a process of the demo ended with status {process.returncode}; its last lines above"
                        " say why"
                    )

    def stop(self) -> None:
        """End the collector, then the worker."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_END_S)
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()
        self._cluster.close()

    def places(self) -> list[tuple[str, str]]:
        """Log, store and shelf; a password is not shown."""
        return [
            ("log", str(self._cluster.address)),
            ("store", without_password(self._cluster.store_url)),
            ("shelf", _shown(Path(self._cluster.datasets))),
        ]

    def typed(self, url: str) -> str:
        """The collector's address is enough for all that is offered."""
        return f"--url {url}"

    def again(self, command: str) -> str:
        """Nothing: whoever has a cluster knows how to run on it."""
        return ""

    def _spawn(self, *words: str) -> subprocess.Popen[bytes]:
        environment = {name: said for name, said in os.environ.items() if not name.startswith("LOOPLINE_")}
        process = subprocess.Popen(
            [*_COMMAND, *words, "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            # By the environment: others on the machine can read command lines.
            env=environment | self._cluster.variables() | {"LOOPLINE_INSECURE": "1"},
            # Ctrl-C is for the demo, which ends them in order.
            process_group=0,
        )
        self._processes.append(process)
        return process

    def _make_topics(self) -> None:
        from streams.kafka.topics.admin import ensure, show

        if self._cluster.stores.entries():
            raise ClusterRefused(
                "the demo needs an empty database, and there are views in this one: name another in --store"
            )
        if show(self._cluster.address).topics:
            raise ClusterRefused(
                f"the demo needs fresh topics, and there are some at {self._cluster.address}: choose another"
                " prefix, as in kafka://HOST:PORT/demo-2"
            )
        ensure(self._cluster.address, _PARTITIONS)

    def _wait_until_it_answers(self, url: str) -> None:
        deadline = time.monotonic() + _START_S
        with contextlib.closing(OverHttp(url, timeout_s=_START_S)) as service:
            while True:
                with contextlib.suppress(NoAnswer):
                    answer = service.request("GET", "/readyz")
                    if answer.status == 200 and answer.json()["status"] == "ready":
                        return
                self.watch(_Once())
                if time.monotonic() > deadline:
                    raise ClusterRefused(f"{url} was not ready within {_START_S:.0f} s")
                time.sleep(_POLL_S)


class _Once(threading.Event):
    """An event that is set when it is waited for the second time: `watch` looks once."""

    def __init__(self) -> None:
        super().__init__()
        self._asked = False

    def wait(self, timeout: float | None = None) -> bool:
        asked, self._asked = self._asked, True
        return asked


def _address(process: subprocess.Popen[bytes]) -> str:
    """The address that a command tells in its first document. Raises ClusterRefused when it ends instead."""
    assert process.stdout is not None
    document = b""
    for line in process.stdout:
        document += line
        if line.rstrip() == b"}":
            return str(msgspec.json.decode(document)["url"])
    raise ClusterRefused("a process of the demo ended as it started; its last lines above say why")


def _shown(path: Path) -> str:
    """A path as somebody who stands here would type it."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def typed_command() -> str:
    """What to type for the command line: its name, or where it is when the name is not enough."""
    started = Path(sys.argv[0])
    if shutil.which("loopline") is not None or started.name != "loopline":
        return "loopline"
    return _shown(started.absolute())
