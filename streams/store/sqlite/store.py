"""The embedded store: the views in one SQLite file. The worker is its only writer; others read snapshots.

What SQLite is asked is in `statements`; what rows mean is left to the fold. A projection is these
steps, and the crash tests stop the process at each of them (1 and 3 are in `streams.projection.apply`):

1. blocks are read from the log;
2. the transaction begins, and holds the positions;
3. the blocks are folded, and the changes written;
4. the positions are written;
5. the transaction is committed.

The file is not synced at every commit (`synchronous=NORMAL`): a loss of power may take the last
transactions, each with its positions, and the worker does them again from the log.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from streams.crash_points import reached
from streams.log.port import LogIdentity
from streams.sqlite.connections import SqliteConnections, translated
from streams.sqlite.write_ahead import WriteAheadLog
from streams.store.port import ANY, Applied, Range, RefusedValue, StoreExists, StoreMissing, StoreUnreadable
from streams.store.sqlite import statements
from streams.store.tables import VIEWS_VERSION, Index, Row, Table, columns_of, picking

_PAGE_BYTES = 4096
# The writer's cache holds the hot ends of all indexes. Readers are many, and have the system's cache; what
# they sort goes to the disk when it is much. During a long snapshot the write-ahead log can only grow;
# `shorten` gives the disk its room back.
_LONGEST_WAL_BYTES = 67108864
_WRITER = (
    "synchronous=NORMAL",
    "temp_store=MEMORY",
    "cache_size=-98304",
    "wal_autocheckpoint=8192",
    f"journal_size_limit={_LONGEST_WAL_BYTES}",
)
_READER = ("cache_size=-4096",)
_BUSY_S = 10.0
_FETCHED_AT_ONCE = 500
_ANEW = "The log has everything: `loopline replay` builds the views anew."

# Python looks for an adapter of every parameter but numbers and texts, and raises and catches an error
# inside where it finds none: a third of the time of an insert. These give back what they are given.
sqlite3.register_adapter(bytes, bytes)
_same_null: Callable[[None], None] = dict[None, None]().get
sqlite3.register_adapter(type(None), _same_null)


def create_store(
    path: Path, log_identity: LogIdentity, tables: Iterable[Table], views_version: int = VIEWS_VERSION
) -> None:
    """Make an empty store with these tables for the views of a log. Raises StoreExists."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)
    try:
        connection.execute(f"PRAGMA page_size={_PAGE_BYTES}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        if connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise StoreExists(f"there is a file at {path} already")
        for statement in (statements.META + "".join(map(statements.create, tables))).split(";"):
            connection.execute(statement)
        connection.execute("INSERT INTO meta VALUES (?, ?, ?, ?)", (*log_identity[:3], views_version))
        connection.execute("COMMIT")
    except sqlite3.DatabaseError as error:
        raise StoreUnreadable(f"no store can be made at {path}: {error}") from error
    finally:
        connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    """What SQLite says of a value that it cannot hold is RefusedValue, all else StoreUnreadable."""
    with translated(StoreUnreadable), _refusals():
        yield


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError) as error:
        raise RefusedValue(f"SQLite cannot hold a value: {type(error).__name__}") from error
    except sqlite3.ProgrammingError as error:
        if "binding" not in str(error):
            raise
        raise RefusedValue("SQLite cannot hold a value of this kind") from error


class SqliteSnapshot:
    """A read transaction of one connection."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._scans: set[sqlite3.Cursor] = set()

    def positions(self) -> dict[int, Applied]:
        rows = self._connection.execute('SELECT "partition", "offset", digest, received FROM positions')
        return {partition: Applied(*applied) for partition, *applied in rows}

    def get(self, table: Table, keys: Iterable[Sequence[Any]]) -> list[Row]:
        wanted = list(map(tuple, keys))
        return self._among(table, table.key[: len(wanted[0])], wanted) if wanted else []

    def find(self, table: Table, column: str, values: Iterable[Any]) -> list[Row]:
        wanted = [(value,) for value in values if value is not None]
        return self._among(table, (column,), wanted) if wanted else []

    def _among(self, table: Table, columns: tuple[str, ...], keys: list[Row]) -> list[Row]:
        execute = self._connection.execute
        rows: list[Row] = []
        for text, parameters in statements.among(table, columns, keys):
            rows += execute(text, parameters).fetchall()
        return rows

    def along(
        self,
        table: Table,
        index: Index,
        starts: Iterable[Sequence[Any]],
        *,
        fixed: int,
        limit: int,
        descending: bool = False,
    ) -> list[Row]:
        wanted = list(map(tuple, starts))
        rows: list[Row] = []
        if not wanted:
            return rows
        asked = statements.along(table, index, wanted, fixed, limit, descending=descending)
        for text, parameters in asked:
            rows += self._connection.execute(text, parameters).fetchall()
        if len(rows) > 1:
            rows.sort(key=picking(table, index.order), reverse=descending)
        return rows

    def scan(
        self,
        table: Table,
        where: Mapping[str, Any] | None = None,
        *,
        after: Sequence[Any] | None = None,
        limit: int | None = None,
    ) -> Iterator[Row]:
        asked = statements.scan(table, where or {}, after, limit)
        return iter(()) if asked is None else self._stream(*asked)

    def _stream(self, text: str, parameters: list[Any]) -> Iterator[Row]:
        cursor = self._connection.cursor()
        self._scans.add(cursor)
        try:
            cursor.execute(text, parameters)
            while rows := cursor.fetchmany(_FETCHED_AT_ONCE):
                yield from rows
        finally:
            self._scans.discard(cursor)
            cursor.close()

    def pairs(
        self,
        table: Table,
        columns: Sequence[str],
        other: Table,
        other_columns: Sequence[str],
        where: Mapping[str, Any] | None = None,
    ) -> Iterator[tuple[Any, ...]]:
        return self._stream(*statements.pairs(table, columns, other, other_columns, where or {}))

    def totals(
        self, table: Table, by: Sequence[str], where: Mapping[str, Any] | None = None
    ) -> list[tuple[Any, ...]]:
        rows = self._connection.execute(*statements.totals(table, by, where or {}))
        sums = columns_of((*by, *table.sums), table.sums)
        return [row for row in rows if any(sums(row))]

    def count(self, table: Table, where: Mapping[str, Any] | None = None, *, most: int | None = None) -> int:
        (found,) = self._connection.execute(*statements.count(table, where or {}, most)).fetchone()
        return int(found)

    def newest(
        self,
        table: Table,
        index: Index,
        value: Any,
        within: Range = ANY,
        *,
        before: Sequence[Any] | None = None,
        limit: int,
    ) -> list[Row]:
        asked = statements.newest(table, index, value, within, before, limit)
        return self._connection.execute(*asked).fetchall()

    def distinct(
        self, table: Table, column: str, within: Range = ANY, *, after: Any = None, limit: int
    ) -> list[Any]:
        rows = self._connection.execute(*statements.distinct(table, column, within, after, limit))
        return [value for (value,) in rows]

    def end(self) -> None:
        """End the scans that were left half way: each would keep the read transaction open."""
        for cursor in list(self._scans):
            cursor.close()


class SqliteTransaction(SqliteSnapshot):
    """A write transaction of the one connection that writes: nobody else does meanwhile."""

    shard = 0

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.touched: set[str] = set()
        """The names of the tables that it wrote to."""

    def lock_join_keys(self, keys: Sequence[bytes]) -> None:
        """The one writer holds everything."""

    def lock_predictions(self, pids: Sequence[bytes]) -> None:
        """The one writer holds everything."""

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        self.put(table, rows)

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        self._write(table, statements.put, rows)

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        self._write(table, statements.add, rows)

    def _write(self, table: Table, statement: Callable[[Table, int], str], rows: Sequence[Row]) -> None:
        self.touched.add(table.name)
        groups, rest = statements.grouped(rows)
        if groups:
            self._connection.executemany(statement(table, statements.GROUP), groups)
        if rest:
            self._connection.executemany(statement(table, 1), rest)

    def delete(self, table: Table, keys: Sequence[Sequence[Any]]) -> None:
        if keys:
            self.touched.add(table.name)
            self._connection.executemany(statements.delete(table), keys)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        with _translated():
            self._connection.execute("SAVEPOINT one")
            try:
                yield
            except BaseException:
                # Some errors, a full disk among them, have rolled back all of it already.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK TO one")
                    self._connection.execute("RELEASE one")
                raise
            self._connection.execute("RELEASE one")

    def advance(self, positions: Mapping[int, Applied]) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO positions VALUES (?, ?, ?, ?)",
            [(partition, *applied) for partition, applied in positions.items()],
        )


class SqliteStore:
    """The store in one SQLite file. `writable` for the one worker, else for reading only.

    `wal` says when the write-ahead log is cut; as suits a server when left out.

    Safe to use from several threads: each open snapshot has a connection of its own, and transactions
    wait for each other. A new store gets a new name: moving it onto the name of one that is open would
    mix their write-ahead logs. Raises StoreMissing or StoreUnreadable.
    """

    def __init__(self, path: Path, *, writable: bool = False, wal: WriteAheadLog | None = None) -> None:
        if not path.exists():
            raise StoreMissing(f"there is no store at {path}")
        self._path = path
        self._writing = threading.Lock()
        self._connections = SqliteConnections(path, "the store", busy_s=_BUSY_S, reader=_READER)
        self._writer: sqlite3.Connection | None = None
        self._touched: set[str] = set()
        self._wal = wal or WriteAheadLog(path, longest_bytes=_LONGEST_WAL_BYTES)
        try:
            if writable:
                self._writer = self._connections.open(_WRITER)
            with self._connections.reading() as connection:
                row = connection.execute("SELECT log, epoch, partitions, views_version FROM meta").fetchone()
        except sqlite3.DatabaseError as error:
            self.close()
            raise StoreUnreadable(
                f"the file at {path} cannot be read as a store: {error}. {_ANEW}"
            ) from error
        if row is None:
            self.close()
            raise StoreUnreadable(f"the store at {path} was not finished. {_ANEW}")
        log, epoch, partitions, views_version = row
        self.log = LogIdentity(id=log, epoch=epoch, partitions=partitions)
        self.views_version: int = views_version

    @contextmanager
    def snapshot(self) -> Iterator[SqliteSnapshot]:
        """A consistent state to read from, until the context ends."""
        with _translated(), self._connections.reading() as connection:
            connection.execute("BEGIN")
            snapshot = SqliteSnapshot(connection)
            try:
                # The state is that of the first read, not that of BEGIN.
                connection.execute("SELECT 1 FROM meta").fetchone()
                yield snapshot
            finally:
                snapshot.end()
                if connection.in_transaction:
                    connection.execute("ROLLBACK")

    @contextmanager
    def transaction(self, partitions: Iterable[int], *, alone: bool = False) -> Iterator[SqliteTransaction]:
        """Write until the context ends; an error takes all of it back. It is always alone."""
        if self._writer is None:
            raise sqlite3.OperationalError(f"the store at {self._path} was opened for reading only")
        with self._writing, _translated():
            connection = self._writer
            connection.execute("BEGIN IMMEDIATE")
            transaction = SqliteTransaction(connection)
            try:
                reached("project.2")
                yield transaction
                transaction.end()
                reached("project.4")
                connection.execute("COMMIT")
            except BaseException:
                transaction.end()
                # Some errors, a full disk among them, have rolled back already.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._touched |= transaction.touched
            self._wal.written()
        reached("project.5")

    def take_touched(self) -> set[str]:
        """The names of the tables that commits wrote to since the last time; for the one that writes."""
        touched, self._touched = self._touched, set()
        return touched

    def shorten(self) -> None:
        """Write the write-ahead log back where it rests or has grown long; for the one that writes."""
        if self._writer is not None and self._wal.is_due():
            with self._writing:
                self._wal.shorten(self._writer)

    def close(self) -> None:
        """Close every connection: now, or at the end of the snapshot or transaction that uses it."""
        self._connections.close()
        # The writer is last: it takes the write-ahead log along.
        with self._writing:
            if self._writer is not None:
                self._writer.close()
