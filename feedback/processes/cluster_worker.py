"""A worker of a cluster: one process that applies blocks, and one that watches over it.

    python -P -m feedback.processes.cluster_worker --host HOST --port PORT

is the first of them; the cluster comes in by the environment, never by the command line, which others on the
machine can read. `loopline worker` is the second: it starts the first again when it dies, later each time,
and ends it when it gives no sign of life.
One that refuses to run stays, says why on its `/readyz`, and goes on when its views were replaced or its log
can be opened. How blocks are applied is left to `streams.kafka.worker.engine`.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from feedback.disk import keep_to_oneself
from feedback.installation.cluster import Cluster
from feedback.installation.home import HomeRefused
from feedback.installation.port import PlaceRefused
from feedback.kafka_settings import kafka_security
from feedback.processes.children import Child, Process, spawn, turns
from feedback.processes.ending import ends_after_signal
from feedback.processes.home_server import FAILED, STOPPED, end_with_parent, ignore_hangups
from feedback.processes.logging import configure
from feedback.processes.restart import Restarts
from feedback.processes.supervisor import listen
from feedback.processes.watchdog import START_S, HealthLooks, show_stacks_on_request, tell_manager
from feedback.redaction import redacted
from feedback.server.door import InThread, hosts_of
from feedback.server_client import address_of
from feedback.settings import value
from loopline_platform import process_command
from schemas.errors import Halt
from streams.log.port import Log, LogIdentity, LogRefused
from streams.projection.apply import check

if TYPE_CHECKING:
    from streams.kafka.address import Address
    from streams.store.port import Store
    from streams.store.postgres import PostgresStore

_LOOK_S = 1.0
_END_S = 9.0
_POLL_S = 0.1
CANNOT_LISTEN = 65

_log = structlog.get_logger("loopline")


class CannotListen(PlaceRefused):
    """The worker's port is taken, or the address is none of this machine."""


# ------------------------------------------------------------------------------------- the one that applies


class Views:
    """The store that a worker moves forward: asked for before each batch, and looked at every second.

    `refused_look_s`: between two looks at whether what refused it is in order again.
    """

    def __init__(self, cluster: Cluster, *, refused_look_s: float = 2.0) -> None:
        self._cluster = cluster
        self._refused_look_s = refused_look_s
        self._log: Log | None = None
        self._store: PostgresStore | None = None
        self._looked = 0.0
        self._entered: tuple[int, LogIdentity] | None = None

    def open_log(self, address: Address) -> Log:
        """Open the log, and remember which it is."""
        self._log = None
        self._log = self._cluster.open_log()
        return self._log

    def store(self) -> PostgresStore:
        """The current store of this version of the views, else the one that workers build together."""
        assert self._log is not None
        store = self._store
        now = time.monotonic()
        if store is None or (now - self._looked >= _LOOK_S and not self.is_in_use(store)):
            fresh = self._cluster.stores.for_work(self._log.identity)
            if store is not None:
                store.close()
            self._store = store = fresh
        self._looked = now
        if self._entered != (store.number, self._log.identity):
            self._enter(store, self._log)
        return store

    def _enter(self, store: PostgresStore, log: Log) -> None:
        """Write down that the log has gone on to another epoch, once that is found to be in order."""
        if store.log != log.identity:
            check(log, store)
            self._cluster.stores.enter(store, log.identity)
        self._entered = store.number, log.identity

    def is_in_use(self, store: PostgresStore) -> bool:
        """Whether no other store took the place of this one."""
        entries = self._cluster.stores.entries()
        return any(entry.number == store.number and entry.state != "replaced" for entry in entries)

    def caught_up(self, store: Store) -> None:
        """The store has all of the log: whoever reads these views reads it from now on."""
        if store is self._store:
            self._cluster.stores.switch(self._store)
        self._cluster.stores.drop_stale()

    def mended(
        self, refusal: Exception, stop: threading.Event, each_turn: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until what was refused may be in order now, or until `stop`; tell of each turn.

        A log that can be opened and tells its ends (again) is; for a store another one has to take its place.
        """
        while not stop.wait(self._refused_look_s):
            each_turn()
            with contextlib.suppress(Exception):
                if self._log is None or isinstance(refusal, LogRefused):
                    with contextlib.closing(self._cluster.open_log()) as log:
                        log.ends()
                    return
                if self._store is not None and not self.is_in_use(self._store):
                    return


def run_worker(cluster: Cluster, host: str, port: int) -> int:
    """Apply blocks until SIGTERM; then finish the batch in hand, and give the partitions back.

    What cannot be finished in seconds is left: of a batch that was not committed nothing counts.
    """
    stop = threading.Event()
    ignore_hangups()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with ends_after_signal((signal.SIGTERM, signal.SIGINT), _say_left):
        return _work(cluster, host, port, stop)


def _say_left() -> None:
    _log.warning("the worker waits for something that does not answer, and ends without it")


def _work(cluster: Cluster, host: str, port: int, stop: threading.Event) -> int:
    """Apply blocks until `stop`; returns the process's status."""
    from streams.kafka.worker.engine import Engine, EngineStuck
    from streams.kafka.worker.health import Health
    from streams.kafka.worker.progress import WorkerProgress

    progress = WorkerProgress(stuck_after_s=value("stuck_after"), clocks=cluster.clocks)
    try:
        listening = listen(host, port)
        health = InThread(Health(progress, redacted), listening, hosts_of(listening, host))
    except HomeRefused as error:
        _log.error("the worker does not run", reason=str(error))
        return CANNOT_LISTEN
    except OSError as error:
        # No descriptor is left, or the machine was too slow: that passes, and it is started again.
        _log.error("the worker cannot answer about its health", reason=str(error))
        return FAILED
    _log.info("the worker runs", log=cluster.log_url, address=f"{host}:{listening.getsockname()[1]}")
    views = Views(cluster)
    try:
        while not stop.is_set():
            engine = Engine(
                cluster.address,
                views.store,
                progress=progress,
                on_caught_up=views.caught_up,
                open_log=views.open_log,
            )
            try:
                engine.run(stop)
            except Halt as error:
                # Said on /readyz too, for as long as it is so.
                _log.error("the worker does not run", reason=str(error))
                views.mended(error, stop, progress.turned)
    except EngineStuck as error:
        _log.error("the worker hangs and ends, to be started again", reason=str(error))
        return FAILED
    except Exception:
        _log.exception("the worker failed")
        return FAILED
    finally:
        health.close()
        cluster.close()
    return STOPPED


# --------------------------------------------------------------------------- the one that watches over it


class Watcher:
    """Keeps one worker process running until it is told to stop.

    Args:
        variables: the environment of the worker, besides this process's own.
        host, port: where the worker answers about its health, and is asked; on port 0 nobody can.
        process: what is run, with these as options; the worker when left out.
        first_sign_s: how long one that has just been started may take to answer, at least.
    """

    def __init__(
        self,
        variables: Mapping[str, str],
        host: str,
        port: int,
        log_level: str,
        *,
        process: Sequence[str] | None = None,
        first_sign_s: float = START_S,
    ) -> None:
        self._environment = {**os.environ, **variables}
        self._command = [*(process or process_command("feedback.processes.cluster_worker"))]
        self._command += ["--host", host, "--port", str(port), "--log-level", log_level]
        self._where = f"{host}:{port}"
        self._url = address_of(host, port) if port else ""
        self._looks: HealthLooks | None = None
        self._worker = Child(
            "worker",
            self._start,
            Restarts(),
            signs=lambda: self._looks,
            hang_after_s=value("hang_after") or math.inf,
            first_sign_s=first_sign_s,
        )

    def run(self, stop: threading.Event) -> None:
        """Start the worker, and again when it ends or could not be started, until `stop` is set.

        Raises CannotListen.
        """
        if self._url:
            self._looks = HealthLooks(self._url, well=lambda status: status != 500)
        tell_manager("READY=1")
        try:
            for _ in turns(stop, _POLL_S):
                status = self._worker.look()
                if status == CANNOT_LISTEN:
                    raise CannotListen(f"cannot listen on {self._where}: choose another --port")
                if status is not None:
                    self._worker.start_again(status)
            self._worker.end(_END_S)
        finally:
            self._worker.end(0.0)
            tell_manager("STOPPING=1")
            if self._looks is not None:
                self._looks.close()

    def _start(self) -> Process:
        process = spawn(self._command, self._environment)
        if self._looks is not None:
            self._looks.begin()
        return process


def main(arguments: list[str] | None = None) -> int:
    """Be the process that applies."""
    parser = argparse.ArgumentParser(prog="feedback.processes.cluster_worker", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log-level", default="info")
    chosen = parser.parse_args(arguments)
    keep_to_oneself()
    configure(chosen.log_level, value("log_format"), "worker")
    show_stacks_on_request()
    end_with_parent()
    cluster = Cluster(
        value("log"),
        value("store"),
        value("datasets") or "",
        kafka_security(value),
        called="loopline worker",
    )
    return run_worker(cluster, chosen.host, chosen.port)


if __name__ == "__main__":
    sys.exit(main())
