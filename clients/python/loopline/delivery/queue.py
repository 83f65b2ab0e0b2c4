"""The queue in memory between the product and the sender, and the counts of everything that passed.

The product's thread only takes one short lock here: no disk, no network, no waiting. Beyond ``most`` events
or ``most_bytes`` the newest is dropped and counted. Where there is a spool, only what the disk would not take
comes here.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from enum import Enum

# One request carries at most so many events and bytes (the server takes twice that).
BATCH_ITEMS = 500
BATCH_BYTES = 512 * 1024


class Fate(Enum):
    """What became of an event that was given to be sent: exactly one of these."""

    KEPT = "kept"
    #: Kept and to be sent, but the disk, which the call was to wait for, has not said that it has it.
    UNSYNCED = "unsynced"
    DROPPED = "dropped"


class EventQueue:
    """Events waiting in memory, in order, each as the bytes that go over the wire."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self.closed = False
        self.start_over()

    def start_over(self) -> None:
        """Empty, with new locks: what a forked child does, whose parent sends what was here."""
        # Re-entrant: a signal handler of the product may speak while its main thread does.
        self.lock = threading.RLock()
        self.work = threading.Condition(self.lock)
        self.overflow = threading.Condition(self.lock)
        self.settled = threading.Condition(self.lock)
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        # Set by the two consumers while they wait, so that the product wakes them only then.
        self.sender_waits = False
        self.spooler_waits = False
        self.away = False
        self.dropped = 0
        self.unsynced = 0
        self.accepted = 0
        self.refused = 0
        self.invalid = 0
        self.requests = 0
        self.failures = 0
        self.foreign = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, event: bytes) -> bool:
        """Queue one event, or count it as dropped and return False."""
        with self.lock:
            count = len(self._queue)
            size = self._bytes + len(event)
            if count >= self._most or size > self._most_bytes or self.closed:
                self.dropped += 1
                return False
            self._queue.append(event)
            self._bytes = size
            if self.sender_waits or count + 1 == BATCH_ITEMS:
                self.sender_waits = False
                self.work.notify()
            if self.spooler_waits:
                self.spooler_waits = False
                self.overflow.notify()
        return True

    def count_unsynced(self) -> None:
        """Count one event that is kept, and not on the disk when its call returns."""
        with self.lock:
            self.unsynced += 1

    def wake(self) -> None:
        """Tell a sender that waits for events that there is one, in the spool."""
        with self.lock:
            self.sender_waits = False
            self.work.notify()

    def take(
        self, most: int = BATCH_ITEMS, most_bytes: int = BATCH_BYTES, *, at_least: int = 1
    ) -> list[bytes]:
        """The oldest events that fit one request, ``at_least`` so many; the caller holds the lock."""
        taken: list[bytes] = []
        size = 0
        while self._queue and len(taken) < most:
            size += len(self._queue[0]) + 1
            if len(taken) >= at_least and size > most_bytes:
                break
            event = self._queue.popleft()
            self._bytes -= len(event)
            taken.append(event)
        return taken

    def put_back(self, events: Sequence[bytes]) -> None:
        """Return events to the front, whatever the limits say; the caller holds the lock."""
        self._queue.extendleft(reversed(events))
        self._bytes += sum(map(len, events))
