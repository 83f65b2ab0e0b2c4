"""What a parked event waits for, as a text: `prediction:ID`, `join_key:MODEL/KEY`, `event:ID` or
`declaration:MODEL@VERSION`.

The views keep this text, `GET /v1/waiting` and timelines show it, and groups of what waits are named by how
it begins. When an event waits is left to `streams`.
"""

from __future__ import annotations

PREDICTION, JOIN_KEY, EVENT, DECLARATION = "prediction", "join_key", "event", "declaration"
"""How the texts begin, before the colon."""


def for_prediction(prediction_id: str) -> str:
    """For the prediction of an id."""
    return f"{PREDICTION}:{prediction_id}"


def for_join_key(key: str) -> str:
    """For a prediction of a case, given as MODEL/KEY."""
    return f"{JOIN_KEY}:{key}"


def for_event(event_id: str) -> str:
    """For the event that a retraction takes back."""
    return f"{EVENT}:{event_id}"


def for_declaration(model: str, version: str) -> str:
    """For a declaration that serves a version of a model; of no version, how those of the model begin."""
    return f"{DECLARATION}:{model}@{version}"


def declaration(text: str) -> tuple[str, str] | None:
    """The model and version of a declaration that is waited for, or None where it is something else."""
    beginning, sign, rest = text.partition(":")
    if beginning != DECLARATION or not sign:
        return None
    model, _, version = rest.partition("@")
    return model, version
