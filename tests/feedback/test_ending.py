"""A process that was told to end does so in time, whatever it waits for, and sooner when it can."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

PROGRAM = """
import os, signal, sys, time
from feedback.processes.ending import end_after_signal
signal.signal(signal.SIGTERM, lambda *_: None)
signal.signal(signal.SIGINT, lambda *_: sys.exit(5))
say = lambda: print("it ends", flush=True)
end_after_signal((signal.SIGTERM, signal.SIGINT), say, within_s=1.0, status=7)
print("runs", flush=True)
while True:
    time.sleep(60)
"""


def ended_by(number: int) -> tuple[int, float, str]:
    """The exit status of the program, how long its end took, and what it said of it."""
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "runs\n"
        # What it was not told to end by is no sign.
        os.kill(process.pid, signal.SIGCONT)
        time.sleep(0.2)
        since = time.monotonic()
        process.send_signal(number)
        said, _ = process.communicate(timeout=30)
        return process.returncode, time.monotonic() - since, said


@pytest.mark.parametrize("number, status, said", [(signal.SIGTERM, 7, "it ends\n"), (signal.SIGINT, 5, "")])
def test_who_does_not_end_by_itself_is_ended(number: int, status: int, said: str) -> None:
    """After the time it has, with a word and the status that was named; who ends by itself has its own."""
    ended = ended_by(number)
    assert (ended[0], ended[2]) == (status, said)
    assert (ended[1] >= 1.0) == (status == 7)
