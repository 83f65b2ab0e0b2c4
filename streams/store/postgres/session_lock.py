"""A lock of the database that one process holds as long as its connection lives.

PostgreSQL gives it to another process as soon as it knows that the connection is gone, and the one that had
it learns of that when it asks next. So for a moment two may believe that they have it: it spares work done
twice, and what must not be done twice is made harmless otherwise.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import psycopg

from streams.store.port import StoreUnavailable
from streams.store.postgres.connections import Connection
from streams.store.postgres.errors import translated

# By the server's own defaults, a holder whose machine vanished would keep the lock for two hours.
_KEEP_ALIVE = (
    "SELECT set_config('tcp_keepalives_idle', '10', false),"
    " set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)"
)


class SessionLock:
    """One lock, on a connection of its own. Any thread may ask.

    Args:
        connect: opens a connection.
        server: what to call the server in an error.
        number: of the lock, with 0.
    """

    def __init__(self, connect: Callable[[], Connection], server: str, number: int) -> None:
        self._connect = connect
        self._server = server
        self._number = number
        self._guard = threading.Lock()
        self._connection: Connection | None = None
        self._has = False

    def held(self) -> bool:
        """Whether this process has the lock, or has just got it. Raises StoreUnavailable."""
        with self._guard:
            was_open = self._connection is not None
            try:
                return self._ask()
            except StoreUnavailable:
                self._let_go()
                if not was_open:
                    raise
            # What lay idle may have been ended long since: a new connection says how the server is now.
            return self._ask()

    def _ask(self) -> bool:
        if self._connection is None:
            self._connection = self._connect()
            with translated(self._server):
                self._connection.execute(_KEEP_ALIVE)
        with translated(self._server):
            if self._has:
                self._connection.execute("SELECT 1")
            else:
                asked = self._connection.execute("SELECT pg_try_advisory_lock(%s, 0)", [self._number])
                self._has = asked.fetchone() == (True,)
        return self._has

    def _let_go(self) -> None:
        connection, self._connection, self._has = self._connection, None, False
        if connection is not None:
            # One that is gone already has taken the lock along.
            with suppress(psycopg.Error):
                connection.close()

    def close(self) -> None:
        """Give the lock back; it can be asked for again."""
        with self._guard:
            if self._connection is not None and self._has:
                # The server notices the end of a connection a moment later.
                with suppress(psycopg.Error):
                    self._connection.execute("SELECT pg_advisory_unlock(%s, 0)", [self._number])
            self._let_go()
