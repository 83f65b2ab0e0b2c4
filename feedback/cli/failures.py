"""Expected failures, of every room, as what a person is told and the exit status.

An expected failure says what to do; anything that is not listed here is a defect and keeps its traceback.
"""

from __future__ import annotations

import sqlite3

import click

from feedback.cli.endings import Refused, Unreachable
from feedback.datasets.errors import BadRequest, DatasetError
from feedback.home import HomeRefused
from feedback.service import NoAddress
from schemas.catalog import UnreadableTypes
from streams.log.block import UnreadableBlock
from streams.log.port import MalformedPosition, NotDurable
from streams.log.sqlite import LogMissing
from streams.projection import StoreRefused
from streams.rebuild import BeyondTheLog
from streams.store.sqlite import StoreMissing, StoreUnreadable

SAYS_WHAT_TO_DO = (
    BeyondTheLog,
    DatasetError,
    HomeRefused,
    LogMissing,
    NotDurable,
    StoreMissing,
    StoreRefused,
    UnreadableBlock,
    UnreadableTypes,
)


def told(error: Exception) -> click.ClickException | None:
    """What to tell about a failure, or None when it was not expected."""
    if isinstance(error, StoreUnreadable):
        return Refused(f"{error}. The log has everything: `loopline replay` builds the views anew.")
    if isinstance(error, MalformedPosition | BadRequest | NoAddress):
        return click.UsageError(str(error))
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
