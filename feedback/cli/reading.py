"""`loopline waiting`, `labels` and `feedback`: what the views say, for people and programs."""

from __future__ import annotations

from typing import Any

import click

from feedback.cli.answers import answer, table
from feedback.cli.connecting import ask, connect, pages
from feedback.cli.endings import Refused
from feedback.cli.options import Choices, Group, Lazy, command
from feedback.service import path_of

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
    """Show what was accepted and waits: for its prediction, a declaration, or another event.

    Nothing here is lost. Each joins by itself when what it waits for comes.
    """
    with connect(choices) as service:
        items, more = first(pages(service, "v1", "waiting", most=limit + 1), limit)
    rows = [(item["waits_for"], f"{item['age_s']:.0f} s", item["type"], item["id"]) for item in items]
    lines = table(("waits for", "age", "type", "id"), rows) if rows else ["Nothing waits."]
    answer(choices, {"items": items, "more": more}, lines + more_than(more, limit))


@command(short_help="Show what people say the right labels are.")
@click.argument("model")
@click.option("--disagree", is_flag=True, help="Only predictions on which people disagree.")
@at_most
def labels(choices: Choices, model: str, disagree: bool, limit: int) -> None:
    """Show the labels of MODEL's predictions, each with how many people agree.

    A tie has no label. Only labels that fit the output that `loopline model declare` declared are there.
    """
    with connect(choices) as service:
        found = pages(service, "v1", "labels", model, most=limit + 1, disagree=1 if disagree else None)
        items, more = first(found, limit)
    rows = [
        (
            item["prediction_id"],
            item["label"],
            f"{item['agreement']:.0%}",
            item["people"],
            ", ".join(f"{candidate['label']} ({candidate['people']})" for candidate in item["candidates"]),
        )
        for item in items
    ]
    titles = ("prediction", "label", "agreement", "people", "candidates")
    lines = table(titles, rows) if rows else [f"There are no labels for {model} yet."]
    answer(choices, {"items": items, "more": more}, lines + more_than(more, limit))


@click.group(
    cls=Group,
    lazy={"list": Lazy("feedback.cli.lists", "list_feedback", "List what people said, newest first.")},
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
        items = ask(service, path_of("v1", "feedback", event_id, source=source))["items"]
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
