"""What the life of a process means for what is in its memory: a fork, the end, the end of a pool's worker.

Whoever holds events asks to be looked after; how they are sent or kept is theirs to know. Ends that nobody is
told of (SIGKILL, SIGTERM without a handler, ``os._exit``) are what the spool is for: a handler of ours for
SIGTERM would run only between two steps of Python, and could keep a process alive that somebody ends.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import Any, Protocol

# What a process that ends may take to deliver its last events, in seconds.
EXIT_S = 2.0


class Holder(Protocol):
    """Something with events in memory and threads at work."""

    def after_fork(self) -> None:
        """Forget what belongs to the parent."""

    def end(self, timeout: float) -> bool:
        """Deliver what can be delivered in the time, and end: the process does."""


_holders: weakref.WeakSet[Holder] = weakref.WeakSet()


def look_after(holder: Holder) -> None:
    """Tell the holder of forks and of the end, as long as somebody uses it."""
    _holders.add(holder)


def end_with_pool() -> None:
    """In a child that ends without the interpreter's exit, use its own way to end.

    Called when a thread starts: a child of multiprocessing clears what was registered right after the fork.
    """
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _end, exitpriority=0)
    # Celery ends a child of its pool, a recycled one too, with a signal of its own and then os._exit.
    signals = sys.modules.get("celery.signals")
    if signals is not None:
        signals.worker_process_shutdown.connect(_end_of_worker, weak=False, dispatch_uid="loopline")


def _end_of_worker(**_: Any) -> None:
    _end()


def _end() -> None:
    deadline = time.monotonic() + EXIT_S
    for holder in list(_holders):
        holder.end(max(0.0, deadline - time.monotonic()))


def _fork() -> None:
    for holder in list(_holders):
        holder.after_fork()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork)
