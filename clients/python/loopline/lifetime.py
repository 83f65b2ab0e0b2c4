"""What the life of a process means for what is in its memory: a fork, the end, the end of a pool's worker.

Whoever holds events asks to be looked after; how they are sent or kept is theirs to know.
"""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from typing import Protocol

# What a process that ends may take to deliver its last events, in seconds.
EXIT_S = 2.0


class Holder(Protocol):
    """Something with events in memory and threads at work."""

    def after_fork(self) -> None:
        """Forget what belongs to the parent."""

    def stop(self, timeout: float) -> bool:
        """Deliver what can be delivered in the time, and end."""


_holders: weakref.WeakSet[Holder] = weakref.WeakSet()


def look_after(holder: Holder) -> None:
    """Tell the holder of forks and of the end, as long as somebody uses it."""
    _holders.add(holder)


def end_with_worker() -> None:
    """In a child of multiprocessing, which ends without the interpreter's exit: use its own way to end.

    Called when a thread starts, since the child clears what was registered right after the fork.
    """
    process, util = sys.modules.get("multiprocessing.process"), sys.modules.get("multiprocessing.util")
    if process is not None and util is not None and process.parent_process() is not None:
        util.Finalize(None, _end, exitpriority=0)


def _end() -> None:
    deadline = time.monotonic() + EXIT_S
    for holder in list(_holders):
        holder.stop(max(0.0, deadline - time.monotonic()))


def _fork() -> None:
    for holder in list(_holders):
        holder.after_fork()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_fork)
