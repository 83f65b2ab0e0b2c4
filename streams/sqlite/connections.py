"""Connections to one SQLite file: borrowed for reading, of which a few are kept, and opened for writing.

So what is open does not grow with the threads that come and go. What is read or written over them is left to
`streams.log.sqlite` and `streams.store.sqlite.store`.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

_READERS_KEPT = 8


@contextlib.contextmanager
def translated(unreadable: type[Exception]) -> Iterator[None]:
    """What SQLite says becomes an error of a port, which every caller of the port knows."""
    try:
        yield
    except sqlite3.Error as error:
        raise unreadable(f"SQLite says: {error}. `loopline doctor` looks for the reason.") from error


class SqliteConnections:
    """The connections to one file. Safe to use from several threads.

    Args:
        path: the file, which has to be there.
        name: what to call it in an error.
        busy_s: how long a connection waits for another's lock.
        reader: the PRAGMA settings of those that read.
    """

    def __init__(self, path: Path, name: str, *, busy_s: float, reader: Sequence[str] = ()) -> None:
        self._path = path
        self._name = name
        self._busy_s = busy_s
        self._reader = reader
        self._guard = threading.Lock()
        self._idle: list[sqlite3.Connection] = []
        self._closed = False

    def open(self, settings: Sequence[str], *, writable: bool = True) -> sqlite3.Connection:
        """A connection of the caller's own, with these PRAGMA settings. The caller closes it."""
        # Opened for reading only, SQLite still makes the shared-memory file that readers of a
        # write-ahead log need, so a reader can come before, beside and after a writer.
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={'rw' if writable else 'ro'}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=self._busy_s,
            cached_statements=256,
        )
        try:
            for setting in settings:
                connection.execute(f"PRAGMA {setting}")
        except BaseException:
            connection.close()
            raise
        return connection

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection to read on, until the context ends. Raises ProgrammingError after `close`."""
        with self._guard:
            if self._closed:
                raise sqlite3.ProgrammingError(f"{self._name} at {self._path} was closed")
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = self.open(self._reader, writable=False)
        try:
            yield connection
        finally:
            self._give_back(connection)

    def _give_back(self, connection: sqlite3.Connection) -> None:
        with self._guard:
            if not self._closed and len(self._idle) < _READERS_KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close those that were lent: now, or when they are given back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
