"""Keeping SQLite's write-ahead log short: when it is written back whole, and the disk gets its room.

SQLite writes it back by itself at so many pages, but never cuts the file, and starts it anew only in a moment
without readers: one that always has some would let it grow for good. So whoever writes a database asks here
now and then. Written back is

- what lies there when nothing was written for a second, if no reader is in the way;
- what has grown too long, waiting for a while for the readers that are there to end. Those that come
  meanwhile read the database itself, and are not in the way.

A reader that stays longer than that puts it off, until the next try.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

_IDLE_S = 1.0
_AGAIN_S = 5.0
_WAIT_S = 0.5


class WriteAheadLog:
    """The write-ahead log of one database, as its one writer sees it.

    Args:
        database: the database's file.
        longest_bytes: how long it may be while there is no pause in the writing.
        clock: monotonic, in seconds.
    """

    def __init__(
        self, database: Path, *, longest_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = database.with_name(f"{database.name}-wal")
        self._longest_bytes = longest_bytes
        self._clock = clock
        self._written_at = self._looked_at = clock()

    def bytes(self) -> int:
        """The length of the file."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def written(self) -> None:
        """Something was committed just now."""
        self._written_at = self._clock()

    def is_due(self) -> bool:
        """Whether `shorten` would do something now. Cheap: it looks at the file once a second."""
        now = self._clock()
        since = now - self._looked_at
        if since < _IDLE_S:
            return False
        if self._idle(now) or since >= _AGAIN_S:
            self._looked_at = now
            size = self.bytes()
            return size > (0 if self._idle(now) else self._longest_bytes)
        return False

    def _idle(self, now: float) -> bool:
        return now - self._written_at >= _IDLE_S

    def shorten(self, connection: sqlite3.Connection) -> bool:
        """Write it back and cut it; whether that was possible. On the connection that writes."""
        wait_s = 0.0 if self._idle(self._clock()) else _WAIT_S
        ((before_ms,),) = connection.execute("PRAGMA busy_timeout").fetchall()
        try:
            connection.execute(f"PRAGMA busy_timeout={int(wait_s * 1000)}")
            # A disk without room, or a lock: the next write says so, if it is to be said.
            with contextlib.suppress(sqlite3.OperationalError):
                ((in_the_way, _, _),) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                return not in_the_way
            return False
        finally:
            connection.execute(f"PRAGMA busy_timeout={before_ms}")
