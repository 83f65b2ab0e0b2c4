"""`loopline send`: events from a file or a pipe to the server, in order, each counted once.

What is refused is listed and does not stop the rest. Trying again is left to `feedback.server_client`; what
an event must look like is judged by the server alone.
"""

from __future__ import annotations

import sys
from typing import IO, Any, NamedTuple

import click
import msgspec

from feedback.cli.answers import answer, table
from feedback.cli.batches import Batch, Item, Unsplittable, batches, encode, read_items
from feedback.cli.connect import connect
from feedback.cli.options import Choices, command
from feedback.cli.output import note
from feedback.plurals import many
from feedback.server_client import EventSender
from loopline.delivery.answers import Verdict
from schemas.errors import Refused, Unavailable

BACKFILL = {"Loopline-Backfill": "1"}
_LISTED = 50
_FIRST = 20
_REPORTED = ("index", "id", "code", "detail")


class RefusedItem(NamedTuple):
    """An event that was not taken: its place in the input, its id if it could be read, and why."""

    place: int
    id: str | None
    code: str
    detail: str


class Tally:
    """What became of what was sent."""

    def __init__(self) -> None:
        self.accepted = 0
        self.refused: list[RefusedItem] = []
        self.position: str | None = None

    def note(self, items: list[Item], verdict: Verdict) -> None:
        """Note what the server decided about these items; those that go again are not in it."""
        self.position = verdict.position or self.position
        if verdict.divide:
            return
        self.accepted += len(items) - len(verdict.refused) - len(verdict.again)
        for index, problem, id in verdict.refused:
            code, detail = str(problem.get("code", "refused")), str(problem.get("detail", ""))
            self.refused.append(RefusedItem(items[index].place, id, code, detail))

    def document(self) -> dict[str, Any]:
        """The answer for `--json`."""
        return {
            "accepted": self.accepted,
            "refused": len(self.refused),
            "position": self.position,
            "items": [dict(zip(_REPORTED, item, strict=True)) for item in self.refused],
        }

    def lines(self, name: str) -> list[str]:
        """The answer for people."""
        said = [f"{many(self.accepted, 'event')} accepted by {name}"]
        if self.refused:
            rows = table(_REPORTED, self.refused[:_LISTED])
            more = len(self.refused) - _LISTED
            said += [f"{many(len(self.refused), 'item')} refused:", *rows]
            said += [f"and {many(more, 'more', 'more')}; --json lists all"] if more > 0 else []
            said += ["They are kept with their bytes: `loopline dead-letters list`. The index counts from 0."]
        return said


@command(short_help="Send events from a file or a pipe.")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--backfill",
    is_flag=True,
    help="These are old: they keep their times, and are left out of latency metrics.",
)
@click.option("--all", "everything", is_flag=True, help="Go on even when none of the first 20 items is JSON.")
def send(choices: Choices, file: IO[bytes], backfill: bool, everything: bool) -> None:
    """Send CloudEvents from FILE, or from standard input with `-`.

    FILE holds one event a line, a JSON array of events, or one event. Sending it again does no harm: an
    event counts once. Exit status 1 says that some were refused, and lists them. A file of something else,
    none of whose first 20 items is JSON, is not sent.
    """
    tally = Tally()
    with connect(choices) as service, _Bar(file) as bar:
        sender = EventSender(service, choices["retry_for"], BACKFILL if backfill else None)
        try:
            for batch in batches(read_items(file, bar.read)):
                if not everything and _is_of_something_else(batch):
                    raise Refused(
                        f"{file.name} is no file of events: none of its first {_FIRST} items is JSON. Nothing"
                        " of it was sent; with --all it is, and what is refused is kept."
                    )
                sender.send(batch.items, encode, tally.note)
                bar.sent(batch)
        except Unsplittable as error:
            raise Refused(f"{file.name}: {error}. Nothing of it was sent.") from None
        except Unavailable:
            if not tally.accepted:
                raise
            note(f"Accepted before that: {many(tally.accepted, 'event')}. Send the same file again to go on.")
            raise
        name = service.name
    answer(choices, tally.document(), tally.lines(name))
    if tally.refused:
        raise click.exceptions.Exit(1)


def _is_of_something_else(batch: Batch) -> bool:
    """Whether a batch begins the input, and begins with many items of which none is JSON."""
    begins = [item for item in batch.items if item.place < _FIRST]
    return len(begins) == _FIRST and not any(_is_json(item.sent) for item in begins)


def _is_json(sent: bytes) -> bool:
    try:
        msgspec.json.decode(sent)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


class _Bar:
    """The progress bar on standard error: bytes of a file, or a running count of what a pipe gave."""

    def __init__(self, file: IO[bytes]) -> None:
        size = _size(file)
        self._by_size = size is not None
        self._count = 0
        self._pending = 0
        self._bar: Any = click.progressbar(
            length=size or 1,
            label="sending",
            file=sys.stderr,
            width=30,
            item_show_func=lambda _: many(self._count, "event"),
        )

    def __enter__(self) -> _Bar:
        self._bar.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._bar.__exit__(*raised)

    def read(self, size: int) -> None:
        """So many bytes were read and will be sent."""
        self._pending += size

    def sent(self, batch: Batch) -> None:
        """A batch has its answer."""
        self._count += len(batch.items)
        self._bar.update(self._pending if self._by_size else 0, current_item=True)
        self._pending = 0


def _size(file: IO[bytes]) -> int | None:
    try:
        here = file.tell()
        end = file.seek(0, 2)
        file.seek(here)
    except (OSError, ValueError):
        return None
    return end - here
