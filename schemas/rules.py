"""Rules over several fields of one event, which a field's type cannot say.

Each rule takes the decoded data and answers what is wrong, or None. The types that have no entry in
`RULES` have no such rule.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, json

from schemas import events
from schemas.fields import MAX_INPUT_BYTES
from schemas.shapes import schema_problem

Rule = Callable[[Any], str | None]


def _target(data: events.Targeted) -> str | None:
    if data.prediction_id is not UNSET:
        return None
    if data.join_key is UNSET:
        return "a target is missing: give `prediction_id`, or `model` with `join_key`"
    if data.model is UNSET:
        return "`join_key` needs `model`: the same case may be known to several models"
    return None


def _target_or_subject(data: events.FeedbackComment | events.FeedbackRetraction) -> str | None:
    if data.subject is not UNSET and data.join_key is UNSET:
        return None
    problem = _target(data)
    return f"{problem}, or `subject`" if problem and data.join_key is UNSET else problem


def _input_size(data: events.PredictionMade) -> str | None:
    if data.input is not UNSET and len(json.encode(data.input)) > MAX_INPUT_BYTES:
        return f"`input` is over {MAX_INPUT_BYTES} bytes: keep it and send `input_uri` or `input_ref`"
    return None


def _one_shape(data: events.ModelDeclared) -> str | None:
    shape = data.output_shape
    given = [name for name in ("labels", "text", "json_schema") if getattr(shape, name) is not UNSET]
    if len(given) != 1:
        return "`output_shape` needs exactly one of `labels`, `text` and `json_schema`"
    if shape.open is not UNSET and shape.labels is UNSET:
        return "`open` goes with `labels` only"
    if shape.json_schema is not UNSET:
        return schema_problem(shape.json_schema)
    return None


RULES: dict[type[events.Data], Rule] = {
    events.Prompt: _target,
    events.FeedbackAction: _target,
    events.FeedbackThumb: _target,
    events.FeedbackReason: _target,
    events.FeedbackComment: _target_or_subject,
    events.FeedbackCorrection: _target,
    events.FeedbackConfirmation: _target,
    events.FeedbackRetraction: _target_or_subject,
    events.PredictionMade: _input_size,
    events.ModelDeclared: _one_shape,
}
