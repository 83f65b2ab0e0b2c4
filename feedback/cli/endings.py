"""How a command ends when it does not end well: what it says, and its exit status."""

from __future__ import annotations

from typing import Any

import click

from feedback.cli.output import note
from feedback.redaction import redacted

REFUSED, UNREACHABLE = 1, 3


class Refused(click.ClickException):
    """Something was refused, differs, or failed a gate."""

    exit_code = REFUSED

    def show(self, file: Any = None) -> None:
        """Say it on standard error."""
        note(f"loopline: {redacted(self.format_message())}")


class Unreachable(Refused):
    """Nobody answered."""

    exit_code = UNREACHABLE
