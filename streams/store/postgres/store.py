"""One store in PostgreSQL: snapshots for readers, and transactions of several workers at the same time.

What is asked is in `statements`; which store is current is the catalogue's. A projection is these steps,
and the crash tests stop the process at each of them (1 and 3 are in `streams.projection.apply`):

1. blocks are read from the log;
2. the transaction begins: it locks the rows of its positions, in order, so that a worker that lost a
   partition and the one that got it follow each other; then it shares the lock on declaring, or takes it
   alone;
3. the blocks are folded, and the changes written: join keys are locked first (`lock_join_keys`), then
   predictions (`lock_predictions`), each kind in the order of its keys, so that workers wait for each other
   and never in a ring;
4. the positions are written;
5. the transaction is committed.

Each statement sees what was committed before it began (READ COMMITTED), so what is read after a lock was
waited for is what the one before wrote. A snapshot is one state for all its statements.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from psycopg.pq import TransactionStatus

from streams.clocks import ClockWatch
from streams.crash_points import reached
from streams.log.port import LogIdentity
from streams.store.port import Applied, StoreReplaced
from streams.store.postgres import statements
from streams.store.postgres.arrays import PACKERS
from streams.store.postgres.connections import CLOCK, POSTGRESQL, Connection, Connections
from streams.store.postgres.errors import translated
from streams.store.postgres.locks import DECLARING
from streams.store.postgres.snapshot import PostgresSnapshot, arrays
from streams.store.tables import VIEWS_VERSION, Row, Table

# A worker that vanished in mid-transaction holds its positions and join keys, and others wait for them: the
# server lets go of them before those lose their patience with it (`stuck_after`, 15 s).
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL idle_in_transaction_session_timeout = '10s'"
_BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_STANDING = f"SELECT state, {CLOCK} FROM loopline.stores WHERE number = %b::bigint"
LOCK = """
SELECT "partition" FROM positions WHERE "partition" = ANY (%b::bigint[])
 ORDER BY "partition" FOR NO KEY UPDATE
"""
_ENTER = """
INSERT INTO positions ("partition") SELECT unnest(%b::bigint[]) AS p ORDER BY p ON CONFLICT DO NOTHING
"""
_DECLARING = {
    False: "SELECT pg_advisory_xact_lock_shared(%b::integer, %b::integer)",
    True: "SELECT pg_advisory_xact_lock(%b::integer, %b::integer)",
}
# The condition is never met: the row is locked, and no new version of it is written.
_MEET = """
INSERT INTO meetings AS it (key) SELECT key FROM unnest(%b::bytea[]) AS wanted (key) ORDER BY key
    ON CONFLICT (key) DO UPDATE SET key = excluded.key WHERE false
"""
HOLD = """
SELECT 1 FROM predictions WHERE pid = ANY (%b::bytea[]) AND join_key IS NOT NULL
 ORDER BY pid FOR NO KEY UPDATE
"""
_ADVANCE = """
INSERT INTO positions SELECT * FROM unnest(%b::bigint[], %b::bigint[], %b::bytea[], %b::bigint[]) AS new (p)
 ORDER BY p ON CONFLICT ("partition") DO UPDATE
   SET "offset" = excluded."offset", digest = excluded.digest, received = excluded.received
"""
_IN_TRANSACTION = (TransactionStatus.INTRANS, TransactionStatus.INERROR)
# So many rows are cheaper copied: 1.6 us of the client's CPU a fact and 4 of the server's, where arrays take
# 4 and 12; below, the round trips of a copy cost more.
_COPIED = 60


class PostgresTransaction(PostgresSnapshot):
    """A write transaction that holds some positions. `store` begins and ends it."""

    def __init__(self, connection: Connection, partitions: Sequence[int], staged: Iterable[str]) -> None:
        super().__init__(connection)
        self._partitions = partitions
        self._filled: set[str] = set()
        self.staged = set(staged)
        """The tables for which the connection has a temporary one, if the transaction is committed."""

    @property
    def shard(self) -> int:
        """The lowest of the partitions that are held: nobody else holds it meanwhile."""
        return self._partitions[0]

    def lock(self, number: int, *, alone: bool) -> None:
        """Lock the positions, in order, then the right to declare."""
        held = PACKERS[int](self._partitions)
        if len(self._rows(LOCK, [held])) < len(self._partitions):
            self._cursor.execute(_ENTER.encode(), [held])
            self._rows(LOCK, [held])
        self._rows(_DECLARING[alone], [DECLARING, number])

    def lock_join_keys(self, keys: Sequence[bytes]) -> None:
        if keys:
            self._cursor.execute(_MEET.encode(), [PACKERS[bytes](sorted(keys))])

    def lock_predictions(self, pids: Sequence[bytes]) -> None:
        if pids:
            self._rows(HOLD, [PACKERS[bytes](pids)])

    def insert(self, table: Table, rows: Sequence[Row]) -> None:
        if len(rows) < _COPIED:
            self._upsert(table, rows)
        else:
            self._copy(table, f'"{table.name}"', rows)

    def put(self, table: Table, rows: Sequence[Row]) -> None:
        self._upsert(table, rows)

    def add(self, table: Table, rows: Sequence[Row]) -> None:
        self._upsert(table, rows, add=True)

    def _upsert(self, table: Table, rows: Sequence[Row], *, add: bool = False) -> None:
        if len(rows) >= _COPIED:
            if table.name not in self.staged:
                self._cursor.execute(statements.create_staging(table).encode(), prepare=False)
                self.staged.add(table.name)
            if table.name in self._filled:
                self._cursor.execute(f"DELETE FROM {statements.staging(table)}".encode())
            self._filled.add(table.name)
            self._copy(table, statements.staging(table), rows)
            self._cursor.execute(statements.upsert(table, add=add, staged=True).encode())
        elif rows:
            text = statements.upsert(table, add=add)
            self._cursor.execute(text.encode(), arrays(table, table.columns, rows))

    def _copy(self, table: Table, target: str, rows: Sequence[Row]) -> None:
        with self._cursor.copy(statements.copy(table, target).encode()) as copy:
            copy.set_types(statements.copied_types(table))
            for row in rows:
                copy.write_row(row)

    def delete(self, table: Table, keys: Sequence[Sequence[Any]]) -> None:
        if keys:
            self._cursor.execute(statements.delete(table).encode(), arrays(table, table.key, keys))

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        staged, filled = set(self.staged), set(self._filled)
        with translated("the store"):
            self._cursor.execute(b"SAVEPOINT one", prepare=False)
            try:
                yield
            except BaseException:
                if self._connection.info.transaction_status in _IN_TRANSACTION:
                    self._cursor.execute(b"ROLLBACK TO SAVEPOINT one", prepare=False)
                    self._cursor.execute(b"RELEASE SAVEPOINT one", prepare=False)
                    self.staged, self._filled = staged, filled
                raise
            self._cursor.execute(b"RELEASE SAVEPOINT one", prepare=False)

    def advance(self, positions: Mapping[int, Applied]) -> None:
        if positions:
            rows = [(partition, *applied) for partition, applied in sorted(positions.items())]
            columns = zip((int, int, bytes, int), zip(*rows, strict=True), strict=True)
            self._cursor.execute(_ADVANCE.encode(), [PACKERS[kind](values) for kind, values in columns])


class PostgresStore:
    """A store of the catalogue: `PostgresStores` gives it. Safe to use from several threads.

    Its snapshots and transactions raise StoreReplaced when another store took its place, and
    StoreUnavailable when the server is away; both are for trying again, the first with a store opened anew.
    """

    def __init__(
        self,
        dsn: str,
        number: int,
        log_identity: LogIdentity,
        views_version: int = VIEWS_VERSION,
        clocks: ClockWatch | None = None,
        called: str = "loopline",
    ) -> None:
        self.number = number
        self.log = log_identity
        self.views_version = views_version
        self._clocks = clocks or ClockWatch()
        self.connections = Connections(dsn, f'"{schema_of(views_version, number)}", pg_temp', called)

    def _expect_current(self, snapshot: PostgresSnapshot) -> None:
        asked = self._clocks.moment()
        [(state, now)] = snapshot._rows(_STANDING, [self.number]) or [("replaced", None)]
        if now is not None:
            # The statement waits for no lock: its time is that of its round trip.
            self._clocks.heard(POSTGRESQL, now, asked, exact_ns=1_000)
        if state == "replaced":
            raise StoreReplaced(
                f"store {self.number} in {self.connections.server} was replaced by another one of the same"
                " views: ask the catalogue for the current one, and open that."
            )

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        """A consistent state to read from, until the context ends."""
        connection = self.connections.begin(_BEGIN_READING)
        snapshot = PostgresSnapshot(connection)
        try:
            with translated(self.connections.server):
                # The state is that of this first read, not that of BEGIN.
                self._expect_current(snapshot)
                yield snapshot
        finally:
            snapshot.end()
            self.connections.end(connection)

    @contextmanager
    def transaction(self, partitions: Iterable[int], *, alone: bool = False) -> Iterator[PostgresTransaction]:
        """Write until the context ends; an error takes all of it back."""
        held = sorted(set(partitions))
        connection = self.connections.begin(_BEGIN)
        staged = self.connections.staged.setdefault(connection, set())
        transaction = PostgresTransaction(connection, held, staged)
        try:
            with translated(self.connections.server):
                transaction.lock(self.number, alone=alone)
                self._expect_current(transaction)
                reached("project.2")
                yield transaction
                transaction.end()
                reached("project.4")
                connection.execute(b"COMMIT")
                staged |= transaction.staged
        finally:
            transaction.end()
            self.connections.end(connection)
        reached("project.5")

    def close(self) -> None:
        """Close every connection: now, or at the end of the snapshot or transaction that uses it."""
        self.connections.close()


def schema_of(views_version: int, number: int) -> str:
    """The schema in which a store's tables lie."""
    return f"loopline_views_{views_version}_{number}"
