"""What each field of an event means, in a line: for the JSON Schemas, the OpenAPI document and the pages.

What a type means is its Struct's docstring, and what a field may hold is its type; here is what people
ask next. A field means the same in every type that has it, unless the type is named.
"""

from __future__ import annotations

from schemas.errors import Malformed

_FIELDS = {
    "action": "What the product did with the answer: show, confirm, fall back, abstain, its own.",
    "alternatives": "Other answers that the model held possible.",
    "alternatives[].confidence": "How sure the model was of it.",
    "alternatives[].output": "The other answer.",
    "amount": "How much of it: the edit distance, the rank that was clicked.",
    "as_of": "Up to where in the log it was cut: `PARTITION:OFFSET,...`.",
    "ask_probability": "With which probability the product asked for feedback, to weigh what came.",
    "asked": "Whether the product asked for feedback on it.",
    "audit": "Whether it is in the audited sample. Its input trains no model from then on.",
    "audit_probability": "With which probability it was chosen for audit.",
    "confidence": "How sure the model was of its output.",
    "config_version": "The version of the guardrail configuration that decided.",
    "content_hash": "The hash of the release's canonical rows.",
    "dataset": "What it was measured on: a release `MODEL@N`, or a name of your own.",
    "datasets": "What the version was trained on.",
    "description": "What the version is, for people.",
    "duration_ms": "How long the person took, in milliseconds.",
    "env": "Where it happened; `prod` when left out. Only `prod` counts and trains unless somebody asks.",
    "explains": "The id of the event, of the same source and about the same target, that this belongs to.",
    "features": "What the model saw, as far as it may be kept: slices and drift are looked for by it.",
    "gold": "Whether it outranks any number of others: an expert's answer.",
    "input": "What the model was asked. Kept only if you send it.",
    "input_ref": "SHA-256 of the input as RFC 8785 JSON; computed when `input` is there.",
    "input_uri": "Where the input lies, if you keep it yourself.",
    "join_key": "The product's own id of the case: a ticket, an order, a report.",
    "kind": "Which question it was.",
    "later_versions": "Whether it serves every version of the model without a declaration of its own.",
    "label": "The right answer.",
    "metrics": "What was measured.",
    "metrics[].high": "The upper end of its interval.",
    "metrics[].low": "The lower end of its interval.",
    "metrics[].n": "How many cases it rests on.",
    "metrics[].name": "What it is called.",
    "metrics[].value": "The number.",
    "model": "Which model.",
    "model_version": "Which version of it.",
    "outcome": "What became of the subject.",
    "output": "The answer; null where a person answers first.",
    "output_shape": "What its answers look like: labels and corrections are checked against it.",
    "output_shape.json_schema": "A JSON Schema (2020-12) that refers to nothing outside of it.",
    "output_shape.labels": "The labels that it knows.",
    "output_shape.open": "Whether people may find labels that are not listed.",
    "output_shape.text": "Any text.",
    "parents": "The releases that it follows.",
    "part": "What was copied, sent or kept of the answer.",
    "person": "Who, by a pseudonymous id. Per person, the latest vote counts.",
    "prediction_id": "Which answer of the model.",
    "prompt_id": "Which time that the person was asked.",
    "ranked": "The ids of the answers in the model's order.",
    "reason": "What kind of wrong it was.",
    "rows": "How many rows it has.",
    "score": "How much, where the product asks for stars or a slider.",
    "segment": "The group of cases that it belongs to, for counts and rates by group.",
    "shown": "What was displayed: an output, or ids in order.",
    "split": "Which part of the dataset.",
    "subject": "Whom it is about, by a pseudonymous id: what outcomes are joined by.",
    "text": "What the person wrote.",
    "version": "The number of the release.",
    "why": "Why, for people.",
}

_OF_TYPES = {
    ("dataset.released.v1", "name"): "The name of a release with filters: it is `MODEL.NAME@VERSION`.",
    ("evaluation.recorded.v1", "model_version"): "Which version was measured.",
    ("feedback.action.v1", "value"): "What the person did.",
    ("feedback.comment.v1", "subject"): "Whom it is about, where it is about no one answer.",
    ("feedback.confirmation.v1", "value"): "Whether the proposed answer is right.",
    ("feedback.outcome.v1", "value"): "How much: what the renewal was worth.",
    ("feedback.reason.v1", "explains"): "The id of the thumb that this is the second step of.",
    ("feedback.retraction.v1", "explains"): "The id of what is taken back.",
    (
        "feedback.retraction.v1",
        "subject",
    ): "Whom the event that is taken back is about.",
    ("feedback.thumb.v1", "value"): "Good or bad.",
    ("model.rolled_back.v1", "model_version"): "The version that serves now.",
}


class NoMeaning(Malformed):
    """A field of an event type is not explained."""


def meaning(name: str, field: str) -> str:
    """What a field of an event type means; `field` is a path, as in `metrics[].low`. Raises NoMeaning."""
    found = _OF_TYPES.get((name, field)) or _FIELDS.get(field)
    if found is None:
        raise NoMeaning(
            f"nothing says what `{field}` of {name} means: add a line to schemas/describe/meanings.py"
        )
    return found


def unused(known: set[tuple[str, str]]) -> list[str]:
    """Meanings of what is not among the known (type, field) pairs: of fields that are gone."""
    fields = {field for _, field in known}
    return sorted(
        [field for field in _FIELDS if field not in fields]
        + [f"{name} {field}" for name, field in _OF_TYPES if (name, field) not in known]
    )
