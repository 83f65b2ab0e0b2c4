"""Hands to the product's ``on_refused`` what never got as far as the server, off the product's thread.

What the server refuses is handed over by the sender; this is for calls of which nothing can be sent. A thread
is started when there is something to hand over, and ends when that is done.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

log = logging.getLogger("loopline")

OnRefused = Callable[[dict[str, Any], dict[str, Any]], object]

MOST_WAITING = 1_000
"""A callback that does not keep up loses the oldest: each of them was logged and counted."""


def hand_over(on_refused: OnRefused, event: dict[str, Any], problem: dict[str, Any]) -> None:
    """Call back; whatever that raises is logged and stops nothing."""
    try:
        on_refused(event, problem)
    except BaseException:
        # Of any kind: this is not the thread that sys.exit() is meant for.
        log.exception("on_refused failed")


class Refusals:
    """Refused events on their way to one callback."""

    def __init__(self, on_refused: OnRefused) -> None:
        self._on_refused = on_refused
        self._begin_process()

    def _begin_process(self) -> None:
        """The state that belongs to one process; none of it survives a fork."""
        self._pid = os.getpid()
        # Re-entrant: a signal handler of the product may speak while its main thread does.
        self._lock = threading.RLock()
        self._done = threading.Condition(self._lock)
        self._waiting: deque[tuple[dict[str, Any], dict[str, Any]]] = deque(maxlen=MOST_WAITING)
        self._thread: threading.Thread | None = None

    def put(self, event: dict[str, Any], problem: dict[str, Any]) -> None:
        """Hand this over soon; returns at once."""
        if self._pid != os.getpid():
            self._begin_process()
        with self._lock:
            self._waiting.append((event, problem))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="loopline-refusals", daemon=True)
                try:
                    self._thread.start()
                except RuntimeError:
                    # Too late in the interpreter's life.
                    self._thread = None

    def wait(self, timeout: float) -> None:
        """Wait until everything is handed over, at most so many seconds."""
        if self._pid == os.getpid() and threading.current_thread() is not self._thread:
            with self._lock:
                self._done.wait_for(lambda: self._thread is None, timeout)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._thread = None
                    self._done.notify_all()
                    return
                event, problem = self._waiting.popleft()
            hand_over(self._on_refused, event, problem)
