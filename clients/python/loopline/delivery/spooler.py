"""The thread that keeps the spool: it asks the disk to keep what calls wrote, and empties memory into it.

It exists so that neither the product's threads nor the sender, which may hang in a request, ever wait for the
disk. Only there with a spool.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING

from loopline.delivery.queue import BATCH_BYTES, BATCH_ITEMS, EventQueue

if TYPE_CHECKING:
    from loopline.delivery.spool import Spool

log = logging.getLogger("loopline")

_BREATH_S = 0.1


class Spooler:
    """Moves events from one queue to one spool. ``moving`` counts those that are in neither right now.

    ``sync_every_s``: a power cut loses no more than was written in that time, a killed process nothing.
    """

    def __init__(self, queue: EventQueue, spool: Spool, sync_every_s: float) -> None:
        self._queue = queue
        self._spool = spool
        self._sync_every_s = sync_every_s
        self._stopping = False
        self._idle = False
        self.moving = 0
        self.thread = threading.Thread(target=self._run, name="loopline-spooler", daemon=True)

    def stop(self) -> None:
        """End after the move under way; the caller holds the queue's lock."""
        self._stopping = True
        self._queue.overflow.notify_all()

    def look(self) -> None:
        """Something was written that will want a sync; the caller holds the queue's lock."""
        if self._idle:
            self._idle = False
            self._queue.overflow.notify_all()

    def _run(self) -> None:
        while not self._stopping:
            try:
                if not self._turn():
                    time.sleep(_BREATH_S)
            except Exception:
                log.exception("the spooler stumbled and goes on")
                time.sleep(_BREATH_S)

    def _turn(self) -> bool:
        """Wait for something to do and do it; False when the disk would not take what memory holds."""
        queue = self._queue
        due = True
        with queue.lock:
            if not len(queue):
                # What was written gets a second to be answered for: then it needs no sync.
                self._idle = not self._spool.unsynced
                queue.spooler_waits = True
                due = not queue.overflow.wait(None if self._idle else self._sync_every_s)
                queue.spooler_waits = self._idle = False
            events = queue.take(2 * BATCH_ITEMS, 2 * BATCH_BYTES)
            self.moving = len(events)
        stored = 0
        try:
            stored = self._spool.append(events) if events else 0
        finally:
            with queue.lock:
                self.moving = 0
                queue.put_back(events[stored:])
                if stored:
                    queue.work.notify()
        if due and self._spool.unsynced:
            self._spool.sync(self._sync_every_s)
        return stored == len(events)
