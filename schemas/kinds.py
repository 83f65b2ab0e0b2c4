"""The kinds of events, a row each: what its data is, what it is about, and what of it counts once.

A kind is the name of a CloudEvents type without prefix and version: `loopline.feedback.thumb.v1` is of the
kind `feedback.thumb`. Whatever treats one kind otherwise than another reads a column of this table, or names
a row: `kinds.THUMB`. Decoders are left to `schemas.catalog`, rules over several fields to `schemas.rules`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal

from schemas import events
from schemas.errors import Halt

PREFIX = "loopline."

FEEDBACK = "feedback."
"""How the names of all that people say begin."""

Once = Literal["prediction", "person", "word", "each", "never"]
"""What counts once: the first of a prediction; the latest of a person about a prediction, or of a person
about a prediction in a word; each event; or nothing. Without a person, each event is its own voter."""

Key = tuple[str, ...]
"""What an event is about: the field that its partition key is made of, or the first of these that it has."""

PREDICTION: Key = ("prediction_id",)
TARGET: Key = ("prediction_id", "join_key")
TARGET_OR_SUBJECT: Key = ("prediction_id", "join_key", "subject")
SUBJECT: Key = ("subject",)
MODEL: Key = ("model",)


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One kind of event: a row of the table."""

    name: str
    data: type[events.Data]
    """What the newest version of its data is."""
    key: Key
    once: Once
    word: str | None = None
    """The field with the word that it says."""
    json: str | None = None
    """The field that the views keep as JSON text: a label, or an outcome's number."""
    votes: bool = False
    """Whether it may vote for a label."""
    by_word: bool = True
    """Whether each word is counted for itself, where it has one."""
    version: int = 1

    type: str = field(init=False)
    """The CloudEvents type of the newest version: `loopline.feedback.thumb.v1`."""
    short: str = field(init=False)
    """The name without its family, as people ask for feedback: `thumb`."""
    is_feedback: bool = field(init=False)
    """Whether it is what people say, and not what they were shown or asked."""
    retractable: bool = field(init=False)
    """Whether a retraction may take it back: all feedback that counts."""
    about_model: bool = field(init=False)
    """Whether it is about a model, and about no prediction, case or subject."""
    counted: bool = field(init=False)
    """Whether the counts have its events one by one. Predictions are counted when they are made."""

    def __post_init__(self) -> None:
        # Settled here, for they are asked for at every event.
        for name, value in {
            "type": f"{PREFIX}{self.name}.v{self.version}",
            "short": self.name.rpartition(".")[2],
            "is_feedback": self.name.startswith(FEEDBACK),
            "retractable": self.name.startswith(FEEDBACK) and self.once != "never",
            "about_model": self.key == MODEL,
            "counted": self.once not in ("prediction", "never"),
        }.items():
            object.__setattr__(self, name, value)


PREDICTION_MADE = Kind("prediction.made", events.PredictionMade, PREDICTION, "prediction")
PREDICTION_SHOWN = Kind("prediction.shown", events.PredictionShown, PREDICTION, "each")
PROMPT_SHOWN = Kind("prompt.shown", events.Prompt, TARGET, "each", word="kind")
PROMPT_DISMISSED = Kind("prompt.dismissed", events.Prompt, TARGET, "each", word="kind")
ACTION = Kind("feedback.action", events.FeedbackAction, TARGET, "word", word="value")
THUMB = Kind("feedback.thumb", events.FeedbackThumb, TARGET, "person", word="value")
REASON = Kind("feedback.reason", events.FeedbackReason, TARGET, "word", word="reason")
COMMENT = Kind("feedback.comment", events.FeedbackComment, TARGET_OR_SUBJECT, "each")
CORRECTION = Kind(
    "feedback.correction", events.FeedbackCorrection, TARGET, "person", json="label", votes=True
)
CONFIRMATION = Kind(
    "feedback.confirmation", events.FeedbackConfirmation, TARGET, "person", word="value", votes=True
)
OUTCOME = Kind(
    "feedback.outcome", events.FeedbackOutcome, SUBJECT, "each", word="outcome", json="value", by_word=False
)
RETRACTION = Kind("feedback.retraction", events.FeedbackRetraction, TARGET_OR_SUBJECT, "never")
MODEL_DECLARED = Kind("model.declared", events.ModelDeclared, MODEL, "never")
MODEL_DEPLOYED = Kind("model.deployed", events.ModelDeployed, MODEL, "never")
MODEL_ROLLED_BACK = Kind("model.rolled_back", events.ModelRolledBack, MODEL, "never")
EVALUATION_RECORDED = Kind("evaluation.recorded", events.EvaluationRecorded, MODEL, "never")
DATASET_RELEASED = Kind("dataset.released", events.DatasetReleased, MODEL, "never")


class UnreadableTypes(Halt):
    """Loopline's data has event types that this version does not know; nothing of them may be skipped."""

    def __init__(self, types: Collection[str]) -> None:
        self.types = sorted(types)
        super().__init__(
            f"the log holds event types that this version does not know: {', '.join(self.types)}."
            " They were written by a newer version: upgrade this one. Nothing was skipped."
        )


class _Table(dict[str, Kind]):
    """Rows by name; a name without a row is from a newer version, which put it into the views."""

    def __missing__(self, name: str) -> Kind:
        raise UnreadableTypes([name])


KINDS = _Table((row.name, row) for row in tuple(globals().values()) if isinstance(row, Kind))
"""Every row above, by its name and in this order. Raises UnreadableTypes for any other name."""


def name_of(type_: str) -> str:
    """The kind of a CloudEvents type, whatever its version: that of `loopline.feedback.thumb.v1`."""
    return type_.removeprefix(PREFIX).rpartition(".v")[0]


FEEDBACK_KINDS = tuple(sorted(row.short for row in KINDS.values() if row.is_feedback))
"""The kinds of feedback by their short names, as readers ask for them: `thumb` is `feedback.thumb`."""

VOTING = frozenset(row.name for row in KINDS.values() if row.votes)
"""The names of the kinds that may vote for a label."""
