"""What the server takes: the data of each event type with its limits. Generated: do not edit.

Written by ``python -m schemas.describe.generate`` from the platform's ``schemas``; :mod:`loopline.admission`
and :mod:`loopline.delivery.answers` judge by it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

Data = TypeVar("Data")

MAX_EVENT_BYTES = 65536
MAX_INPUT_BYTES = 32768
MAX_DEPTH = 32
FIRST_YEAR = 1700

REFUSALS = (
    "invalid_json",
    "not_utf8",
    "invalid_value",
    "unknown_type",
    "unknown_field",
    "duplicate_key",
    "too_large",
    "too_deep",
)

TITLES = {
    "invalid_value": "A value is missing or not allowed",
    "unknown_field": "A field is not known here",
    "too_large": "This is too large",
    "too_deep": "This is nested too deeply",
}

Id = Annotated[str, Meta(min_length=1, max_length=256)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
Word = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}\Z")]
Segment = Annotated[str, Meta(max_length=128)]
Environment = Annotated[str, Meta(min_length=1, max_length=128)]
Sentence = Annotated[str, Meta(max_length=4096)]
Uri = Annotated[str, Meta(min_length=1, max_length=2048)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
ReleaseName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
DatasetVersion = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}@[1-9][0-9]{0,8}\Z")]
Probability = Annotated[float, Meta(ge=0, le=1)]
Duration = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=9007199254740992)]
Version = Annotated[int, Meta(ge=1, le=999999999)]
Text = Annotated[str, Meta(min_length=1, max_length=32768)]


class Alternative(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Another answer that the model held possible, with its confidence."""

    output: Any
    confidence: Probability | UnsetType = UNSET


class PredictionMade(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A model answered. `output` is null where a person answers first."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id
    model: Name
    model_version: Name
    output: Any
    confidence: Probability | UnsetType = UNSET
    alternatives: Annotated[list[Alternative], Meta(max_length=1000)] | UnsetType = UNSET
    ranked: Annotated[list[Id], Meta(max_length=1000)] | UnsetType = UNSET
    input: str | int | float | bool | list[Any] | dict[str, Any] | UnsetType = UNSET
    input_uri: Uri | UnsetType = UNSET
    input_ref: Sha256 | UnsetType = UNSET
    features: Annotated[dict[Id, str | int | float | bool | None], Meta(max_length=1000)] | UnsetType = UNSET
    segment: Segment | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    subject: Id | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    action: Word | UnsetType = UNSET
    asked: bool | UnsetType = UNSET
    ask_probability: Probability | UnsetType = UNSET
    audit: bool | UnsetType = UNSET
    audit_probability: Probability | UnsetType = UNSET
    config_version: Count | Id | UnsetType = UNSET


class PredictionShown(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What was really displayed: an output, or ids in order."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id
    shown: str | int | float | bool | list[Any] | dict[str, Any]


class Prompt(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A person was asked for feedback, or waved the question away: the denominator of response rates."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id
    kind: Word | UnsetType = UNSET


class FeedbackAction(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Direct implicit feedback: what a person did with the answer."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET
    value: Word
    duration_ms: Duration | UnsetType = UNSET
    amount: float | UnsetType = UNSET
    part: Text | UnsetType = UNSET


class FeedbackThumb(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Binary feedback."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET
    value: Literal["up", "down"]
    score: Probability | UnsetType = UNSET


class FeedbackReason(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Categorical feedback: what kind of wrong it was; it may explain a thumb."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET
    reason: Word
    explains: Id | UnsetType = UNSET


class FeedbackComment(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Free text about a prediction, or about a subject (a support ticket about no one answer)."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET
    text: Text
    subject: Id | UnsetType = UNSET
    explains: Id | UnsetType = UNSET


class FeedbackCorrection(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The right label, from a person; gold when it outranks any number of others."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET
    label: str | int | float | bool | list[Any] | dict[str, Any]
    gold: bool | UnsetType = UNSET
    explains: Id | UnsetType = UNSET


class FeedbackConfirmation(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An answer to "is this right?" about a prediction that was proposed, not asserted."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET
    value: Literal["yes", "no"]


class FeedbackOutcome(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Indirect implicit feedback: what became of a subject."""

    env: Environment | UnsetType = UNSET
    subject: Id
    outcome: Word
    model: Name | UnsetType = UNSET
    value: float | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET


class FeedbackRetraction(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Takes back one feedback event of the same source and target."""

    env: Environment | UnsetType = UNSET
    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: Id | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET
    explains: Id
    subject: Id | UnsetType = UNSET


class OutputShape(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """The shape of a model version's output: exactly one of labels, text or a JSON Schema."""

    labels: Annotated[list[str | int | float | bool], Meta(min_length=1)] | UnsetType = UNSET
    open: bool | UnsetType = UNSET
    text: Literal[True] | UnsetType = UNSET
    json_schema: dict[str, Any] | bool | UnsetType = UNSET


class ModelDeclared(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A model version exists, and its output has this shape. Immutable."""

    env: Environment | UnsetType = UNSET
    model: Name
    model_version: Name
    output_shape: OutputShape
    description: Sentence | UnsetType = UNSET
    later_versions: bool | UnsetType = UNSET


class ModelDeployed(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A model version began to serve; `datasets` says what it was trained on."""

    env: Environment | UnsetType = UNSET
    model: Name
    model_version: Name
    datasets: Annotated[list[DatasetVersion], Meta(max_length=1000)] | UnsetType = UNSET


class ModelRolledBack(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """An earlier version serves again."""

    env: Environment | UnsetType = UNSET
    model: Name
    model_version: Name
    why: Sentence | UnsetType = UNSET


class Metric(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """One measured number, with how many cases it rests on and its interval."""

    name: Id
    value: float
    n: Count | UnsetType = UNSET
    low: float | UnsetType = UNSET
    high: float | UnsetType = UNSET


class EvaluationRecorded(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """How a model version did, on which dataset and split: `MODEL@N`, or a name of the team's own."""

    env: Environment | UnsetType = UNSET
    model: Name
    model_version: Name
    metrics: Annotated[list[Metric], Meta(min_length=1, max_length=1000)]
    dataset: Id | UnsetType = UNSET
    split: Word | UnsetType = UNSET


class DatasetReleased(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A dataset version was cut from the log as of a vector of positions, and published."""

    env: Environment | UnsetType = UNSET
    model: Name
    name: ReleaseName | UnsetType = UNSET
    version: Version
    content_hash: Id
    as_of: Text
    rows: Count
    parents: Annotated[list[DatasetVersion], Meta(max_length=1000)] | UnsetType = UNSET


class Event(Struct, Generic[Data], kw_only=True, gc=False):
    """The envelope of an event."""

    specversion: Literal["1.0"]
    id: Id
    source: Id
    time: Annotated[datetime, Meta(tz=True)]
    data: Data


TYPES = {
    "loopline.prediction.made.v1": PredictionMade,
    "loopline.prediction.shown.v1": PredictionShown,
    "loopline.prompt.shown.v1": Prompt,
    "loopline.prompt.dismissed.v1": Prompt,
    "loopline.feedback.action.v1": FeedbackAction,
    "loopline.feedback.thumb.v1": FeedbackThumb,
    "loopline.feedback.reason.v1": FeedbackReason,
    "loopline.feedback.comment.v1": FeedbackComment,
    "loopline.feedback.correction.v1": FeedbackCorrection,
    "loopline.feedback.confirmation.v1": FeedbackConfirmation,
    "loopline.feedback.outcome.v1": FeedbackOutcome,
    "loopline.feedback.retraction.v1": FeedbackRetraction,
    "loopline.model.declared.v1": ModelDeclared,
    "loopline.model.deployed.v1": ModelDeployed,
    "loopline.model.rolled_back.v1": ModelRolledBack,
    "loopline.evaluation.recorded.v1": EvaluationRecorded,
    "loopline.dataset.released.v1": DatasetReleased,
}

RULES = {
    "loopline.prompt.shown.v1": "target",
    "loopline.prompt.dismissed.v1": "target",
    "loopline.feedback.action.v1": "target",
    "loopline.feedback.thumb.v1": "target",
    "loopline.feedback.reason.v1": "target",
    "loopline.feedback.comment.v1": "target_or_subject",
    "loopline.feedback.correction.v1": "target",
    "loopline.feedback.confirmation.v1": "target",
    "loopline.feedback.retraction.v1": "target_or_subject",
    "loopline.model.declared.v1": "one_shape",
}
