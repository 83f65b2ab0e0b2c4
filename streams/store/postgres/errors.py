"""What can go wrong with a store in PostgreSQL, as one tree; each message says what to do.

No message holds a password: a server is named by host, port and database alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors


class PostgresError(Exception):
    """A store in PostgreSQL cannot be used as asked."""


class StoreUnavailable(PostgresError):
    """The server is away, or ended the connection. Nothing is lost: try again."""


class StoreUnreadable(PostgresError):
    """What lies in the database is not, or no longer, for this version of Loopline."""


class StoreReplaced(PostgresError):
    """Another store of the same views took the place of this one: ask the catalogue, and open that one."""


class BuilderElsewhere(PostgresError):
    """Somebody else is building a store; two at once are one too many."""


def _first_line(error: psycopg.Error) -> str:
    # The libpq names the user and the database, never the password.
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


@contextmanager
def translated(server: str) -> Iterator[None]:
    """Errors of the driver become errors of this module; `server` is a name without a password."""
    try:
        yield
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise StoreReplaced(
            f"the store in {server} is no longer there ({_first_line(error)}): ask the catalogue for the"
            " current one, and open that."
        ) from error
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
        raise StoreUnreadable(
            f"the user may not do this in {server} ({_first_line(error)}): use one that owns the schemas"
            " `loopline` and `loopline_views_*`, and a server that takes writes."
        ) from error
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise StoreUnavailable(
            f"PostgreSQL at {server} is not to be had ({_first_line(error)}). Nothing is lost: start it, or"
            " check the address, the user and the network, and try again."
        ) from error
