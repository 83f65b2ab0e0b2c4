"""The one place where commands write text for people: nothing that others wrote is obeyed by a terminal."""

from __future__ import annotations

import click

from feedback.escaping import for_terminal


def say(line: str, *, err: bool = False, bold: bool = False) -> None:
    """Write one line for people: the one place where text goes to a terminal, so nothing in it is obeyed."""
    plain = for_terminal(line)
    click.echo(click.style(plain, bold=True) if bold else plain, err=err)


def note(text: str) -> None:
    """Say something beside the answer, on standard error."""
    for line in text.split("\n"):
        say(line, err=True)
