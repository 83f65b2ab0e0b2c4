"""What can go wrong with a store in PostgreSQL, as errors of the store's port; each message says what to do.

No message holds a password: a server is named by host, port and database alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors

from schemas.errors import Refused
from streams.store.port import RefusedValue, StoreRefused, StoreReplaced, StoreUnavailable, StoreUnreadable


class BuilderElsewhere(Refused):
    """Somebody else is building a store; two at once are one too many."""


_TRY_AGAIN = "Nothing is lost: start it, or check the address, the user and the network, and try again."
_CERTIFICATE = (
    "Name the file of the authority that signed the server's certificate (`sslrootcert=FILE` in the address,"
    " or PGSSLROOTCERT), or `sslrootcert=system` for those of this machine."
)
_OTHER_NAME = (
    "Write the host in the address as the certificate names it, or have the server's certificate made anew"
    " with this name among its subjectAltName."
)
_NO_TLS = (
    "Turn TLS on in the server (`ssl = on`, `ssl_cert_file`, `ssl_key_file`); `sslmode=disable` goes without,"
    " where nobody else can listen on the network."
)
_PASSWORD = (
    "Give the user's password in PGPASSWORD, in ~/.pgpass (which nobody else may read), or in the address by"
    " LOOPLINE_STORE_FILE."
)
# What to do, by what the libpq says when it cannot connect.
_ADVICE = (
    ("certificate verify failed", _CERTIFICATE),
    ("root certificate file", _CERTIFICATE),
    ("does not match host name", _OTHER_NAME),
    ("server does not support SSL", _NO_TLS),
    (
        "no encryption",
        "The server takes TLS only: add `?sslmode=verify-full&sslrootcert=FILE` to the address.",
    ),
    ("no pg_hba.conf entry", "Allow this machine and user in the server's pg_hba.conf."),
    (
        "requires a valid client certificate",
        "Name the user's certificate and key (`sslcert=FILE&sslkey=FILE` in the address).",
    ),
    ("password authentication failed", _PASSWORD),
    ("no password supplied", _PASSWORD),
    ("has group or world access", "chmod 600 that file: others must not read a key or a password."),
    (
        "too many clients",
        'Raise the server\'s max_connections, or run fewer processes: see "Connections" in scale.md.',
    ),
    ("remaining connection slots", "Raise the server's max_connections, or run fewer processes."),
    ("does not exist", "Create it, or correct the address."),
)


def _said(error: psycopg.Error) -> str:
    """The line that says what happened. The libpq names the user and the database, never the password."""
    lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    telling = (line for line in lines if any(text in line for text, _ in _ADVICE))
    # Where a host has several addresses, the first line says only that all of them failed.
    return next(telling, lines[1] if len(lines) > 1 and lines[0].startswith("Multiple") else lines[0])


def _advice(text: str) -> str:
    return next((advice for part, advice in _ADVICE if part in text), _TRY_AGAIN)


# SQLSTATE classes: what is wrong with the data, and what is wrong with what was asked or with the server's
# files. Everything else is a matter of the connection or the server's health, and passes.
_OF_THE_DATA = ("21", "22", "23", "54")
_OF_THE_STORE = ("42", "F0", "XX001", "XX002")


class StoreDamaged(StoreRefused):
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
            f"the store in {server} is no longer there ({_said(error)}): ask the catalogue for the"
            " current one, and open that."
        ) from error
    except (errors.InsufficientPrivilege, errors.ReadOnlySqlTransaction) as error:
        raise StoreUnreadable(
            f"the user may not do this in {server} ({_said(error)}): use one that owns the schemas"
            " `loopline` and `loopline_views_*`, and a server that takes writes."
        ) from error
    except (errors.InvalidSqlStatementName, errors.DuplicatePreparedStatement) as error:
        raise StoreUnreadable(
            f"PostgreSQL at {server} is not the same from one statement to the next ({_said(error)}): a"
            " pooler in between has to pool sessions (`pool_mode = session`), not transactions."
        ) from error
    except psycopg.Error as error:
        _raise_unless_away(server, error)
        # A transaction that was silent for too long is ended with its connection: another try is right.
        away = psycopg.OperationalError | psycopg.InterfaceError | errors.IdleInTransactionSessionTimeout
        if not isinstance(error, away):
            raise StoreUnreadable(
                f"PostgreSQL at {server} says what Loopline does not expect ({type(error).__name__}): try"
                " again, and report it with the server's log if it stays."
            ) from error
        text = _said(error)
        raise StoreUnavailable(
            f"PostgreSQL at {server} is not available ({text}). {_advice(text)}"
        ) from error
