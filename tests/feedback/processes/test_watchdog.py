"""Who gives no sign of life is found, who works long or slept is not; and pauses between starts grow."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from feedback.processes.restart import RETRY, Restarts
from feedback.processes.watchdog import HealthLooks, Signs, Silence, cpu_s, sign, tell_manager


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_counted_from_the_last_sign() -> None:
    """Second by second, and anew after each sign."""
    clock = Clock()
    silence = Silence(clock)
    for second in range(1, 20):
        clock.now += 1
        assert silence.seconds() == second
    silence.heard()
    clock.now += 2
    assert silence.seconds() == 2


def test_time_in_which_nobody_watched_is_not_held_against_anybody() -> None:
    """A machine that slept for an hour wakes up to ten seconds of silence."""
    clock = Clock()
    silence = Silence(clock)
    clock.now += 3600
    assert silence.seconds() == 10


def test_pauses_double_up_to_the_longest_and_begin_anew_after_a_steady_run() -> None:
    """Thirty seconds are steady."""
    clock = Clock()
    restarts = Restarts(clock=clock)
    pauses = []
    for _ in range(9):
        restarts.started()
        clock.now += 29
        pauses.append(restarts.ended())
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, RETRY.longest_s, RETRY.longest_s]
    restarts.started()
    clock.now += 31
    assert restarts.ended() == 0.1
    assert not restarts.given_up


def test_quick_ends_in_a_row_are_given_up() -> None:
    """A steady run in between begins the count anew; without a number it goes on for ever."""
    clock = Clock()
    restarts = Restarts(most=3, clock=clock)
    given_up = []
    for ran_s in (1, 1, 31, 1, 1):
        restarts.started()
        clock.now += ran_s
        restarts.ended()
        given_up.append(restarts.given_up)
    assert given_up == [False, False, False, False, True]


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that does nothing until it reads a line, and then computes."""
    code = "input()\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not say what CPU is used")
def test_a_child_that_says_nothing_is_silent_unless_it_computes(child: subprocess.Popen[bytes]) -> None:
    """Long work is left to itself; a sign begins the count anew."""
    clock = Clock()
    signs = Signs(clock)
    theirs = os.dup(signs.theirs)
    try:
        signs.given_by(child.pid)
        used = cpu_s(child.pid)
        for second in range(1, 6):
            clock.now += 1
            assert signs.silent_s(100) == second
        sign(theirs)
        assert signs.silent_s(100) == 0
        # It has come to where it waits, and uses nothing.
        used = -1.0
        while used != (used := cpu_s(child.pid)):
            time.sleep(0.3)
        signs.heard()
        clock.now += 9
        assert signs.silent_s(5) == 9
        assert child.stdin is not None
        child.stdin.write(b"\n")
        child.stdin.flush()
        deadline = time.monotonic() + 20
        while (cpu_s(child.pid) or 0) < (used or 0) + 0.3 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert signs.silent_s(5) == 0
    finally:
        os.close(theirs)
        signs.close()


def test_signs_that_nobody_reads_hold_nobody_up() -> None:
    """Neither a pipe that is full, nor one whose other end is gone, nor none at all."""
    signs = Signs()
    theirs = os.dup(signs.theirs)
    signs.given_by(os.getpid())
    for _ in range(70_000):
        sign(theirs)
    assert signs.silent_s(100) < 100
    signs.close()
    sign(theirs)
    os.close(theirs)
    sign(-1)


class _Server(http.server.BaseHTTPRequestHandler):
    status = 503

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


def test_any_answer_is_a_sign_and_none_is_silence() -> None:
    """A server that is busy answers 503; one that takes no connection, or says nothing, does not answer."""
    with http.server.HTTPServer(("127.0.0.1", 0), _Server) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        assert _answers(url) == [True, True]
        assert _answers(url, well=lambda status: status == 200) == [False, False]
        server.shutdown()
    assert _answers(url) == [False, False]
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert _answers(f"http://127.0.0.1:{mute.getsockname()[1]}", answer_s=0.2) == [False, False]


def _answers(
    url: str, well: Callable[[int], bool] = lambda status: True, answer_s: float = 5.0
) -> list[bool]:
    """What came of two looks."""
    answers: list[bool] = []
    both = threading.Event()

    def note(answered: bool) -> None:
        answers.append(answered)
        if len(answers) >= 2:
            both.set()

    looks = HealthLooks(url, well, then=note, every_s=0.01, answer_s=answer_s)
    assert both.wait(20)
    looks.close()
    return answers[:2]


def test_a_look_that_is_under_way_at_the_end_is_not_told_of() -> None:
    """Whoever ends tells the service manager that it does, and nothing after it."""
    asked, go_on = threading.Event(), threading.Event()
    told: list[bool] = []

    class Slow(_Server):
        def do_GET(self) -> None:
            asked.set()
            go_on.wait(4)
            super().do_GET()

    before = set(threading.enumerate())
    with http.server.HTTPServer(("127.0.0.1", 0), Slow) as server:
        looks = HealthLooks(f"http://127.0.0.1:{server.server_address[1]}", then=told.append, every_s=0.01)
        (looking,) = set(threading.enumerate()) - before
        answering = threading.Thread(target=server.handle_request)
        answering.start()
        assert asked.wait(20)
        looks.close()
        go_on.set()
        answering.join(20)
        looking.join(20)
        assert not looking.is_alive()
    assert told == []


def test_a_pipe_that_no_child_was_given_is_let_go_of() -> None:
    """Both its ends: a child that could not be started costs no descriptor."""
    signs = Signs()
    theirs = signs.theirs
    signs.close()
    with pytest.raises(OSError):
        os.fstat(theirs)


def test_what_cannot_be_started_is_tried_for_ever() -> None:
    """Each time later; a start begins the count anew, and nothing is given up for it."""
    restarts = Restarts(most=1)
    assert [restarts.failed() for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, RETRY.longest_s]
    assert not restarts.given_up
    restarts.started()
    assert restarts.failed() == 0.1


def test_the_service_manager_is_told_where_it_listens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the socket that it names; without one, or when that is gone, nothing happens."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_manager("READY=1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        tell_manager("READY=1", "STATUS=x")
        assert manager.recv(100) == b"READY=1\nSTATUS=x"
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    tell_manager("READY=1")


_WATCHED = """
import ctypes, http.server, threading, time
from feedback.processes import watchdog

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass

watchdog.LOOK_S, watchdog._ANSWER_S = 0.05, 1.0
server = http.server.HTTPServer(("127.0.0.1", 0), Answers)
threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
with watchdog.ends_when_silent(f"http://127.0.0.1:{server.server_address[1]}", 3.0):
    time.sleep(4)
    print("well", flush=True)
    HANGS
print("ended", flush=True)
"""


@pytest.mark.parametrize(
    "hangs,status,said",
    [
        ("pass", 0, "well\nended\n"),
        ("server.shutdown(); time.sleep(60)", 1, "well\n"),
        # It keeps the interpreter to itself: no thread of Python's runs meanwhile.
        ("ctypes.PyDLL(None).sleep(60)", 1, "well\n"),
    ],
    ids=["well", "no answer", "nobody else runs"],
)
def test_a_process_that_does_not_answer_itself_ends(hangs: str, status: int, said: str) -> None:
    """With status 1, and with what its threads do on standard error; one that answers goes on."""
    done = subprocess.run(
        [sys.executable, "-c", _WATCHED.replace("HANGS", hangs)],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        cwd=Path(__file__).parents[3],
    )
    assert done.returncode == status, done.stderr
    assert done.stdout.startswith(said)
    assert ("Thread 0x" in done.stderr) == bool(status)
