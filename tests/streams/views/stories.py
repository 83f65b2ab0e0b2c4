"""Events for the checks of views: every kind that is about a prediction or a subject, in any environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from schemas import kinds
from schemas.identity import prediction_key
from schemas.kinds import KINDS
from tests.streams.telling import told

Sent = tuple[bytes, int]
"""An event as sent, and when it was received (ns)."""

EXAMPLES: dict[str, dict[str, Any]] = {
    kinds.PREDICTION_SHOWN.name: {"shown": "a"},
    kinds.PROMPT_SHOWN.name: {"prompt_id": "q"},
    kinds.PROMPT_DISMISSED.name: {"prompt_id": "q"},
    kinds.ACTION.name: {"value": "copied"},
    kinds.THUMB.name: {"value": "up"},
    kinds.REASON.name: {"reason": "incorrect"},
    kinds.COMMENT.name: {"text": "hm"},
    kinds.CORRECTION.name: {"label": "b"},
    kinds.CONFIRMATION.name: {"value": "yes"},
    kinds.OUTCOME.name: {"subject": "s", "outcome": "churned"},
    kinds.RETRACTION.name: {"explains": "e"},
}
"""What an event of each kind says, beside what it is about and who says it."""

PREDICTIONS = 3


class Place(NamedTuple):
    """An environment in which the same is said: its ids are its own, models, subjects and inputs are not."""

    env: str = "prod"

    def prediction_id(self, number: int) -> str:
        """The id of one of its predictions."""
        return f"{self.env}-p{number}"

    def pids(self) -> set[bytes]:
        """The keys of its predictions."""
        return {prediction_key(self.prediction_id(number)) for number in range(PREDICTIONS)}

    def made(self, number: int) -> Sent:
        """A prediction with everything that a view may ask for."""
        return told(
            kinds.PREDICTION_MADE.name,
            f"{self.env}-made-{number}",
            prediction_id=self.prediction_id(number),
            model="m",
            model_version="1",
            output="a",
            join_key=f"{self.env}-k",
            subject="s",
            input="i",
            segment="de",
            audit=True,
            env=self.env,
        )

    def said(self, kind: str, event_id: str, number: int = 0, **data: Any) -> Sent:
        """An event of a kind about one of its predictions, unless the kind is about a subject.

        `data` is what it says besides or otherwise, as far as its kind may; None for what it does not say.
        """
        about = {} if KINDS[kind].key == kinds.SUBJECT else {"prediction_id": self.prediction_id(number)}
        fields = {**about, **EXAMPLES[kind], "env": self.env, **data}
        known = KINDS[kind].data.__struct_fields__
        there = {name: value for name, value in fields.items() if value is not None and name in known}
        return told(kind, f"{self.env}-{event_id}", 5, **there)


def retracted(place: Place, wanted: Iterable[str]) -> tuple[list[Sent], list[Sent]]:
    """Feedback of the wanted kinds by several people, and the retractions that take back all of it."""
    said, taken = [], []
    for event_id, kind, number, data in _feedback(wanted):
        said.append(place.said(kind, event_id, number, **data))
        about = {"subject": "s", "prediction_id": None} if KINDS[kind].key == kinds.SUBJECT else {}
        again = {key: value for key, value in data.items() if key in ("join_key", "model", "prediction_id")}
        naming = {**about, **again, "explains": f"{place.env}-{event_id}"}
        taken.append(place.said(kinds.RETRACTION.name, f"x-{event_id}", number, **naming))
    return said, taken


def _feedback(wanted: Iterable[str]) -> Iterator[tuple[str, str, int, dict[str, Any]]]:
    for kind in sorted(kind for kind in wanted if KINDS[kind].retractable):
        for person in ({"person": "ann"}, {"person": "bob"}, {"person": "cy"}, {}):
            who = person.get("person", "nobody")
            for number in range(PREDICTIONS):
                yield f"{kind}-{who}-{number}", kind, number, person
            if KINDS[kind].key != kinds.SUBJECT:
                by_key = {"prediction_id": None, "model": "m", "join_key": "prod-k"}
                yield f"{kind}-{who}-key", kind, 0, {**person, **by_key}
            if kind == kinds.CORRECTION.name:
                yield f"{kind}-{who}-odd", kind, 0, {**person, "label": "odd"}


def everything(place: Place, wanted: Iterable[str]) -> list[Sent]:
    """Predictions, and events of the wanted kinds about them and a subject, one of them of another model."""
    story = [place.made(number) for number in range(PREDICTIONS)]
    for kind in sorted(set(wanted) & EXAMPLES.keys()):
        story += [place.said(kind, f"{kind}-{number}", number, person="ann") for number in range(PREDICTIONS)]
        story.append(place.said(kind, f"{kind}-nobody", 1))
        if KINDS[kind].key == kinds.TARGET:
            story.append(place.said(kind, f"{kind}-other", 0, model="other"))
    return story
