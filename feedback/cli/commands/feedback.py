"""`loopline waiting`, `labels` and `feedback`: what the views say, for people and programs."""

from __future__ import annotations

from typing import Any

import click

from feedback.cli.answers import answer, table
from feedback.cli.connect import ask, connect, pages
from feedback.cli.options import Choices, Group, Lazy, command
from feedback.plurals import many
from feedback.remedies import remedies
from feedback.server_client import path_of
from feedback.shares import share, shown
from models.estimate import estimate
from schemas.errors import Refused

at_most = click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many."
)


def first(items: Any, limit: int) -> tuple[list[Any], bool]:
    """Up to `limit` items, and whether there are more."""
    found: list[Any] = []
    for item in items:
        if len(found) == limit:
            return found, True
        found.append(item)
    return found, False


def more_than(more: bool, limit: int) -> list[str]:
    """The line that says so, if there are more."""
    return [f"There are more than {limit}: --limit shows them."] if more else []


@command(short_help="Show what waits, and for what.")
@at_most
def waiting(choices: Choices, limit: int) -> None:
    """Show what was accepted and waits: how much for what, what to do about it, and each event.

    Nothing here is lost. Each joins by itself when what it waits for comes.
    """
    with connect(choices) as service:
        groups = ask(service, path_of("v1", "waiting", limit=1), "items").get("groups", [])
        items, more = first(pages(service, "v1", "waiting", most=limit + 1), limit)
    told = [line for each in remedies(groups) for line in (each.said, f"  -> {each.do}")]
    rows = [(item["waits_for"], f"{item['age_s']:.0f} s", item["type"], item["id"]) for item in items]
    lines = [*told, "", *table(("waits for", "age", "type", "id"), rows)] if rows else ["Nothing waits."]
    answer(choices, {"groups": groups, "items": items, "more": more}, lines + more_than(more, limit))


@command(short_help="Show what people say the right labels are.")
@click.argument("model")
@click.option("--disagree", is_flag=True, help="Only predictions on which people disagree.")
@at_most
def labels(choices: Choices, model: str, disagree: bool, limit: int) -> None:
    """Show the labels of MODEL's predictions, each with how many people agree.

    A tie has no label. Only labels that fit the output that `loopline model declare` declared are there;
    how many were refused is said below them. An agreement is the winner's votes of all; from
    30 votes on it is a share with its 95% interval.
    """
    with connect(choices) as service:
        begins = ask(service, path_of("v1", "labels", model, limit=1), "items")
        found = pages(service, "v1", "labels", model, most=limit + 1, disagree=1 if disagree else None)
        items, more = first(found, limit)
    refused = begins.get("refused")
    rows = [
        (
            item["prediction_id"],
            item["label"],
            _agreement(round(item["agreement"] * item["people"]), item["people"]),
            item["people"],
            ", ".join(f"{candidate['label']} ({candidate['people']})" for candidate in item["candidates"]),
        )
        for item in items
    ]
    titles = ("prediction", "label", "agreement", "people", "candidates")
    if rows:
        lines = table(titles, rows)
    elif begins["items"]:
        lines = [f"Nobody disagrees: people say one label for each prediction of {model} that has any."]
    else:
        lines = [f"There are no labels for {model} yet."]
    lines += more_than(more, limit) + _refused(refused)
    answer(choices, {"items": items, "more": more, "refused": refused}, lines)


def _agreement(votes: int, people: int) -> str:
    """The winner's share of the votes; where they are too few for a share, their count."""
    agreement = estimate(votes, people)
    return shown(agreement, digits=0) if agreement.enough else f"{votes} of {people}"


def _refused(refused: Any) -> list[str]:
    """How many labels were refused and why, if any were."""
    if not refused or not refused["label_invalid"]:
        return []
    invalid, corrections = refused["label_invalid"], refused["corrections"]
    sure = share(invalid, max(corrections, invalid))
    return [
        f"{invalid:,} of {many(corrections, 'correction')} gave no label (label_invalid): it does not fit",
        f"what the version declared. That is {sure}. They count as feedback that the",
        "output was wrong; `loopline dead-letters list --code label_invalid` lists them.",
    ]


@click.group(
    cls=Group,
    lazy={
        "list": Lazy(
            "feedback.cli.commands.predictions", "list_feedback", "List what people said, newest first."
        )
    },
    short_help="List what people said, and show what became of it.",
)
def feedback() -> None:
    """Look at what people said: all of it, newest first, or what became of one piece."""


@command("show", short_help="Show one event's timeline.")
@click.argument("event_id", metavar="ID")
@click.option("--source", metavar="SOURCE", help="Only from this source, where several use the same id.")
def show(choices: Choices, event_id: str, source: str | None) -> None:
    """Show what is true now about the feedback event ID: each stage it has reached, and when."""
    with connect(choices) as service:
        items = ask(service, path_of("v1", "feedback", event_id, source=source), "items")["items"]
    if not items:
        raise Refused(
            f"no feedback event {event_id} is known. If it was sent a moment ago, ask again;"
            " if it was refused, `loopline dead-letters list` has it."
        )
    lines: list[str] = []
    for item in items:
        about = f" about {item['prediction_id']}" if item.get("prediction_id") else ""
        lines += [f"{item['id']}  {item['type'] or 'unreadable'}{about}  from {item['source']}"]
        for stage in item["timeline"]:
            extras = ", ".join(
                f"{name} {value}" for name, value in stage.items() if name not in ("stage", "at")
            )
            lines.append(f"  {stage['stage']:<12} {stage['at']}  {extras}".rstrip())
    answer(choices, {"items": items}, lines)


feedback.add_command(show)
