"""How a command ends when it does not end well: the one place that turns errors into exit statuses.

Commands, and all that they call, raise errors of the tree in `schemas.errors`. Here each of its three
classes becomes a message and an exit status. An error outside the tree is a defect and keeps its traceback,
except for those of the operating system.
"""

from __future__ import annotations

from typing import Any

import click

from feedback.cli.output import note
from feedback.redaction import redacted
from feedback.settings import without_password
from schemas.errors import Malformed, Refused, Unavailable

REFUSED, UNREACHABLE = 1, 3
"""Exit statuses; that of usage, 2, is Click's."""


class _Ending(click.ClickException):
    """The end of a command, with a message and an exit status."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code

    def show(self, file: Any = None) -> None:
        """Say it on standard error."""
        note(f"loopline: {redacted(self.format_message())}")


def ending_of(error: Exception) -> click.ClickException | None:
    """How a command ends that raised this, or None for a defect."""
    if isinstance(error, click.ClickException):
        return error
    if isinstance(error, Malformed):
        return click.UsageError(str(error))
    if isinstance(error, Unavailable):
        return _Ending(without_password(str(error)), UNREACHABLE)
    if isinstance(error, Refused):
        return _Ending(without_password(str(error)), REFUSED)
    if isinstance(error, OSError):
        return _of_the_system(error)
    return None


def _of_the_system(error: OSError) -> click.ClickException | None:
    if isinstance(error, BrokenPipeError):
        return None
    if isinstance(error, ConnectionError):
        return _Ending(str(error), UNREACHABLE)
    place = f"{error.filename}: " if error.filename else ""
    return _Ending(f"{place}{error.strerror or error}", REFUSED)
