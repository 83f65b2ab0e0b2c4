"""A child process is started, watched, started again later each time, and ended in time."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from feedback.processes.children import Child, Process, spawn, turns
from feedback.processes.restart import Restarts
from loopline.backoff import RetryPolicy

DOUBLING = RetryPolicy(first_s=1.0, longest_s=4.0)


class Clock:
    """Time that passes when a test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class Fake:
    """A process that ends when a test says so."""

    pid = 4711
    stdin = None

    def __init__(self) -> None:
        self.status: int | None = None

    def poll(self) -> int | None:
        """Its status."""
        return self.status


class Starts:
    """What starts processes, or fails to."""

    def __init__(self) -> None:
        self.made: list[Fake] = []
        self.fails = False

    def __call__(self) -> Process:
        if self.fails:
            raise OSError("no process is left")
        self.made.append(Fake())
        return cast(Process, self.made[-1])


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def starts() -> Starts:
    """A start that works."""
    return Starts()


def child(starts: Starts, clock: Clock, most: int | None = None) -> Child:
    """A child on that clock, with pauses of 1, 2 and 4 seconds."""
    return Child("child", starts, Restarts(most, clock, DOUBLING), clock=clock)


def test_an_end_is_told_once_and_followed_by_a_later_start(starts: Starts, clock: Clock) -> None:
    """The pause before each start doubles, and it is left alone until somebody has it started again."""
    over = child(starts, clock)
    for pause_s in (1.0, 2.0, 4.0, 4.0):
        assert over.look() is None
        assert over.runs
        starts.made[-1].status = 3
        assert (over.look(), over.look()) == (3, None)
        assert over.is_left_alone
        assert over.start_again(3)
        clock.now += pause_s - 0.01
        before = len(starts.made)
        assert over.look() is None
        assert len(starts.made) == before
        clock.now += 0.01
    assert over.look() is None
    assert len(starts.made) == 5


def test_what_cannot_be_started_is_tried_for_ever_and_later_each_time(starts: Starts, clock: Clock) -> None:
    """It is no end of a process, so nothing is given up for it."""
    over = child(starts, clock, most=1)
    starts.fails = True
    for pause_s in (1.0, 2.0, 4.0, 4.0):
        assert over.look() is None
        assert not over.is_left_alone
        clock.now += pause_s
    starts.fails = False
    assert over.look() is None
    assert over.pid == Fake.pid


def test_quick_ends_in_a_row_leave_it_alone_until_it_may_start(starts: Starts, clock: Clock) -> None:
    """The second quick end is one too many here; whoever knows better has it started all the same."""
    over = child(starts, clock, most=2)
    for goes_on in (True, False):
        over.start()
        starts.made[-1].status = 1
        assert over.look() == 1
        assert over.start_again(1) is goes_on
    clock.now += 1000
    assert over.look() is None
    assert over.is_left_alone
    over.start_soon()
    assert over.look() is None
    assert over.runs


class Silent:
    """Signs of life that stopped so long ago."""

    def __init__(self, seconds: float, any: bool) -> None:
        self.seconds = seconds
        self.any = any

    def silent_s(self, long_s: float) -> float:
        """As long as a test says."""
        return self.seconds

    def heard(self) -> None:
        """It is waited for anew."""
        self.seconds = 0.0


SLEEPS = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"]


@pytest.fixture
def started() -> Iterator[list[Process]]:
    """The processes of a test; none of them outlives it."""
    made: list[Process] = []
    yield made
    for each in made:
        each.kill()
        each.wait()


@pytest.mark.parametrize("any,silent_s,killed", [(True, 6.0, True), (True, 4.0, False), (False, 6.0, False)])
def test_a_silent_child_is_killed_and_a_new_one_has_more_time(
    started: list[Process], any: bool, silent_s: float, killed: bool
) -> None:
    """Five seconds of silence are too long for one that has given a sign, ten for one that has not."""
    signs = Silent(silent_s, any)

    def start() -> Process:
        started.append(spawn(SLEEPS, os.environ))
        return started[-1]

    over = Child("child", start, Restarts(), signs=lambda: signs, hang_after_s=5.0, first_sign_s=10.0)
    over.start()
    assert over.look() is None
    if killed:
        assert started[0].wait(20) in (-signal.SIGKILL, -signal.SIGUSR1)
        assert signs.seconds == 0.0
    else:
        assert over.runs
    over.end(0.0)
    assert over.pid == 0


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what is ignored")
def test_one_that_does_not_end_in_time_is_killed(started: list[Process]) -> None:
    """It is told to end first, and waited for; afterwards there is no process and no pipe to it."""

    def start() -> Process:
        started.append(spawn(DEAF, os.environ))
        return started[-1]

    over = Child("child", start, Restarts())
    over.start()
    deadline = time.monotonic() + 20
    while not _ignores_sigterm(started[0]) and time.monotonic() < deadline:
        time.sleep(0.02)
    over.end(0.1)
    assert started[0].returncode == -signal.SIGKILL
    assert cast(Any, started[0].stdin).closed


def _ignores_sigterm(process: Process) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    return bool(int(ignored.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def test_turns_end_when_they_are_to_stop() -> None:
    """Each turn waits before it, and none comes after `stop`."""
    stop = threading.Event()
    came = 0
    for _ in turns(stop, 0.0):
        came += 1
        if came == 3:
            stop.set()
    assert came == 3
