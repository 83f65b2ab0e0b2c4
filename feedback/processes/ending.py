"""A process that was told to end does so within seconds, whatever its threads wait for.

A call into a library may wait for a service that hangs, for minutes, and hear of no signal meanwhile: name
look-ups, object stores, a lock in a database. What was acknowledged is in the log, and what was not counts
as never done, so nothing is lost by an end in the middle of it.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable

END_S = 7.0
"""How long ending may take: service managers and containers give ten seconds."""

_SAY_S = 0.5
_kept: list[socket.socket] = []


def end_after_signal(
    numbers: Iterable[int], say: Callable[[], None], *, within_s: float = END_S, status: int = 0
) -> None:
    """End this process so long after the first of these signals, should it still be there.

    What else is done about the signals stays as it is. To be called on the main thread.

    Args:
        say: told before that; what it says may be lost where nobody reads.
        status: the exit status then.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    _kept[:] = ours, theirs
    # The interpreter writes there by itself, also while no thread comes to run Python.
    signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    heard = set(numbers)

    def watch() -> None:
        while not heard.intersection(ours.recv(64)):
            pass
        time.sleep(within_s)
        saying = threading.Thread(target=say, daemon=True)
        saying.start()
        saying.join(_SAY_S)
        os._exit(status)

    threading.Thread(target=watch, name="end", daemon=True).start()
