"""The data of an event as it is read from the log: which fields there are, and their types, for mypy.

The catalogue makes a decoder of each kind's data without its limits (`Catalog.read`); what was left out is
None. Code that treats all kinds alike knows `LoggedData`; code that treats one kind by itself knows the
Protocol of that kind. A test compares the fields with those that the catalogue decodes.
"""

from __future__ import annotations

from typing import Any, Protocol


class LoggedData(Protocol):
    """What the data of every event has, whatever its kind: None where the kind has no such field."""

    env: str | None
    prediction_id: str | None
    join_key: str | None
    subject: str | None
    person: str | None
    model: str | None
    explains: str | None
    gold: bool | None
    text: str | None


class LoggedPrediction(LoggedData, Protocol):
    """The data of `prediction.made`, as far as the views keep it."""

    prediction_id: str
    model: str
    model_version: str
    output: Any
    confidence: float | None
    input: dict[str, Any] | list[Any] | str | int | float | bool | None
    input_ref: str | None
    segment: str | None
    action: str | None
    ask_probability: float | None
    audit: bool | None
    audit_probability: float | None


class LoggedModelEvent(LoggedData, Protocol):
    """The data of what is about a model: declarations, deployments, rollbacks, evaluations, releases."""

    model: str


class LoggedDeclaration(LoggedModelEvent, Protocol):
    """The data of `model.declared`."""

    model_version: str
    output_shape: Any
    later_versions: bool | None
