"""Rules over several fields of one event, which a field's type cannot say.

Each rule takes the decoded data and answers what is wrong, or None. A class of data has the rule of
the nearest class above it that has one in `RULES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import UNSET, json

from schemas import events
from schemas.fields import MAX_INPUT_BYTES
from schemas.shapes import schema_problem

Rule = Callable[[Any], str | None]


def target(data: events.Targeted) -> str | None:
    """A prediction is named by its id, or by its model and the product's join key."""
    if data.prediction_id is not UNSET:
        return None
    if data.join_key is UNSET:
        return "a target is missing: give `prediction_id`, or `model` with `join_key`"
    if data.model is UNSET:
        return "`join_key` needs `model`: the same case may be known to several models"
    return None


def target_or_subject(data: events.FeedbackComment | events.FeedbackRetraction) -> str | None:
    """The same, or a subject instead of a prediction."""
    if data.subject is not UNSET and data.join_key is UNSET:
        return None
    problem = target(data)
    return f"{problem}, or `subject`" if problem and data.join_key is UNSET else problem


def input_size(data: events.Data) -> str | None:
    """An input of at most 32 KiB as compact JSON. Not among `RULES`: a smaller event need not be asked."""
    if not isinstance(data, events.PredictionMade) or data.input is UNSET:
        return None
    if len(json.encode(data.input)) > MAX_INPUT_BYTES:
        return f"`input` is over {MAX_INPUT_BYTES} bytes: keep it and send `input_uri` or `input_ref`"
    return None


def one_shape(data: events.ModelDeclared) -> str | None:
    """Exactly one shape, which can be used."""
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
    events.Targeted: target,
    events.FeedbackComment: target_or_subject,
    events.FeedbackRetraction: target_or_subject,
    events.ModelDeclared: one_shape,
}


NAMING_A_TARGET: tuple[Rule, ...] = (target, target_or_subject)
"""The rules that let nothing pass which names nothing that it is about."""


class _ByClass(dict[type, Rule | None]):
    """The rule of each class of data: its own, or that of what it is a kind of."""

    def __missing__(self, data: type) -> Rule | None:
        rule = self[data] = next((RULES[kind] for kind in data.__mro__ if kind in RULES), None)
        return rule


rule_of = _ByClass().__getitem__
"""From a class of data to its rule, or None."""
