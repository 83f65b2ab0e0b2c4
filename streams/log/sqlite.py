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

from streams.crash_points import reached
from streams.log.port import DEAD, KnownEnds, LogIdentity, LogMissing, LogUnreadable, NotDurable
from streams.sqlite.connections import SqliteConnections, translated
from streams.sqlite.write_ahead import WriteAheadLog

__all__ = ["LogMissing", "SqliteLog", "create_log"]

_OFFSET_BITS = 40
_BUSY_S = 1.0
_SETTINGS = ("synchronous=FULL",)
# SQLite writes it back at 4 MiB; one append may be larger, and the disk gets that back.
_LONGEST_WAL_BYTES = 8 * 1024 * 1024
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

    `wal` says when the write-ahead log is cut; as suits a server when left out.

    Safe to use from several threads: each read borrows a connection, of which a few are kept, so what is
    open does not grow with the threads that come and go. Appends share the one connection that writes.
    """

    def __init__(self, path: Path, *, writable: bool = False, wal: WriteAheadLog | None = None) -> None:
        if not path.exists():
            raise LogMissing(f"there is no log at {path}")
        self._writing = threading.Lock()
        self._connections = SqliteConnections(path, "the log", busy_s=_BUSY_S, reader=_SETTINGS)
        self._writable = writable
        self._wal = wal or WriteAheadLog(path, longest_bytes=_LONGEST_WAL_BYTES)
        with translated(LogUnreadable):
            self._writer = self._connections.open(_SETTINGS, writable=writable)
            try:
                if writable:
                    self._writer.execute(f"PRAGMA journal_size_limit={_LONGEST_WAL_BYTES}")
                row = self._writer.execute("SELECT id, epoch, partitions FROM log").fetchone()
                log_id, epoch, partitions = row
                self.identity = LogIdentity(id=log_id, epoch=epoch, partitions=partitions)
                self._partitions = (*range(self.identity.partitions), DEAD)
                self._next = _ends(self._writer, self._partitions)
            except BaseException:
                self._writer.close()
                raise

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        with self._writing:
            rows, ends = [], dict(self._next)
            for partition, record in records:
                rows.append((_place(partition, ends[partition]), record))
                ends[partition] += 1
            connection = self._writer
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
            self._wal.written()
        reached("append.3")

    def ends(self) -> dict[int, int]:
        with translated(LogUnreadable), self._connections.reading() as connection:
            return _ends(connection, self._partitions)

    def known_ends(self) -> KnownEnds:
        return KnownEnds(self.ends(), 0.0)

    def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
        first, last = _place(partition, offset), _range(partition)[1]
        with translated(LogUnreadable), self._connections.reading() as connection:
            rows = connection.execute(_READ, (first, last, limit)).fetchall()
        return [record for (record,) in rows]

    def shorten(self) -> None:
        """Write the write-ahead log back where nothing was appended for a moment; for who writes."""
        if self._writable and self._wal.is_due():
            with self._writing:
                self._wal.shorten(self._writer)

    def close(self) -> None:
        self._connections.close()
        with self._writing:
            if self._writable:
                # Whoever copies the file by hand now gets all of it. A reader may be in the way; then not.
                with contextlib.suppress(sqlite3.Error):
                    self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._writer.close()


def _ends(connection: sqlite3.Connection, partitions: Sequence[int]) -> dict[int, int]:
    return {
        partition: next(
            (
                last - _place(partition, 0) + 1
                for (last,) in connection.execute(_LAST, _range(partition)).fetchall()
            ),
            0,
        )
        for partition in partitions
    }


_LAST = "SELECT place FROM blocks WHERE place BETWEEN ? AND ? ORDER BY place DESC LIMIT 1"
_READ = "SELECT record FROM blocks WHERE place BETWEEN ? AND ? ORDER BY place LIMIT ?"


def _place(partition: int, offset: int) -> int:
    """One integer for partition and offset, so that the table needs no second index."""
    return (partition - DEAD) << _OFFSET_BITS | offset


def _range(partition: int) -> tuple[int, int]:
    return _place(partition, 0), _place(partition + 1, 0) - 1
