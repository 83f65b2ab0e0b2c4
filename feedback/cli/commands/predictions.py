"""`loopline feedback list`, `predictions list` and `counts`: what was said, newest first, and how often.

A server's page may end early, with few items or none: whoever asks here gets what there is, up to the limit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from feedback.cli.answers import answer, table
from feedback.cli.commands.feedback import at_most, first, more_than
from feedback.cli.connect import ask, connect, pages
from feedback.cli.options import Choices, Group, command
from feedback.server_client import path_of
from schemas.describe.answers import COUNT_FIELDS
from schemas.kinds import FEEDBACK_KINDS, name_of

Function = Callable[..., Any]

_FRESH = ("complete_up_to", "mature_up_to")


def _filter(name: str, metavar: str, text: str, **more: Any) -> Callable[[Function], Function]:
    return click.option(f"--{name}", metavar=metavar, help=text, **more)


def _days(function: Function) -> Function:
    function = _filter("to", "DAY", "The last UTC day, included.", default=None)(function)
    return click.option("--from", "first_day", metavar="DAY", help="The first UTC day, as 2026-11-20.")(
        function
    )


_model = _filter("model", "MODEL", "Only of this model.")
_person = _filter("person", "ID", "Only of this person, by the pseudonymous id.")
_env = _filter("env", "NAME", "The environment, if it is not prod.")


@click.group(cls=Group, short_help="List predictions, and what was said of them.")
def predictions() -> None:
    """Look at predictions."""


@command("list", short_help="List predictions, newest first.")
@_model
@_filter("model-version", "VERSION", "Only of this version.")
@_filter("segment", "SEGMENT", "Only of this segment.")
@_filter("action", "ACTION", "Only where the product did this with the answer.")
@_person
@_filter(
    "feedback", "KIND[:VALUE]", "Only those of which this was said and counts, as thumb:down, correction."
)
@_days
@_env
@at_most
def list_predictions(choices: Choices, limit: int, first_day: str | None, **filters: str | None) -> None:
    """List predictions, newest first, each with how often what counts was said of it.

    \b
      loopline predictions list --model name-matcher --feedback thumb:down
      loopline predictions list --segment web --from 2026-11-20 --to 2026-11-20
    """
    with connect(choices) as service:
        found = pages(service, "v1", "predictions", most=limit + 1, **{"from": first_day}, **filters)
        items, more = first(found, limit)
    rows = [_prediction_row(item) for item in items]
    titles = ("at", "prediction", "model", "version", "segment", "output", "said")
    lines = table(titles, rows) if rows else ["There are no such predictions."]
    answer(choices, {"items": items, "more": more}, lines + more_than(more, limit))


def _prediction_row(item: Any) -> tuple[Any, ...]:
    data = item["prediction"]
    words = [f"{word} {n}" if n > 1 else word for word, n in item["feedback_counts"].items()]
    if item.get("feedback_counts_more"):
        words.append("and more")
    names = ("prediction_id", "model", "model_version", "segment", "output")
    return (item["at"], *(data.get(name) for name in names), ", ".join(words) or None)


@command("list", short_help="List what people said, newest first.")
@_model
@click.option("--kind", type=click.Choice(FEEDBACK_KINDS), help="Only this kind.")
@_filter("value", "WORD", "Only with this word, as down or copied.")
@_person
@_days
@_env
@at_most
def list_feedback(choices: Choices, limit: int, first_day: str | None, **filters: str | None) -> None:
    """List what people said, newest first.

    \b
      loopline feedback list --kind thumb --value down --model name-matcher
      loopline feedback list --person u-7

    What does not count was superseded or taken back, or waits; `loopline feedback show ID` says which.
    """
    with connect(choices) as service:
        found = pages(service, "v1", "feedback", most=limit + 1, **{"from": first_day}, **filters)
        items, more = first(found, limit)
    rows = [
        (
            item["at"],
            name_of(item["type"]),
            _what(item["data"]),
            item["person"],
            item["prediction_id"],
            "yes" if item["effective"] else "no",
            item["id"],
        )
        for item in items
    ]
    titles = ("at", "kind", "what", "person", "prediction", "counts", "id")
    lines = table(titles, rows) if rows else ["There is no such feedback."]
    answer(choices, {"items": items, "more": more}, lines + more_than(more, limit))


def _what(data: Any) -> Any:
    """What was said, of whichever kind."""
    words = ("label", "text", "value", "reason", "outcome", "explains")
    return next((data[name] for name in words if data.get(name) is not None), None)


predictions.add_command(list_predictions)


@command(short_help="Count what was said, by whatever is asked for.")
@click.option("--by", metavar="FIELD,...", help=f"What to group by: {', '.join(COUNT_FIELDS)}.")
@_model
@_days
@_env
def counts(choices: Choices, by: str | None, first_day: str | None, **filters: str | None) -> None:
    """Count events: `n` by the rules of what counts once, `events` all that were not taken back.

    Feedback is counted under its prediction's fields, and on its prediction's day.

    \b
      loopline counts --by kind,value --model name-matcher
      loopline counts --by day,kind --from 2026-11-01 --to 2026-11-30
    """
    query = {"by": by, "from": first_day, **filters}
    items: list[Any] = []
    fresh: dict[str, Any] = {}
    with connect(choices) as service:
        following = None
        while True:
            page = ask(service, path_of("v1", "counts", **query, limit=1000, next=following), "items")
            items += page["items"]
            fresh = {name: page[name] for name in _FRESH}
            following = page["next"]
            if following is None:
                break
    fields = [field for field in (by or "").split(",") if field]
    rows = [(*(item[field] for field in fields), item["n"], item["events"]) for item in items]
    lines = table((*fields, "n", "events"), rows) if rows else ["There is nothing to count: no such events."]
    lines.append(completeness(fresh["complete_up_to"]))
    answer(choices, {"items": items, **fresh}, lines)


def completeness(complete_up_to: str | None) -> str:
    """How complete some numbers are, in a sentence."""
    if complete_up_to is None:
        return "How complete these numbers are is not known yet."
    return f"Everything received up to {complete_up_to} is in these numbers."
