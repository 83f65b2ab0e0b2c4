"""The embedded log: one SQLite file, write-ahead log, synced in full before an append returns.

The collector is its only writer; workers and pages open it read-only. An append is these steps, and
the crash tests stop the process at each of them:

1. the transaction begins;
2. the records are inserted;
3. the transaction is committed, which syncs the file: only now is the append durable.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

from streams.log.port import DEAD, LogIdentity, LogMissing, NotDurable
from streams.sentinels import reached

__all__ = ["LogMissing", "SqliteLog", "create_log"]

_OFFSET_BITS = 40
_SCHEMA = """
CREATE TABLE log (id TEXT NOT NULL, epoch INTEGER NOT NULL, partitions INTEGER NOT NULL);
CREATE TABLE blocks (place INTEGER PRIMARY KEY, record BLOB NOT NULL);
"""


def create_log(path: Path, partitions: int) -> LogIdentity:
    """Make an empty log with a new identity. The number of partitions is fixed from here on."""
    identity = LogIdentity(str(uuid.uuid4()), 1, partitions)
    connection = sqlite3.connect(path, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript("BEGIN;" + _SCHEMA)
        connection.execute("INSERT INTO log VALUES (?, ?, ?)", identity[:3])
        connection.execute("COMMIT")
    finally:
        connection.close()
    return identity


class SqliteLog:
    """The log in one SQLite file. `writable` for the one collector, else for reading only.

    Safe to use from several threads: each thread reads on a connection of its own.
    """

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        if not path.exists():
            raise LogMissing(f"there is no log at {path}")
        self._path = path
        self._writable = writable
        self._threads = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._guard = threading.Lock()
        row = self._connection().execute("SELECT id, epoch, partitions FROM log").fetchone()
        self.identity = LogIdentity(*row)
        self._partitions = (*range(self.identity.partitions), DEAD)
        self._next = self.ends()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._threads, "connection", None)
        if connection is None:
            mode = "rw" if self._writable else "ro"
            connection = sqlite3.connect(
                f"{self._path.absolute().as_uri()}?mode={mode}",
                uri=True,
                isolation_level=None,
                check_same_thread=False,
                timeout=1.0,
            )
            connection.execute("PRAGMA synchronous=FULL")
            self._threads.connection = connection
            with self._guard:
                self._connections.append(connection)
        return connection

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        rows, ends = [], dict(self._next)
        for partition, record in records:
            rows.append((_place(partition, ends[partition]), record))
            ends[partition] += 1
        connection = self._connection()
        try:
            reached("append.1")
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT INTO blocks VALUES (?, ?)", rows)
            reached("append.2")
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            self._next = self.ends()
            raise NotDurable(f"the log cannot be written: {error}") from error
        self._next = ends
        reached("append.3")

    def ends(self) -> dict[int, int]:
        connection = self._connection()
        return {
            partition: (
                row[0] - _place(partition, 0) + 1
                if (row := connection.execute(_LAST, _range(partition)).fetchone())
                else 0
            )
            for partition in self._partitions
        }

    def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
        first, last = _place(partition, offset), _range(partition)[1]
        rows = self._connection().execute(_READ, (first, last, limit)).fetchall()
        return [record for (record,) in rows]

    def close(self) -> None:
        with self._guard:
            if self._writable and self._connections:
                # Whoever copies the file by hand now gets all of it. A reader may be in the way; then not.
                with contextlib.suppress(sqlite3.Error):
                    self._connections[0].execute("PRAGMA wal_checkpoint(TRUNCATE)")
            for connection in self._connections:
                connection.close()
            self._connections.clear()


_LAST = "SELECT place FROM blocks WHERE place BETWEEN ? AND ? ORDER BY place DESC LIMIT 1"
_READ = "SELECT record FROM blocks WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?"


def _place(partition: int, offset: int) -> int:
    """One integer for partition and offset, so that the table needs no second index."""
    return (partition - DEAD) << _OFFSET_BITS | offset


def _range(partition: int) -> tuple[int, int]:
    return _place(partition, 0), _place(partition + 1, 0) - 1
