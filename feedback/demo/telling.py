"""How the demo speaks: numbered steps, short sentences, aligned figures; progress on standard error.

With `as_json` the prose goes to standard error, and standard output gets one document of all figures.
"""

from __future__ import annotations

import contextlib
import sys
import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click
import msgspec

from feedback.cli.output import say
from feedback.shares import share
from models.estimate import estimate

_WIDTH = 96
_INDENT = "   "


class Teller:
    """Prints, and keeps the figures it was given."""

    def __init__(self, *, as_json: bool = False) -> None:
        self.figures: dict[str, Any] = {}
        self._as_json = as_json
        self._steps = 0

    def line(self, text: str = "") -> None:
        """A line as it is, or some that belong together."""
        for line in text.split("\n"):
            say(line, err=self._as_json)

    def step(self, title: str) -> None:
        """Begin the next step."""
        self._steps += 1
        self.line()
        say(f"{self._steps:>2} {title}", err=self._as_json, bold=True)

    def say(self, text: str) -> None:
        """Sentences, wrapped."""
        for line in textwrap.wrap(text, _WIDTH, initial_indent=_INDENT, subsequent_indent=_INDENT):
            self.line(line)

    def table(self, rows: Sequence[Sequence[Any]], titles: Sequence[str] = ()) -> None:
        """Rows with aligned columns: whole numbers to the right, everything else to the left."""
        cells = [[_cell(value) for value in row] for row in rows]
        numeric = [all(isinstance(row[column], int) for row in rows) for column in range(len(rows[0]))]
        above = [list(titles)] if titles else []
        widths = [max(len(row[column]) for row in above + cells) for column in range(len(rows[0]))]
        for row in above + cells:
            padded = [
                text.rjust(width) if right else text.ljust(width)
                for text, width, right in zip(row, widths, numeric, strict=True)
            ]
            self.line(f"{_INDENT}  {'  '.join(padded).rstrip()}")

    def document(self) -> None:
        """With `as_json`: the figures, as one document on standard output."""
        if self._as_json:
            encoded = msgspec.json.encode(self.figures, order="sorted")
            click.echo(msgspec.json.format(encoded, indent=2).decode())

    @contextlib.contextmanager
    def progress(self, label: str, length: int) -> Iterator[Callable[[int], None]]:
        """A bar on standard error; the function given is told how much more was done."""
        with click.progressbar(length=length, label=f"{_INDENT}{label}", file=sys.stderr, width=40) as bar:
            yield bar.update


def _cell(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def rate(hits: int, cases: int) -> str:
    """A share with what it rests on and its 95% interval; too few cases get no number."""
    return share(hits, cases)


def measured(name: str, hits: int, cases: int) -> dict[str, Any]:
    """The same as a metric of `evaluation.recorded`."""
    found = estimate(hits, cases)
    return {"name": name, "value": found.value, "n": found.n, "low": found.low, "high": found.high}
