"""What can go wrong with a store in PostgreSQL, as one tree; each message says what to do.

No message holds a password: a server is named by host, port and database alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from streams.store.port import RefusedValue, StoreRefused


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


# SQLSTATE classes: what is wrong with the data, and what is wrong with what was asked or with the server's
# files. Everything else is a matter of the connection or the server's health, and passes.
_OF_THE_DATA = ("21", "22", "23", "54")
_OF_THE_STORE = ("42", "F0", "XX001", "XX002")


class StoreDamaged(PostgresError, StoreRefused):
    """The database cannot do what it is asked, now or later: a person has to look."""


def _raise_unless_away(server: str, error: psycopg.Error) -> None:
    """Raises RefusedValue or StoreDamaged for an error that another try does not mend."""
    state = error.sqlstate or ""
    if not state and isinstance(error, psycopg.DataError | psycopg.IntegrityError):
        # The driver's own word, before it has asked the server: a NUL in a text, a number too large.
        raise RefusedValue(
            f"PostgreSQL at {server} cannot be given a value ({type(error).__name__})"
        ) from error
    if state.startswith(_OF_THE_DATA):
        raise RefusedValue(f"PostgreSQL at {server} cannot hold a value ({error.sqlstate})") from error
    if state.startswith(_OF_THE_STORE):
        raise StoreDamaged(
            f"PostgreSQL at {server} cannot do what it is asked ({error.sqlstate}, {type(error).__name__}):"
            " the views there are not what this version made. Build them anew with `loopline replay`."
        ) from error


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
    except psycopg.Error as error:
        _raise_unless_away(server, error)
        if not isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
            raise
        raise StoreUnavailable(
            f"PostgreSQL at {server} is not to be had ({_first_line(error)}). Nothing is lost: start it, or"
            " check the address, the user and the network, and try again."
        ) from error
