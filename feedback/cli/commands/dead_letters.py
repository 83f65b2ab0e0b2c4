"""`loopline dead-letters`: what was refused and why, and putting it back after a fix."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

import click

from feedback.cli.answers import answer, table
from feedback.cli.batches import Batch, Item, batches, encode
from feedback.cli.commands.send import Tally
from feedback.cli.connect import ask, connect, pages
from feedback.cli.options import Choices, Command, Group, command
from feedback.plurals import many
from feedback.server_client import EventSender, Service, path_of
from schemas.errors import Refused
from schemas.problems import CANNOT_FOLD
from streams.ingest.replay import NotAnObject, ReplayItem, by_content, marked, parse_name
from streams.queries.pages import token

JUDGED = (
    "it was accepted, and is judged by other events: it is judged again whenever those change, and"
    " nothing needs to be sent"
)
SET_ASIDE = (
    "it was accepted, and this version could not bring it into the views: upgrade, then `loopline replay`"
    " folds it again, and nothing needs to be sent"
)
_REPLAYING = {"Loopline-Replay": "1"}


@click.group(cls=Group, short_help="List, show and put back refused items.")
def dead_letters() -> None:
    """Look at what was refused, and put it back after a fix.

    Every refused item is kept with its bytes and a typed reason. `dead:4:0` was refused by the collector:
    fix what was wrong (a server that did not know the type, a field) and put it back. `0:17:3` was
    accepted and contradicts other events; it is judged again by itself when those change.
    """


@command("list", short_help="List what was refused.")
@click.option("--code", metavar="CODE", help="Only those with this problem code, as unknown_type.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@click.option("--put-back", is_flag=True, help="Also those that were put back and accepted.")
def list_command(choices: Choices, code: str | None, limit: int, put_back: bool) -> None:
    """List what was refused, oldest first."""
    items: list[Any] = []
    more = False
    settled = 0
    with connect(choices) as service:
        for item in pages(service, "v1", "dead-letters", code=code):
            settled += bool(item.get("settled"))
            if item.get("settled") and not put_back:
                continue
            more = len(items) == limit
            if more:
                break
            items.append(item)
    titles: tuple[str, ...] = ("dead letter", "code", "received", "id", "detail")
    rows: list[tuple[Any, ...]] = [
        (item["dead_letter"], item["code"], item["received"], item["id"], item["problem"]["detail"])
        for item in items
    ]
    if put_back:
        titles = ("state", *titles)
        rows = [
            ("settled" if item.get("settled") else "open", *row)
            for item, row in zip(items, rows, strict=True)
        ]
    nothing = "Nothing is open." if settled else "Nothing was refused."
    lines = table(titles, rows) if rows else [nothing]
    if settled and not put_back:
        lines.append(f"{settled} settled, put back and accepted: --put-back lists them too.")
    if more:
        lines.append(f"There are more than {limit}: --limit shows them.")
    answer(choices, {"items": items, "more": more, "settled": settled}, lines)


@command("show", short_help="Show one, with its bytes.")
@click.argument("name", metavar="ID")
@click.option("--bytes", "only_bytes", is_flag=True, help="Write the bytes as they were sent, nothing else.")
def show(choices: Choices, name: str, only_bytes: bool) -> None:
    """Show one dead letter: why it was refused, and the bytes as they were sent.

    \b
    To correct one and put it back:
      loopline dead-letters show dead:4:0 --bytes > item.json
      (edit item.json)
      loopline dead-letters replay dead:4:0 --with item.json
    """
    with connect(choices) as service:
        item = _find(service, name)
    sent = base64.b64decode(item["bytes"])
    if only_bytes:
        sys.stdout.buffer.write(sent)
        return
    what = _judged(item) if not parse_name(name).refused else f"loopline dead-letters replay {name}"
    state = "settled   it was put back and accepted" if item["settled"] else f"to do     {what}"
    lines = [
        f"{item['dead_letter']}  {item['code']}: {item['problem']['detail']}",
        f"  received  {item['received']}",
        f"  id        {item['id'] or '(could not be read)'}",
        f"  source    {item['source'] or '(could not be read)'}",
        f"  {state}",
        "",
        *sent.decode(errors="backslashreplace").split("\n"),
    ]
    answer(choices, item, lines)


@command("replay", short_help="Put refused items back after a fix.")
@click.argument("names", metavar="[ID]...", nargs=-1)
@click.option("--code", metavar="CODE", help="All with this problem code.")
@click.option("--all", "everything", is_flag=True, help="All that were not put back yet.")
@click.option(
    "--with", "fixed", type=click.File("rb"), metavar="FILE", help="Corrected bytes for the one ID."
)
def replay(
    choices: Choices, names: tuple[str, ...], code: str | None, everything: bool, fixed: IO[bytes] | None
) -> None:
    """Send refused items again, with their original bytes, after what was wrong has been fixed.

    What is accepted is settled. What is refused again stays open, once, and is told here; exit status 1.
    Corrected bytes need the source and id that the dead letter has; refused, they are a dead letter too.
    """
    if sum((bool(names), code is not None, everything)) != 1:
        raise click.UsageError("name dead letters, or give --code CODE, or --all: one of the three")
    if fixed is not None and len(names) != 1:
        raise click.UsageError("--with FILE puts one item back: name exactly one ID")
    with connect(choices) as service:
        found = _named(service, names) if names else _listed(service, code)
        sender = EventSender(service, choices["retry_for"], _REPLAYING)
        if fixed is not None:
            content = fixed.read()
            found = iter([{**item, "bytes": base64.b64encode(content)} for item in found])
        result = _put_back(sender, list(found))
    answer(choices, result.document(), result.lines())
    if result.refused:
        raise click.exceptions.Exit(1)


class _Result:
    """What became of the dead letters that were put back."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.refused: list[tuple[str, str, str]] = []
        self.judged: list[tuple[str, str, str]] = []

    def document(self) -> dict[str, Any]:
        """The answer for `--json`."""
        return {
            "accepted": self.accepted,
            "refused": [
                dict(zip(("dead_letter", "code", "detail"), each, strict=True)) for each in self.refused
            ],
            "judged_by_the_worker": [
                dict(zip(("dead_letter", "code", "detail"), each, strict=True)) for each in self.judged
            ],
        }

    def lines(self) -> list[str]:
        """The answer for people."""
        titles = ("dead letter", "code", "detail")
        lines = [f"{many(len(self.accepted), 'item')} put back and accepted"]
        if self.refused:
            lines += [f"{many(len(self.refused), 'item')} refused again:", *table(titles, self.refused)]
        if self.judged:
            whys = {SET_ASIDE if code == CANNOT_FOLD else JUDGED for _, code, _ in self.judged}
            lines += [
                f"{many(len(self.judged), 'verdict')} of the worker: {'; or '.join(sorted(whys))}",
                *table(titles, self.judged),
            ]
        return lines


def _put_back(sender: EventSender, items: list[Any]) -> _Result:
    """Try one item of each content; where it came through, mark the dead letters that are the same."""
    result = _Result()
    refusals = []
    for item in items:
        if parse_name(item["dead_letter"]).refused:
            refusals.append(ReplayItem(item["dead_letter"], base64.b64decode(item["bytes"])))
        else:
            result.judged.append((item["dead_letter"], item["code"], item["problem"]["detail"]))
    groups = by_content(refusals)
    refused = _send(sender, [group[0] for group in groups], result)
    _send(sender, [each for group in groups if group[0].name not in refused for each in group[1:]], result)
    for group in groups:
        if group[0].name in refused:
            code, detail = refused[group[0].name]
            result.refused += [(each.name, code, detail) for each in group]
    return result


def _judged(item: Any) -> str:
    """What to do about a dead letter that was accepted."""
    return SET_ASIDE if item["code"] == CANNOT_FOLD else JUDGED


def _send(sender: EventSender, refusals: list[ReplayItem], result: _Result) -> dict[str, tuple[str, str]]:
    """Send items again; returns which were refused again, and why."""
    refused: dict[str, tuple[str, str]] = {}
    sent: list[Item] = []
    for index, refusal in enumerate(refusals):
        try:
            sent.append(Item(index, marked(refusal.name, refusal.item)))
        except NotAnObject as error:
            refused[refusal.name] = ("invalid_json", f"{error}; correct it, and use --with")
    tally = Tally()
    for batch in _one_a_line(sent):
        sender.send(batch.items, encode, tally.note)
    for item in tally.refused:
        refused[refusals[item.place].name] = (item.code, item.detail)
    result.accepted += [refusal.name for refusal in refusals if refusal.name not in refused]
    return refused


def _one_a_line(items: Iterable[Item]) -> Iterator[Batch]:
    """Batches in which no broken item can hide another: what spans lines is sent by itself."""
    items = list(items)
    lines = [item for item in items if b"\n" not in item.sent]
    for batch in batches(item.sent for item in lines):
        yield Batch([lines[item.place] for item in batch.items])
    for item in items:
        if b"\n" in item.sent:
            yield Batch([item])


def _named(service: Service, names: Iterable[str]) -> Iterator[Any]:
    for name in names:
        item = _find(service, name)
        if item.get("settled"):
            raise Refused(f"{name} was put back and accepted before")
        yield item


def _listed(service: Service, code: str | None) -> Iterator[Any]:
    return (item for item in pages(service, "v1", "dead-letters", code=code) if not item.get("settled"))


def _find(service: Service, name: str) -> Any:
    """One dead letter: the page that begins right behind the place before it."""
    place = parse_name(name)
    before = token((place.partition, place.offset, place.place - 1))
    for item in ask(service, path_of("v1", "dead-letters", limit=1, next=before), "items")["items"]:
        if item["dead_letter"] == name:
            return item
    raise Refused(f"there is no dead letter {name}; `loopline dead-letters list` lists them")


COMMANDS: tuple[Command, ...] = (list_command, show, replay)
for each in COMMANDS:
    dead_letters.add_command(each)
