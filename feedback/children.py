"""Child processes: ended when it is time, killed when they do not end or give no sign of life.

Their standard input is a pipe: when it closes, a child knows that whoever started it is gone. Who starts
them, and again, is left to `feedback.supervisor` and `feedback.working`.
"""

from __future__ import annotations

import signal
import subprocess

import structlog

from feedback.watchdog import end_silent

_log = structlog.get_logger("loopline")

Child = subprocess.Popen[bytes]


def end(child: Child | None, patience_s: float) -> None:
    """Tell a child to end and wait; after `patience_s` it is killed."""
    if child is None:
        return
    if child.poll() is None:
        child.terminate()
        # One that was stopped hears nothing before it goes on.
        child.send_signal(signal.SIGCONT)
        try:
            child.wait(patience_s)
        except subprocess.TimeoutExpired:
            _log.error("a process did not end and is killed", pid=child.pid)
            child.kill()
            child.wait()
    close(child)


def kill_silent(name: str, child: Child, silent_s: float) -> None:
    """Kill a child that gives no sign of life, and say so."""
    _log.error(f"the {name} gives no sign of life and is killed", pid=child.pid, for_s=round(silent_s, 1))
    # Not waited for: one that hangs on its disk ends when that answers.
    end_silent(child.pid)


def close(child: Child) -> None:
    """Let go of the pipe to a child that has ended."""
    if child.stdin is not None:
        child.stdin.close()
