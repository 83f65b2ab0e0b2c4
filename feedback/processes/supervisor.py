"""A server on a home: holds the lock, starts collector and worker as two processes, watches, ends both.

The start is these steps:

1. the home's lock is taken, so that a second server is refused; the children inherit it;
2. the home is made if it is not there, and a port is bound, so that a busy one is told at once;
3. collector and worker are started, and the address written down when the collector answers.

One that dies is started again, later each time, and one that gives no sign of life is ended first: the
collector is asked for `/healthz`, the worker tells of each turn of its work. The socket stays open here all
the while: whoever connects while there is no collector waits for the next one. A collector that ends again
and again as soon as it was started ends the server; a worker is started for ever, and one that refuses to run
is left alone until its views are replaced, while the collector goes on accepting. What keeps a process from
being started at all, a machine that has no process or descriptor left, passes: that is tried for ever.

The end is these, in order: the port is given back; the collector stops accepting and writes down what it
took; the worker catches up; the write-ahead logs are written back; the lock is released.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from types import FrameType

import structlog

from feedback.installation.home import Home, HomeLock, HomeRefused, ServerInfo
from feedback.processes.children import Child, Process, spawn, turns
from feedback.processes.home_server import CATCH_UP_S, GRACEFUL_S, REFUSED_TO_RUN, STOPPED
from feedback.processes.restart import STEADY_S, Restarts
from feedback.processes.watchdog import LOOK_S, START_S, HealthLooks, Signs, tell_manager
from feedback.server_client import NoAnswer, OverHttp, address_of
from feedback.settings import value
from loopline_platform import process_command

_FIRST_ANSWER_S = 1.0
_END_S = 5.0
_POLL_S = 0.05
_TOLD_TOGETHER_S = 0.5
_MOST_QUICK_ENDS = 5

_log = structlog.get_logger("loopline")


class ServerDied(HomeRefused):
    """The collector does not run, and another start would not mend it."""


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
        hang_after_s: float = value("hang_after") or math.inf
        self._lock: HomeLock | None = None
        self._listening: socket.socket | None = None
        self._collector = Child(
            "collector",
            self._start_collector,
            Restarts(most=_MOST_QUICK_ENDS),
            signs=lambda: self._looks,
            hang_after_s=hang_after_s,
        )
        self._said: ServerInfo | None = None
        self._say_due = 0.0
        self._looks: HealthLooks | None = None
        self._worker = Child(
            "worker",
            self._start_worker,
            Restarts(),
            signs=lambda: self._signs,
            hang_after_s=hang_after_s,
        )
        self._signs: Signs | None = None
        self._started_on = ""

    def start(self, stop: threading.Event | None = None) -> str:
        """Start the server; returns its address. Raises HomeRefused, Locked, or OSError for the port.

        When `stop` is set meanwhile it returns at once, and `stop()` ends what was started.
        """
        self.home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = self.home.lock("starts a server", wait_s=1.0)
        try:
            self._prepare()
            self._listening = listen(self._host, self._port)
            self.url = address_of(self._host, self._listening.getsockname()[1])
            self._lock.say("serves", self.url)
            self._collector.start()
            self._worker.start()
            if self._wait_until_it_answers(stop or threading.Event()):
                self.home.say_server(self._where())
                self._said = self._where()
                self._looks = HealthLooks(self.url)
                self._looks.any = True
                tell_manager("READY=1")
        except BaseException:
            self.stop()
            raise
        return self.url

    def watch(self, stop: threading.Event) -> None:
        """Keep the server running until `stop` is set. Raises ServerDied when that is not possible."""
        for _ in turns(stop, _POLL_S):
            self._mind_collector(stop)
            self._mind_worker()

    def stop(self) -> None:
        """End the collector, then the worker, and give the home back."""
        tell_manager("STOPPING=1")
        if self._looks is not None:
            self._looks.close()
        if self._listening is not None:
            # Whoever connects from now on is refused once the collector has let go of it too.
            self._listening.close()
        try:
            self._collector.end(GRACEFUL_S + _END_S)
            self._worker.end(CATCH_UP_S + _END_S)
        except BaseException:
            # Ctrl-C once more: what was acknowledged is on disk.
            for child in (self._collector, self._worker):
                child.end(0.0)
            raise
        finally:
            self._looks = self._listening = None
            self._close_signs()
            if self._lock is not None:
                # Left where it is it does no harm: its process is gone.
                with contextlib.suppress(OSError):
                    self.home.say_server(None)
                self.home.write_back()
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

    def _spawn(self, process: str, option: str, descriptor: int) -> Process:
        """Start a process; `option` hands it a descriptor."""
        assert self._lock is not None
        command = [*process_command("feedback.processes.home_server"), process, str(self.home.path)]
        command += ["--log-level", self._log_level, option, str(descriptor)]
        return spawn(command, self._environment, [self._lock.fileno(), descriptor])

    # -------------------------------------------------------------------------------------- the collector

    def _start_collector(self) -> Process:
        assert self._listening is not None
        process = self._spawn("collector", "--socket", self._listening.fileno())
        if self._looks is not None:
            self._looks.begin()
        return process

    def _where(self) -> ServerInfo:
        return ServerInfo(self.url, os.getpid(), self._collector.pid)

    def _say_where(self) -> None:
        """Write down which collector serves, if it is another. What cannot be written is tried again."""
        where, now = self._where(), time.monotonic()
        if where == self._said or now < self._say_due:
            return
        self._say_due = now + LOOK_S
        try:
            self.home.say_server(where)
            self._said = where
        except OSError as error:
            _log.warning(
                "server.json cannot be written", reason=str(error), tries_again_in_s=LOOK_S, changed=True
            )

    def _mind_collector(self, stop: threading.Event) -> None:
        status = self._collector.look()
        if status is None:
            if self._collector.pid:
                self._say_where()
            return
        # A service manager may tell all processes to end at once.
        if stop.wait(_TOLD_TOGETHER_S):
            return
        if not self._collector.start_again(status):
            raise ServerDied(
                f"the collector ended {self._collector.restarts.quick} times in a row, each time within"
                f" {STEADY_S:.0f} s of its start, last with status {status}; what it acknowledged is on disk."
                " Its last lines above say why; --log-level info says more. Then start again with"
                " `loopline up`."
            )

    def _wait_until_it_answers(self, stop: threading.Event) -> bool:
        """Whether it answers; not when `stop` was set before."""
        deadline = time.monotonic() + START_S
        with contextlib.closing(OverHttp(self.url, timeout_s=_FIRST_ANSWER_S)) as service:
            while not stop.is_set():
                if not self._collector.runs:
                    if stop.wait(_TOLD_TOGETHER_S):
                        return False
                    raise ServerDied("the collector ended as it started; its last lines above say why")
                try:
                    service.request("GET", "/healthz")
                    return True
                except NoAnswer:
                    if time.monotonic() > deadline:
                        raise ServerDied(f"the collector did not answer within {START_S:.0f} s") from None
                    stop.wait(_POLL_S)
        return False

    # ----------------------------------------------------------------------------------------- the worker

    def _start_worker(self) -> Process:
        # Noted before it starts: views that are replaced while it ends must not be missed.
        self._started_on = self._views()
        self._close_signs()
        signs = self._signs = Signs()
        process = self._spawn("worker", "--signs", signs.theirs)
        signs.given_by(process.pid)
        return process

    def _views(self) -> str:
        """The store that is read, or why that cannot be told: the worker that is started says so then."""
        try:
            return self.home.store_name() or ""
        except (HomeRefused, OSError) as error:
            return str(error)

    def _close_signs(self) -> None:
        if self._signs is not None:
            self._signs.close()
            self._signs = None

    def _mind_worker(self) -> None:
        # One that refused to run is left alone until its views are replaced.
        if self._worker.is_left_alone and self._views() != self._started_on:
            self._worker.start_soon()
        status = self._worker.look()
        if status is None or status == REFUSED_TO_RUN:
            return
        self._worker.start_again(status, expected=status == STOPPED)
        said = self.home.worker_state()
        why = f" ({said.reason})" if said.state == "failed" else ""
        self.home.say_worker("restarting", f"it ended with status {status}{why} and starts again")


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
