"""A server on a home: holds the lock, starts collector and worker as two processes, watches, ends both.

The start is these steps:

1. the home's lock is taken, so that a second server is refused; the children inherit it;
2. the home is made if it is not there, and a port is bound, so that a busy one is told at once;
3. collector and worker are started, and the address written down when the collector answers.

The end is these, in order: the collector stops accepting and writes down what it took; the worker catches
up; the lock is released. A worker that dies is started again, later each time; one that refuses to run is
left alone until its views are replaced, while the collector goes on accepting. A collector that dies ends
the server.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import structlog

from feedback.bootstrap import CATCH_UP_S, GRACEFUL_S, REFUSED_TO_RUN, STOPPED
from feedback.home import Home, HomeLock, HomeRefused, ServerInfo
from feedback.service import NoAnswer, OverHttp, address_of

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_START_S = 30.0
_END_S = 5.0
_POLL_S = 0.05
_TOLD_TOGETHER_S = 0.5
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 10.0
_STEADY_S = 30.0

_log = structlog.get_logger("loopline")


class ServerDied(HomeRefused):
    """The collector ended by itself."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that address."""
    return host in LOOPBACK or host.startswith("127.")


class Supervisor:
    """One server on one home.

    Args:
        home: made if it is not there.
        host, port: where to listen; port 0 takes a free one.
        partitions: of the log if it is made; None takes what is there, or 1.
        log_level: what the two processes log on standard error.
        datasets: the address of the releases; the home's folder when left out.
    """

    def __init__(
        self,
        home: Home,
        host: str = "127.0.0.1",
        port: int = 8710,
        *,
        partitions: int | None = None,
        log_level: str = "warning",
        datasets: str | None = None,
    ) -> None:
        self.home = home
        self.url = ""
        self._host, self._port = host, port
        self._partitions = partitions
        self._log_level = log_level
        self._environment = {**os.environ, **({"LOOPLINE_DATASETS": datasets} if datasets else {})}
        self._lock: HomeLock | None = None
        self._collector: subprocess.Popen[bytes] | None = None
        self._worker: subprocess.Popen[bytes] | None = None
        self._refused = False
        self._started_on: Path | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._worker_due = 0.0
        self._worker_since = 0.0

    def start(self) -> str:
        """Start the server; returns its address. Raises HomeRefused, Locked, or OSError for the port."""
        self.home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self.home.lock("starts a server", wait_s=1.0)
        try:
            self._prepare()
            with contextlib.closing(listen(self._host, self._port)) as listening:
                self.url = address_of(self._host, listening.getsockname()[1])
                self._lock.say("serves", self.url)
                self._collector = self._spawn("collector", listening.fileno())
            self._start_worker()
            self._wait_until_it_answers()
            self.home.say_server(ServerInfo(self.url, os.getpid(), self._collector.pid))
        except BaseException:
            self.stop()
            raise
        return self.url

    def watch(self, stop: threading.Event) -> None:
        """Keep the server running until `stop` is set. Raises ServerDied when the collector ends."""
        while not stop.wait(_POLL_S):
            if self._collector is not None and self._collector.poll() is not None:
                # A service manager may tell all processes to end at once.
                if stop.wait(_TOLD_TOGETHER_S):
                    return
                raise ServerDied(
                    f"the collector ended with status {self._collector.returncode}; what it acknowledged"
                    " is on disk. Start again with `loopline up`; --log-level info says more."
                )
            self._mind_worker()

    def stop(self) -> None:
        """End the collector, then the worker, and give the home back."""
        _end(self._collector, GRACEFUL_S + _END_S)
        _end(self._worker, CATCH_UP_S + _END_S)
        self._collector = self._worker = None
        if self._lock is not None:
            self.home.say_server(None)
            self._lock.release()
            self._lock = None

    def _prepare(self) -> None:
        self.home.sweep()
        if not self.home.exists():
            self.home.create(self._partitions or 1)
            return
        with contextlib.closing(self.home.open_log()) as log:
            there = log.identity.partitions
        if self._partitions not in (None, there):
            raise HomeRefused(
                f"{self.home.path} was made with {there} partition{'s' if there != 1 else ''}, and that is"
                f" fixed: leave --partitions out, or give {there}. For another number choose another --home."
            )

    def _spawn(self, process: str, listening: int | None = None) -> subprocess.Popen[bytes]:
        assert self._lock is not None
        # -P: a folder named `models` or `streams` where somebody stands must not be taken for ours.
        command = [sys.executable, "-P", "-m", "feedback.bootstrap", process, str(self.home.path)]
        command += ["--log-level", self._log_level]
        inherited = [self._lock.fileno()]
        if listening is not None:
            command += ["--socket", str(listening)]
            inherited.append(listening)
        # Standard input tells a child that this process is gone. In a group of its own, Ctrl-C does not
        # reach it: this process ends the children in order.
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=2,
            env=self._environment,
            pass_fds=inherited,
            process_group=0,
        )

    def _start_worker(self) -> None:
        # Noted before it starts: views that are replaced while it ends must not be missed.
        self._started_on = self.home.current_path()
        self._refused = False
        self._worker_since = time.monotonic()
        self._worker = self._spawn("worker")

    def _mind_worker(self) -> None:
        now = time.monotonic()
        if self._worker is None:
            if self._refused and self.home.current_path() == self._started_on:
                return
            if now >= self._worker_due:
                self._start_worker()
            return
        status = self._worker.poll()
        if status is None:
            return
        _close(self._worker)
        self._worker = None
        if status == REFUSED_TO_RUN:
            self._refused = True
            return
        if now - self._worker_since > _STEADY_S:
            self._pause_s = _FIRST_PAUSE_S
        self._worker_due = now + self._pause_s
        say = _log.info if status == STOPPED else _log.warning
        say("the worker ended", status=status, starts_again_in_s=self._pause_s)
        said = self.home.worker_state()
        why = f" ({said.reason})" if said.state == "failed" else ""
        self.home.say_worker("restarting", f"it ended with status {status}{why} and starts again")
        self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + _START_S
        with contextlib.closing(OverHttp(self.url, timeout_s=_START_S)) as service:
            while True:
                if self._collector is None or self._collector.poll() is not None:
                    raise ServerDied("the collector ended as it started; its last lines above say why")
                try:
                    service.request("GET", "/healthz")
                    return
                except NoAnswer:
                    if time.monotonic() > deadline:
                        raise ServerDied(f"the collector did not answer within {_START_S:.0f} s") from None
                    time.sleep(_POLL_S)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises HomeRefused, which offers another port."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(2048)
    except OSError as error:
        listening.close()
        raise HomeRefused(
            f"cannot listen on {host}:{port}: {error.strerror or error}."
            " Choose another --port; --port 0 takes a free one."
        ) from None
    return listening


def _end(process: subprocess.Popen[bytes] | None, patience_s: float) -> None:
    if process is None:
        return
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            _log.error("a process did not end and is killed", pid=process.pid)
            process.kill()
            process.wait()
    _close(process)


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set; a second Ctrl-C ends at once, and SIGHUP does nothing."""
    stop = threading.Event()

    def hear(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, hear) for number in (signal.SIGINT, signal.SIGTERM)}
    before[signal.SIGHUP] = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
