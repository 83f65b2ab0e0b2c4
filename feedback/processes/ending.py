"""A process that was told to end does so within seconds, whatever its threads wait for.

A call into a library may wait for a service that hangs, for minutes, and hear of no signal meanwhile: name
look-ups, object stores, a lock in a database. What was acknowledged is in the log, and what was not counts
as never done, so nothing is lost by an end in the middle of it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator

from streams.daemon_pool import start_daemon

END_S = 7.0
"""How long a server's end may take: service managers and containers give ten seconds."""

_SAY_S = 0.5
_kept: list[socket.socket] = []


@contextlib.contextmanager
def ends_after_signal(
    numbers: Iterable[int],
    say: Callable[[], None],
    *,
    within_s: float = END_S,
    status: Callable[[], int] = lambda: 0,
) -> Iterator[Callable[[int], None]]:
    """End this process so long after the first of these signals, should it still be there.

    That holds for signals that come until the context ends; one that has come is held to. What else is done
    about them stays as it is. On another thread than the main one it does nothing.

    Gives what is to be told of a signal by whoever runs an event loop on the main thread: while one runs, the
    interpreter tells the loop of signals, and nobody else.

    Args:
        say: told before that; what it says may be lost where nobody reads.
        status: gives the exit status then.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda number: None
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    heard, wanted = threading.Event(), set(numbers)

    def watch() -> None:
        while come := ours.recv(64):
            if not wanted.intersection(come):
                continue
            heard.set()
            time.sleep(within_s)
            start_daemon("say", say).join(_SAY_S)
            os._exit(status())
        ours.close()

    def hear(number: int) -> None:
        with contextlib.suppress(OSError):
            theirs.send(bytes([number]))

    # The interpreter writes there by itself, also while no thread comes to run Python.
    before = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
    start_daemon("end", watch)
    try:
        yield hear
    except KeyboardInterrupt:
        heard.wait(_SAY_S)
        raise
    finally:
        if heard.is_set():
            # Ending is what may take long, too.
            _kept.append(theirs)
        else:
            signal.set_wakeup_fd(before)
            theirs.close()
