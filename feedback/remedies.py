"""What waits, one line a group, and what to do about it: for `loopline waiting` and `doctor`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from schemas import waits

_OTHERS = {
    waits.DECLARATION: ("labels of further versions", "declare them: `loopline model declare`"),
    waits.PREDICTION: ("events", "they join when the predictions come whose ids they name"),
    waits.JOIN_KEY: (
        "events",
        "they join when a prediction with their model and join key comes, not later than they",
    ),
    waits.EVENT: ("retractions", "they count when the events come that they take back"),
}


class Remedy(NamedTuple):
    """A group of what waits: what is seen, what to do, and whether somebody has to."""

    said: str
    do: str
    urgent: bool


def remedies(groups: Iterable[Mapping[str, Any]]) -> Iterator[Remedy]:
    """From the groups of `streams.queries.parked` to what to say of each."""
    for group in groups:
        name = group["waits_for"]
        count = f"{'over ' if group['more'] else ''}{group['events']:,}"
        undeclared = waits.declaration(name)
        if undeclared is not None:
            model, version = undeclared
            do = (
                f"loopline model declare {model} {version} --label ... (or --text, --json-schema FILE);"
                " with --and-later for the versions after it too"
            )
            yield Remedy(f"{name}: {count} {'label' if count == '1' else 'labels'}", do, urgent=True)
        else:
            what, do = _OTHERS[name]
            noun = what.removesuffix("s") if count == "1" else what
            yield Remedy(f"{name}: {count} {noun}", do, urgent=name == waits.DECLARATION)
