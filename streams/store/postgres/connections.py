"""Connections to one database: opened with the settings that the store counts on, and kept for the next.

What is asked over them is left to the modules that ask.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import TransactionStatus

from streams.store.port import StoreUnavailable, StoreUnreadable
from streams.store.postgres.arrays import register
from streams.store.postgres.errors import translated

Connection = psycopg.Connection[tuple[Any, ...]]

POSTGRESQL = "PostgreSQL"
CLOCK = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000"
"""The server's clock, nanoseconds since 1970."""

_KEPT = 8
_DEFAULTS = {
    "connect_timeout": "10",
    # A server whose machine vanished is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
# What the libpq takes from the environment where the address does not say it.
_VARIABLES = {"connect_timeout": "PGCONNECT_TIMEOUT", "application_name": "PGAPPNAME"}
# Every keyed read is meant as a search of an index, and tables are new when the plans are made: a plan
# chosen for an empty table would be kept while it grows. Statements are few and their plans do not
# depend on values. Compiling a plan takes longer than any of them.
# The position is written in the transaction of its rows, so a crash of the server that takes the last
# transactions takes their positions too, and the blocks are read again: no commit waits for the disk.
_SETTINGS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_bitmapscan": "off",
    "jit": "off",
    "synchronous_commit": "off",
    "timezone": "UTC",
}


def server_name(dsn: str) -> str:
    """The host, port and database that an address names: what may be shown. Raises StoreUnreadable."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        # The driver's message repeats the address, with what may be a password.
        raise StoreUnreadable(
            "the address of the store cannot be read: it looks like postgresql://USER:PASSWORD@HOST:5432/NAME,"
            " and characters like @ : / in a password are written as %40 %3A %2F."
        ) from None
    host = parts.get("host") or parts.get("hostaddr") or os.environ.get("PGHOST") or "localhost"
    port = parts.get("port") or os.environ.get("PGPORT") or 5432
    return f"{host}:{port}/{parts.get('dbname') or os.environ.get('PGDATABASE') or ''}"


class Connections:
    """A few connections of one address and search path; safe to use from several threads.

    Idle ones are kept, up to eight, and never used by another process than the one that opened them.

    Args:
        dsn: the address. What it does not say is taken from PGPASSWORD, ~/.pgpass, PGSSLMODE and their kin.
        search_path: where its statements look for tables.
        called: what the server calls them: the `application_name`.
        most: so many are in use at a time; whoever wants one more waits for `wait_s` seconds.
    """

    def __init__(
        self, dsn: str, search_path: str, called: str = "loopline", *, most: int = 16, wait_s: float = 10.0
    ) -> None:
        self._most, self._wait_s = most, wait_s
        self.server = server_name(dsn)
        known = {name for name, value in conninfo_to_dict(dsn).items() if value is not None}
        known |= {name for name, variable in _VARIABLES.items() if os.environ.get(variable)}
        given = {**_DEFAULTS, "application_name": called}
        self._conninfo = make_conninfo(dsn, **{name: given[name] for name in given.keys() - known})
        self._settings = {**_SETTINGS, "search_path": search_path}
        self._guard = threading.Lock()
        self._idle: list[Connection] = []
        self._room = threading.BoundedSemaphore(most)
        self._process = os.getpid()
        self.staged: WeakKeyDictionary[Connection, set[str]] = WeakKeyDictionary()
        """For each connection, the tables for which it has a temporary one."""
        self._closed = False

    def open(self) -> Connection:
        """A connection of its own, for who keeps it and closes it. Raises StoreUnavailable."""
        with translated(self.server):
            connection = psycopg.connect(self._conninfo, autocommit=True, prepare_threshold=0)
            try:
                # Every statement is one of a few, so each is prepared when it is first met.
                connection.prepared_max = 400
                register(connection)
                connection.execute(
                    "SELECT " + ", ".join(["set_config(%s, %s, false)"] * len(self._settings)),
                    [part for setting in self._settings.items() for part in setting],
                    prepare=False,
                )
            except BaseException:
                connection.close()
                raise
        return connection

    @contextmanager
    def borrowed(self) -> Iterator[Connection]:
        """A connection until the context ends; errors of the driver are translated.

        One that lies idle may have been ended by the server since: the caller's first statement goes
        through `begin`, which takes another then.
        """
        connection = self._take()
        try:
            with translated(self.server):
                yield connection
        finally:
            self._give_back(connection)

    def begin(self, text: str) -> Connection:
        """A connection on which this first statement was run: another one where the server ended it."""
        if not self._room.acquire(timeout=self._wait_s):
            raise StoreUnavailable(
                f"all {self._most} connections to PostgreSQL at {self.server} have been in use for"
                f" {self._wait_s:g} s: does it hang? Look at its disk and its locks."
            )
        try:
            return self._begin(text)
        except BaseException:
            self._room.release()
            raise

    def _begin(self, text: str) -> Connection:
        while True:
            fresh = False
            connection = self._kept()
            if connection is None:
                connection, fresh = self.open(), True
            try:
                with translated(self.server):
                    connection.execute(text.encode(), prepare=False)
            except BaseException as error:
                broken = connection.broken
                connection.close()
                if fresh or not (broken and isinstance(error, StoreUnavailable)):
                    raise
            else:
                return connection

    def _kept(self) -> Connection | None:
        """An idle connection of this process, if there is one."""
        with self._guard:
            if self._closed:
                raise StoreUnavailable(f"the store in {self.server} was closed")
            if self._process != os.getpid():
                # After a fork they are the other process's: the driver closes none that it did not open.
                self._process, self._idle = os.getpid(), []
            return self._idle.pop() if self._idle else None

    def _take(self) -> Connection:
        return self.begin("SELECT 1")

    def end(self, connection: Connection) -> None:
        """Roll back what is open, and keep the connection for the next."""
        try:
            if connection.info.transaction_status not in (
                TransactionStatus.IDLE,
                TransactionStatus.UNKNOWN,
            ):
                connection.execute("ROLLBACK")
        except psycopg.Error:
            connection.close()
        finally:
            self._give_back(connection)

    def _give_back(self, connection: Connection) -> None:
        self._room.release()
        with self._guard:
            idle = connection.info.transaction_status == TransactionStatus.IDLE
            if idle and not self._closed and len(self._idle) < _KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the idle connections now, the others when they are given back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
