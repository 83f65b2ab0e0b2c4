"""Expected failures, of every room, as what a person is told and the exit status.

An expected failure says what to do; anything that is not listed here is a defect and keeps its traceback.
The failures of the adapters of Kafka and PostgreSQL are known only where those were loaded.
"""

from __future__ import annotations

import sqlite3
import sys

import click

from feedback.cli.endings import Refused, Unreachable
from feedback.datasets.errors import BadRequest, DatasetError, ShelfUnreachable
from feedback.place import PlaceRefused
from feedback.service import NoAddress
from feedback.settings import BadSetting, without_password
from schemas.kinds import UnreadableTypes
from streams.log.block import UnreadableBlock
from streams.log.port import LogRefused, LogUnavailable, MalformedPosition, NotDurable
from streams.log.sqlite import LogMissing
from streams.rebuild import BeyondTheLog
from streams.store.port import StoreRefused
from streams.store.sqlite import StoreMissing, StoreUnreadable

SAYS_WHAT_TO_DO = (
    BeyondTheLog,
    DatasetError,
    LogMissing,
    NotDurable,
    PlaceRefused,
    StoreMissing,
    StoreRefused,
    UnreadableBlock,
    UnreadableTypes,
)


def told(error: Exception) -> click.ClickException | None:
    """What to tell about a failure, or None when it was not expected."""
    if isinstance(error, StoreUnreadable):
        return Refused(f"{error}. The log has everything: `loopline replay` builds the views anew.")
    if isinstance(error, MalformedPosition | BadRequest | BadSetting | NoAddress):
        return click.UsageError(str(error))
    away, refused = _of_a_cluster()
    if isinstance(error, away):
        return Unreachable(without_password(str(error)))
    if isinstance(error, refused):
        return Refused(without_password(str(error)))
    if isinstance(error, ShelfUnreachable):
        return Unreachable(str(error))
    if isinstance(error, SAYS_WHAT_TO_DO):
        return Refused(str(error))
    if isinstance(error, sqlite3.Error):
        return Refused(f"SQLite says: {error}. `loopline doctor` looks for the reason.")
    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, ConnectionError):
        return Unreachable(str(error))
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return Refused(f"{place}{error.strerror or error}")
    return None


def _of_a_cluster() -> tuple[tuple[type[Exception], ...], tuple[type[Exception], ...]]:
    """What means that nobody answered, and what is refused, of the adapters that this process has loaded."""
    away: list[type[Exception]] = [LogUnavailable]
    refused: list[type[Exception]] = [LogRefused]
    if "streams.store.postgres.errors" in sys.modules:
        from streams.store.postgres.errors import PostgresError, StoreUnavailable

        away.append(StoreUnavailable)
        refused.append(PostgresError)
    return tuple(away), tuple(refused)
