"""A child process: started, watched by turns, started again later each time, and ended in time.

Its standard input is a pipe: when it closes, the child knows that whoever started it is gone. What a status
means, and what a child is started with, is left to who has it: `feedback.processes.supervisor`,
`feedback.processes.cluster_worker`.
"""

from __future__ import annotations

import math
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from feedback.processes.restart import Restarts
from feedback.processes.watchdog import LOOK_S, START_S, SignsOfLife, end_silent, tell_manager

_log = structlog.get_logger("loopline")

Process = subprocess.Popen[bytes]


def spawn(command: Sequence[str], environment: Mapping[str, str], descriptors: Sequence[int] = ()) -> Process:
    """Start a process that knows when this one is gone, and has these descriptors. Raises OSError."""
    # In a group of its own, Ctrl-C does not reach it: this process ends its children in order.
    return subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=2,
        env=environment,
        pass_fds=descriptors,
        process_group=0,
    )


class Child:
    """One child process, kept running by `look`, which is called every so often.

    Args:
        name: as log lines call it.
        start: starts it, or raises OSError.
        restarts: counts its ends, and gives the pauses before the next start.
        signs: by what it is seen to live, if by anything now.
        hang_after_s: after so long without a sign of life it is killed; one that has just been started has
            `first_sign_s` at least.
        clock: monotonic, in seconds.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Process],
        restarts: Restarts,
        *,
        signs: Callable[[], SignsOfLife | None] = lambda: None,
        hang_after_s: float = math.inf,
        first_sign_s: float = START_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.restarts = restarts
        self._name = name
        self._start = start
        self._signs = signs
        self._hang_after_s, self._first_sign_s = hang_after_s, first_sign_s
        self._clock = clock
        self._process: Process | None = None
        self._due = -math.inf

    @property
    def pid(self) -> int:
        """Its process; 0 while there is none."""
        return 0 if self._process is None else self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it is there; `look` tells of its end."""
        return self._process is not None and self._process.poll() is None

    @property
    def is_left_alone(self) -> bool:
        """Whether it has ended, and nobody said yet that it is to start again."""
        return self._process is None and self._due == math.inf

    def start(self) -> None:
        """Start it now. Raises OSError, as where a machine has no process or descriptor left."""
        self._process = self._start()
        self.restarts.started()

    def look(self) -> int | None:
        """Start it when that is due, kill it when it is silent. Gives its status, once, when it has ended.

        What keeps it from being started at all passes, and is tried for ever, later each time.
        """
        if self._process is None:
            if self._clock() >= self._due:
                self._try_to_start()
            return None
        status = self._process.poll()
        if status is None:
            self._kill_when_silent(self._process)
            return None
        self._let_go()
        return status

    def start_again(self, status: int, *, expected: bool = False) -> bool:
        """Have it started again, later each time it did not last.

        False says that it ended too often in a row: it is left alone then. `expected`: nothing went wrong.
        """
        pause_s = self.restarts.ended()
        if self.restarts.given_up:
            return False
        self._due = self._clock() + pause_s
        say = _log.info if expected else _log.warning
        say(f"the {self._name} ended", status=status, starts_again_in_s=pause_s, changed=True)
        return True

    def start_soon(self) -> None:
        """Have it started at the next look."""
        self._due = -math.inf

    def end(self, patience_s: float) -> None:
        """Tell it to end, and wait; after `patience_s` it is killed."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.terminate()
            # One that was stopped hears nothing before it goes on.
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                _log.error("a process did not end and is killed", pid=process.pid)
                process.kill()
                process.wait()
        self._let_go()

    def _try_to_start(self) -> None:
        try:
            self.start()
        except OSError as error:
            pause_s = self.restarts.failed()
            self._due = self._clock() + pause_s
            _log.warning(
                f"the {self._name} cannot be started",
                reason=str(error),
                tries_again_in_s=pause_s,
                changed=True,
            )

    def _kill_when_silent(self, process: Process) -> None:
        signs = self._signs()
        if signs is None:
            return
        long_s = self._hang_after_s if signs.any else max(self._hang_after_s, self._first_sign_s)
        silent_s = signs.silent_s(long_s)
        if silent_s < long_s:
            return
        signs.heard()
        _log.error(
            f"the {self._name} gives no sign of life and is killed",
            pid=process.pid,
            for_s=round(silent_s, 1),
        )
        # Not waited for: one that hangs on its disk ends when that answers.
        end_silent(process.pid)

    def _let_go(self) -> None:
        process, self._process = self._process, None
        self._due = math.inf
        if process is not None and process.stdin is not None:
            process.stdin.close()


def turns(stop: threading.Event, every_s: float) -> Iterator[None]:
    """The turns of who watches children, until `stop` is set; the service manager hears that they go on."""
    told = -math.inf
    while not stop.wait(every_s):
        if (now := time.monotonic()) - told >= LOOK_S:
            told = now
            tell_manager("WATCHDOG=1")
        yield
