"""How a command ends when it does not end well: what it says, and its exit status."""

from __future__ import annotations

from typing import Any

import click

REFUSED, UNREACHABLE = 1, 3


class Refused(click.ClickException):
    """Something was refused, differs, or failed a gate."""

    exit_code = REFUSED

    def show(self, file: Any = None) -> None:
        """Say it on standard error."""
        click.echo(f"loopline: {self.format_message()}", err=True)


class Unreachable(Refused):
    """Nobody answered."""

    exit_code = UNREACHABLE
