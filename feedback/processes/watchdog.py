"""Whether a process still does its work: what it answers, what it says by itself, and what CPU it uses.

A process that is there and does nothing, because it was stopped, waits for itself, or has no descriptors
left, is ended by whoever started it, or by itself. Here is how that is noticed; who ends it and who starts it
again is left to `supervisor`, `working` and `collecting`.

Silence is counted in the watcher's own time: while that did not run either, as on a machine that slept,
nobody is blamed.
"""

from __future__ import annotations

import contextlib
import faulthandler
import http.client
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import structlog

from streams.daemon_pool import start_daemon

LOOK_S = 1.0
START_S = 30.0
"""What a process that was just started has to give its first sign, at least."""
HUNG = 1
ANSWER_S = 5.0
_AT_ONCE_S = 2 * ANSWER_S
_LEAST_CPU = 0.01
"""Of the time in which it says nothing, a process that works uses this much of a CPU at least."""

_log = structlog.get_logger("loopline")


class Silence:
    """For how long nothing was heard of somebody.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._asked = clock()
        self._seconds = 0.0

    def heard(self) -> None:
        """There was a sign of life."""
        with self._guard:
            self._asked, self._seconds = self._clock(), 0.0

    def seconds(self) -> float:
        """How long there was none. To be asked every few seconds: longer gaps count as `_AT_ONCE_S`."""
        with self._guard:
            now = self._clock()
            self._seconds += min(now - self._asked, _AT_ONCE_S)
            self._asked = now
            return self._seconds


class SignsOfLife(Protocol):
    """What tells that a child still does its work."""

    @property
    def any(self) -> bool:
        """Whether there was a sign at all since it was started: until then it has more time."""
        ...

    def silent_s(self, long_s: float) -> float:
        """For how long there was none; `long_s` says how long is too long."""
        ...

    def heard(self) -> None:
        """There was one, or it is to be waited for anew."""
        ...


class HealthLooks:
    """Asks a server for `/healthz` each second, on a thread that lasts until `close`.

    Each look is a connection of its own: a server that cannot take one is not well. What it answers does not
    matter, unless `well` says so by the status: busy is not dead.

    Args:
        url: of the server.
        well: whether this status is an answer.
        then: told after each look whether it was answered.
        every_s: between two looks; `answer_s`: how long an answer may take.
    """

    def __init__(
        self,
        url: str,
        well: Callable[[int], bool] = lambda status: True,
        then: Callable[[bool], None] = lambda answered: None,
        *,
        every_s: float = LOOK_S,
        answer_s: float = ANSWER_S,
    ) -> None:
        self._every_s, self._answer_s = every_s, answer_s
        address = urlsplit(url)
        self._host, self._port = address.hostname or "", address.port
        self._well = well
        self._then = then
        self.silence = Silence()
        self.any = False
        """Whether it has answered since `begin`: one that starts is given more time."""
        self._over = threading.Event()
        self._telling = threading.Lock()
        start_daemon("health looks", self._run)

    def begin(self) -> None:
        """It was started anew."""
        self.any = False
        self.heard()

    def silent_s(self, long_s: float) -> float:
        """For how long it has not answered."""
        return self.silence.seconds()

    def heard(self) -> None:
        """It has answered, or is to be waited for anew."""
        self.silence.heard()

    def close(self) -> None:
        """Look no more: a look that is under way is not told of any more.

        One that is being told of just now is waited for, unless that hangs.
        """
        self._over.set()
        if self._telling.acquire(timeout=self._answer_s):
            self._telling.release()

    def _run(self) -> None:
        while not self._over.wait(self._every_s):
            answered = self._look()
            if answered:
                self.any = True
                self.heard()
            with self._telling, contextlib.suppress(Exception):
                if not self._over.is_set():
                    self._then(answered)

    def _look(self) -> bool:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=self._answer_s)
        try:
            connection.request("GET", "/healthz", headers={"Connection": "close"})
            return self._well(connection.getresponse().status)
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


class Signs:
    """The signs of life that a child gives by itself, on a pipe: a byte for each turn of its work.

    One that gives none but uses its CPU is at a long piece of work, and is left to it; where the system does
    not say what a process uses, nobody is found silent.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ours, self.theirs = os.pipe()
        os.set_blocking(self._ours, False)
        os.set_blocking(self.theirs, False)
        self._silence = Silence(clock)
        self._pid = 0
        self.any = False
        """Whether there was one at all: a child that starts is given more time."""
        self._cpu_s: float | None = None

    def given_by(self, pid: int) -> None:
        """The child has its end, `theirs`; this process lets go of that."""
        self._let_go()
        self._pid = pid
        self.heard()

    def silent_s(self, long_s: float) -> float:
        """For how long it has given none; after `long_s` it is looked at what CPU it used meanwhile."""
        with contextlib.suppress(BlockingIOError):
            if os.read(self._ours, 65536):
                self.any = True
                self.heard()
        seconds = self._silence.seconds()
        if seconds >= long_s:
            now = cpu_s(self._pid)
            if now is None or self._cpu_s is None or now - self._cpu_s >= seconds * _LEAST_CPU:
                self.heard()
                return 0.0
        return seconds

    def heard(self) -> None:
        """There was one, or it is to be waited for anew."""
        self._silence.heard()
        self._cpu_s = cpu_s(self._pid)

    def close(self) -> None:
        """Let go of the pipe, also when no child was given its end."""
        os.close(self._ours)
        self._let_go()

    def _let_go(self) -> None:
        if self.theirs >= 0:
            os.close(self.theirs)
            self.theirs = -1


def sign(descriptor: int) -> None:
    """Give a sign of life. Nobody waits for whoever does not listen."""
    if descriptor >= 0:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(descriptor, b".")


def cpu_s(pid: int) -> float | None:
    """The seconds of CPU that a process has used; None where the system does not say."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ------------------------------------------------------------------------------------- ending and telling


def show_stacks_on_request() -> None:
    """Have SIGUSR1 write what each thread does, by file and line, to standard error."""
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def end_silent(pid: int) -> None:
    """End a child that gives no sign of life; first it is asked what its threads do.

    Nothing that was acknowledged is lost by it.
    """
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGUSR1)
        time.sleep(0.2)
        os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def ends_when_silent(url: str, hang_after_s: float) -> Iterator[None]:
    """End this process when its own server does not answer for so long; whoever started it starts another.

    A thread asks, and tells the service manager each time that it was answered. Should even that not come to
    its turn, because one thread keeps all others from running, the process ends after four times as long.
    """
    told = False

    def then(answered: bool) -> None:
        nonlocal told
        if answered:
            tell_manager("WATCHDOG=1" if told else "READY=1")
            told = True
        long_s = hang_after_s if told else max(hang_after_s, START_S)
        silent_s = looks.silence.seconds()
        if silent_s >= long_s:
            try:
                _log.error("this process does not answer and ends", for_s=round(silent_s, 1))
                faulthandler.dump_traceback(all_threads=True)
            finally:
                # Also when nobody reads what is said.
                os._exit(HUNG)
        faulthandler.dump_traceback_later(4 * long_s, exit=True)

    if not math.isfinite(hang_after_s):
        yield
        return
    looks = HealthLooks(url, then=then)
    try:
        yield
    finally:
        looks.close()
        faulthandler.cancel_dump_traceback_later()
        tell_manager("STOPPING=1")


def tell_manager(*lines: str) -> None:
    """Tell systemd, where it has started this process and wants to hear: `READY=1`, `WATCHDOG=1`."""
    named = os.environ.get("NOTIFY_SOCKET", "")
    if not named.startswith(("/", "@")):
        return
    address = "\0" + named[1:] if named.startswith("@") else named
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.setblocking(False)
        manager.sendto("\n".join(lines).encode(), address)
