"""The event types of Loopline: what each one's `data` holds.

Every type is a closed Struct: an unknown field is refused. A field left out is `UNSET`, never None,
so that encoding an event again yields the keys that came. Rules over several fields are in
`schemas.rules`; names, versions and decoders are in `schemas.catalog`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from schemas.fields import (
    Count,
    DatasetVersion,
    Duration,
    Environment,
    Id,
    Json,
    Name,
    PersonalAny,
    PersonalId,
    PersonalJson,
    Probability,
    ReleaseName,
    Scalar,
    Segment,
    Sentence,
    Sha256,
    Text,
    Uri,
    Version,
    Word,
)


class Data(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """What every type may say: the environment it happened in; only `prod` counts unless asked."""

    env: Environment | UnsetType = UNSET


class Alternative(Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """Another answer that the model held possible, with its confidence."""

    output: PersonalAny
    confidence: Probability | UnsetType = UNSET


class PredictionMade(Data, kw_only=True):
    """A model answered. `output` is null where a person answers first."""

    prediction_id: Id
    model: Name
    model_version: Name
    output: PersonalAny
    confidence: Probability | UnsetType = UNSET
    alternatives: Annotated[list[Alternative], Meta(max_length=1000)] | UnsetType = UNSET
    ranked: Annotated[list[Id], Meta(max_length=1000)] | UnsetType = UNSET
    input: PersonalJson | UnsetType = UNSET
    input_uri: Uri | UnsetType = UNSET
    input_ref: Sha256 | UnsetType = UNSET
    features: Annotated[dict[Id, Scalar], Meta(max_length=1000)] | UnsetType = UNSET
    segment: Segment | UnsetType = UNSET
    person: PersonalId | UnsetType = UNSET
    subject: PersonalId | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    action: Word | UnsetType = UNSET
    asked: bool | UnsetType = UNSET
    ask_probability: Probability | UnsetType = UNSET
    audit: bool | UnsetType = UNSET
    audit_probability: Probability | UnsetType = UNSET
    config_version: Count | Id | UnsetType = UNSET


class PredictionShown(Data, kw_only=True):
    """What was really displayed: an output, or ids in order."""

    prediction_id: Id
    shown: Json


class Targeted(Data, kw_only=True):
    """What is said about a prediction: named by id, or by its model and the product's own join key."""

    prediction_id: Id | UnsetType = UNSET
    model: Name | UnsetType = UNSET
    join_key: Id | UnsetType = UNSET
    person: PersonalId | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET


class Prompt(Targeted, kw_only=True):
    """A person was asked for feedback, or waved the question away: the denominator of response rates."""

    # The contract requires the prompt's own id here, unlike in feedback.
    prompt_id: Id
    kind: Word | UnsetType = UNSET


class FeedbackAction(Targeted, kw_only=True):
    """Direct implicit feedback: what a person did with the answer."""

    value: Word
    duration_ms: Duration | UnsetType = UNSET
    amount: float | UnsetType = UNSET
    part: Text | UnsetType = UNSET


class FeedbackThumb(Targeted, kw_only=True):
    """Binary feedback."""

    value: Literal["up", "down"]
    score: Probability | UnsetType = UNSET


class FeedbackReason(Targeted, kw_only=True):
    """Categorical feedback: what kind of wrong it was; it may explain a thumb."""

    reason: Word
    explains: Id | UnsetType = UNSET


class FeedbackComment(Targeted, kw_only=True):
    """Free text about a prediction, or about a subject (a support ticket about no one answer)."""

    text: Text
    subject: PersonalId | UnsetType = UNSET
    explains: Id | UnsetType = UNSET


class FeedbackCorrection(Targeted, kw_only=True):
    """The right label, from a person; gold when it outranks any number of others."""

    label: PersonalJson
    gold: bool | UnsetType = UNSET
    explains: Id | UnsetType = UNSET


class FeedbackConfirmation(Targeted, kw_only=True):
    """An answer to "is this right?" about a prediction that was proposed, not asserted."""

    value: Literal["yes", "no"]


class FeedbackOutcome(Data, kw_only=True):
    """Indirect implicit feedback: what became of a subject."""

    subject: PersonalId
    outcome: Word
    model: Name | UnsetType = UNSET
    value: float | UnsetType = UNSET
    person: PersonalId | UnsetType = UNSET
    prompt_id: Id | UnsetType = UNSET


class FeedbackRetraction(Targeted, kw_only=True):
    """Takes back one feedback event of the same source and target."""

    explains: Id
    subject: PersonalId | UnsetType = UNSET


class OutputShape(Struct, forbid_unknown_fields=True, kw_only=True):
    """The shape of a model version's output: exactly one of labels, text or a JSON Schema."""

    labels: Annotated[list[str | int | float | bool], Meta(min_length=1)] | UnsetType = UNSET
    open: bool | UnsetType = UNSET
    text: Literal[True] | UnsetType = UNSET
    json_schema: dict[str, Any] | bool | UnsetType = UNSET


class ModelDeclared(Data, kw_only=True):
    """A model version exists, and its output has this shape. Immutable.

    With `later_versions` it serves every version of its model that has no declaration of its own.
    """

    model: Name
    model_version: Name
    output_shape: OutputShape
    description: Sentence | UnsetType = UNSET
    later_versions: bool | UnsetType = UNSET


class ModelDeployed(Data, kw_only=True):
    """A model version began to serve; `datasets` says what it was trained on."""

    model: Name
    model_version: Name
    datasets: Annotated[list[DatasetVersion], Meta(max_length=1000)] | UnsetType = UNSET


class ModelRolledBack(Data, kw_only=True):
    """An earlier version serves again."""

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


class EvaluationRecorded(Data, kw_only=True):
    """How a model version did, on which dataset and split: `MODEL@N`, or a name of the team's own."""

    model: Name
    model_version: Name
    metrics: Annotated[list[Metric], Meta(min_length=1, max_length=1000)]
    dataset: Id | UnsetType = UNSET
    split: Word | UnsetType = UNSET


class DatasetReleased(Data, kw_only=True):
    """A dataset version was cut from the log as of a vector of positions, and published."""

    model: Name
    name: ReleaseName | UnsetType = UNSET
    version: Version
    content_hash: Id
    as_of: Annotated[str, Meta(min_length=1, max_length=32768)]
    rows: Count
    parents: Annotated[list[DatasetVersion], Meta(max_length=1000)] | UnsetType = UNSET
