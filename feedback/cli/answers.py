"""How commands speak: one JSON document or lines of text on standard output, progress on standard error."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click
import msgspec

from feedback.cli.options import Choices
from feedback.cli.output import say
from feedback.escaping import for_terminal

_WIDEST = 60


def answer(choices: Choices, document: Any, text: str | Iterable[str]) -> None:
    """Give the answer: the document with `--json`, else the text or lines."""
    if choices.as_json:
        encoded = msgspec.json.format(msgspec.json.encode(document), indent=2)
        click.echo(encoded.decode())
        return
    for line in text.split("\n") if isinstance(text, str) else text:
        say(line)


def table(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Rows as aligned columns under titles; long cells are cut, but for the last."""
    cells = [list(titles), *([*map(_cell, row[:-1]), _text(row[-1])] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return " ".join((value if isinstance(value, str) else msgspec.json.encode(value).decode()).split())


def _cell(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _WIDEST else text[: _WIDEST - 1] + "…"


@contextlib.contextmanager
def progress(label: str, length: int | None = None) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on standard error; the function given is called with (done, in all)."""
    with click.progressbar(length=length or 1, label=for_terminal(label), file=sys.stderr, width=30) as bar:
        shown = 0

        def show(done: int, total: int) -> None:
            nonlocal shown
            bar.length = max(total, 1)
            bar.update(done - shown)
            shown = done

        yield show


class Stages:
    """A progress bar for each stage, one after the other."""

    def __init__(self) -> None:
        self._label = ""
        self._open: Any = None
        self._show: Any = None

    def __call__(self, label: str, done: int, total: int) -> None:
        """Show how far a stage is."""
        if label != self._label:
            self.close()
            self._label = label
            self._open = progress(label)
            self._show = self._open.__enter__()
        self._show(done, total)

    def close(self) -> None:
        """End the bar that is open."""
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None
