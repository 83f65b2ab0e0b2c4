"""The stores of a database: which there are, which one is current for each version of the views.

A store is `building` until it is switched to, then `current`; what was current before is `replaced`, and
dropped after a while. Each version of the views has a current store of its own, so that processes of the
old version work on beside those of the new one. What lies in a store is left to `store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

from psycopg.errors import LockNotAvailable

from streams.clocks import ClockWatch
from streams.log.port import DEAD, LogIdentity
from streams.store.port import StoreReplaced, StoreUnreadable
from streams.store.postgres import statements
from streams.store.postgres.connections import CLOCK, POSTGRESQL, Connection, Connections
from streams.store.postgres.errors import BuilderElsewhere
from streams.store.postgres.locks import BUILDING, DECIDING, MIGRATING
from streams.store.postgres.migrations import migrate
from streams.store.postgres.session_lock import SessionLock
from streams.store.postgres.store import PostgresStore, schema_of
from streams.store.tables import VIEWS_VERSION, Table

_OLDEST_SERVER = 130000
_COLUMNS = "number, views_version, state, alone, log, epoch, partitions, before"


class Entry(NamedTuple):
    """A line of the catalogue. `alone`: one process builds it by itself."""

    number: int
    views_version: int
    state: str
    alone: bool
    log: LogIdentity


def _entry(row: tuple[Any, ...]) -> Entry:
    number, views_version, state, alone, log, epoch, partitions, before = row
    return Entry(number, views_version, state, alone, LogIdentity(log, epoch, partitions, tuple(before)))


class PostgresStores:
    """The catalogue of a database's stores, which have these tables; the first to open it makes it.

    Raises StoreUnavailable when the server is away, and StoreUnreadable when the address cannot be read,
    the user may not use the database, or a newer version of Loopline was here.
    """

    def __init__(
        self,
        dsn: str,
        tables: Sequence[Table],
        clocks: ClockWatch | None = None,
        called: str = "loopline",
    ) -> None:
        self._dsn = dsn
        self._tables = tables
        self._called = called
        self._clocks = clocks or ClockWatch()
        self.connections = Connections(dsn, "loopline", called)
        self._building: Connection | None = None
        self.server = self.connections.server
        try:
            with self.connections.borrowed() as connection:
                if connection.info.server_version < _OLDEST_SERVER:
                    raise StoreUnreadable(
                        f"PostgreSQL at {self.server} is older than version 13: upgrade it."
                    )
                migrate(connection, self.server)
        except BaseException:
            self.connections.close()
            raise

    @contextmanager
    def _changing(self) -> Iterator[Connection]:
        """A transaction that alone changes the list of stores."""
        with self.connections.borrowed() as connection, connection.transaction():
            connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [MIGRATING])
            yield connection

    def deciding(self) -> SessionLock:
        """The lock of the one process that runs deciders; nothing is connected to before it is asked for."""
        return SessionLock(self.connections.open, self.server, DECIDING)

    def look_at_clock(self) -> None:
        """Have the server's clock compared with this machine's."""
        with self.connections.borrowed() as connection:
            asked = self._clocks.moment()
            [(now,)] = connection.execute(f"SELECT {CLOCK}".encode()).fetchall()
            self._clocks.heard(POSTGRESQL, now, asked, exact_ns=1_000)

    def entries(self) -> list[Entry]:
        """All stores, oldest first."""
        with self.connections.borrowed() as connection:
            return self._entries(connection)

    def _entries(self, connection: Connection) -> list[Entry]:
        rows = connection.execute(f"SELECT {_COLUMNS} FROM loopline.stores ORDER BY number".encode())
        return [_entry(row) for row in rows]

    def opened(self, entry: Entry) -> PostgresStore:
        """The store of an entry."""
        return PostgresStore(
            self._dsn, entry.number, entry.log, entry.views_version, self._clocks, self._called
        )

    def current(self, views_version: int = VIEWS_VERSION) -> PostgresStore | None:
        """The store to read for this version of the views; None before one has caught up."""
        for entry in self.entries():
            if entry.state == "current" and entry.views_version == views_version:
                return self.opened(entry)
        return None

    def is_current(self, store: PostgresStore) -> bool:
        """Whether the store is the one to read, now."""
        return any(entry.number == store.number and entry.state == "current" for entry in self.entries())

    def for_work(self, log: LogIdentity, views_version: int = VIEWS_VERSION) -> PostgresStore:
        """The store that workers of this version move forward: the current one, else one they build together.

        Where there is no current store at all, nobody could read another one meanwhile, and the new one is
        current at once; else `switch` makes it so when it has caught up.
        """
        with self._changing() as connection:
            entries = self._entries(connection)
            mine = [entry for entry in entries if entry.views_version == views_version and not entry.alone]
            for state in ("current", "building"):
                for entry in mine:
                    if entry.state == state:
                        return self.opened(entry)
            entry = self._make(connection, log, views_version, alone=False)
            if not any(other.state == "current" for other in entries):
                connection.execute(
                    "UPDATE loopline.stores SET state = 'current' WHERE number = %s", [entry.number]
                )
            return self.opened(entry)

    def new_store(self, log: LogIdentity, views_version: int = VIEWS_VERSION) -> PostgresStore:
        """A new, empty store that this process builds by itself, beside the current one.

        Until `switch` or `abandon`, nobody else may build one. What an earlier builder left unfinished is
        dropped. Raises BuilderElsewhere.
        """
        if self._building is not None:
            raise BuilderElsewhere(
                f"this process is building a store in {self.server} already: finish it first."
            )
        session = self.connections.open()
        try:
            locked = session.execute("SELECT pg_try_advisory_lock(%s, 0)", [BUILDING]).fetchone()
            if locked is None or not locked[0]:
                raise BuilderElsewhere(
                    f"another process is building a store in {self.server}: wait until it is done, or end it."
                )
            with self._changing() as connection:
                for entry in self._entries(connection):
                    if entry.alone and entry.state == "building":
                        self._drop(connection, entry)
                made = self._make(connection, log, views_version, alone=True)
        except BaseException:
            session.close()
            raise
        self._building = session
        return self.opened(made)

    def _make(self, connection: Connection, log: LogIdentity, views_version: int, *, alone: bool) -> Entry:
        row = connection.execute(
            "INSERT INTO loopline.stores (views_version, alone, log, epoch, partitions, before)"
            f" VALUES (%s, %s, %s, %s, %s, %s) RETURNING {_COLUMNS}".encode(),
            [views_version, alone, *log[:3], list(log.before)],
        ).fetchone()
        assert row is not None
        entry = _entry(row)
        schema = schema_of(entry.views_version, entry.number)
        connection.execute(f'CREATE SCHEMA "{schema}"'.encode())
        connection.execute(f'SET LOCAL search_path = "{schema}"'.encode())
        made = statements.POSITIONS + "".join(map(statements.create, self._tables))
        connection.execute(made.encode(), prepare=False)
        partitions = [DEAD, *range(log.first + log.partitions)]
        connection.execute('INSERT INTO positions ("partition") SELECT unnest(%s::integer[])', [partitions])
        connection.execute("SET LOCAL search_path = loopline")
        return entry

    def switch(self, store: PostgresStore) -> None:
        """Make a store the current one of its views, once; what was current is replaced."""
        with self._changing() as connection:
            entry = next((each for each in self._entries(connection) if each.number == store.number), None)
            if entry is None or entry.state == "replaced":
                raise StoreReplaced(
                    f"store {store.number} in {self.server} was dropped or replaced meanwhile: build it anew."
                )
            if entry.state == "building":
                connection.execute(
                    "UPDATE loopline.stores SET state = 'replaced', out_of_use = now()"
                    " WHERE views_version = %s AND number <> %s AND state <> 'replaced'"
                    " AND (state = 'current' OR NOT alone)",
                    [entry.views_version, entry.number],
                )
                # Processes of an older version may work on with their store for a while.
                connection.execute(
                    "UPDATE loopline.stores SET out_of_use = now()"
                    " WHERE views_version < %s AND out_of_use IS NULL",
                    [entry.views_version],
                )
                connection.execute(
                    "UPDATE loopline.stores SET state = 'current', alone = false WHERE number = %s",
                    [entry.number],
                )
        if entry.alone:
            self._let_go()

    def abandon(self, store: PostgresStore) -> None:
        """Drop a store that this process builds."""
        store.close()
        with self._changing() as connection:
            for entry in self._entries(connection):
                if entry.number == store.number and entry.state == "building":
                    self._drop(connection, entry)
        self._let_go()

    def _let_go(self) -> None:
        if self._building is not None:
            self._building.close()
            self._building = None

    def drop_stale(self, grace_s: float = 3600.0) -> list[int]:
        """Drop the stores that have been out of use for so long. Returns their numbers.

        Those are the replaced ones, and those of older views since newer ones are current.
        """
        with self._changing() as connection:
            rows = connection.execute(
                "SELECT number FROM loopline.stores WHERE out_of_use < now() - make_interval(secs => %s)",
                [grace_s],
            ).fetchall()
            doomed = {number for (number,) in rows}
            dropped = []
            for entry in self._entries(connection):
                # One that somebody still reads, as `verify` does for long, goes another time: who waits
                # here keeps everybody else from the catalogue.
                with suppress(LockNotAvailable), connection.transaction():
                    if entry.number in doomed:
                        connection.execute("SET LOCAL lock_timeout = '2s'")
                        self._drop(connection, entry)
                        dropped.append(entry.number)
        return dropped

    def _drop(self, connection: Connection, entry: Entry) -> None:
        schema = schema_of(entry.views_version, entry.number)
        connection.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE'.encode())
        connection.execute("DELETE FROM loopline.stores WHERE number = %s", [entry.number])

    def enter(self, store: PostgresStore, log: LogIdentity) -> None:
        """Write down that the store's log went on to this epoch; forward only, and never another log.

        The last epoch that the store knew may have been given more partitions before it was sealed:
        `streams.projection.apply.check`, which comes before this, sees to it that they are empty.
        """
        with self._changing() as connection:
            entry = next((each for each in self._entries(connection) if each.number == store.number), None)
            if entry is None:
                raise StoreReplaced(
                    f"store {store.number} in {self.server} was dropped: open the current one."
                )
            was, now = entry.log.epochs(), log.epochs()
            earlier = len(was) - 1
            later = len(now) > len(was) and now[:earlier] == was[:-1] and len(now[earlier]) >= len(was[-1])
            if entry.log.id == log.id and later:
                connection.execute(
                    "UPDATE loopline.stores SET epoch = %s, partitions = %s, before = %s WHERE number = %s",
                    [log.epoch, log.partitions, list(log.before), store.number],
                )
                store.log = log
            else:
                store.log = entry.log

    def close(self) -> None:
        """Let go of everything; the stores that were opened are closed by who has them."""
        self._let_go()
        self.connections.close()
