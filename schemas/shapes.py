"""Declared output shapes: does a label fit what a model version may answer?

A shape is the JSON of `events.OutputShape`: a set of labels (open or closed), any text, or a JSON
Schema, which `schemas.validator` checks in counted steps. Whether a label fits depends on shape and label
alone: it is the same on every engine, and each time the log is folded.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from hashlib import blake2b
from typing import Any

from msgspec import UNSET, json

from schemas.events import OutputShape
from schemas.normal_json import normal_json

_REMEMBERED_LABELS = 4096
_SHORT = 64
_REMEMBERED_BYTES = 2 * 1024 * 1024


class Fit(Enum):
    """Whether a label fits; if not, the text says why."""

    FITS = ""
    OTHER = "the label does not fit the output that the prediction's version declared"
    TOO_COSTLY = (
        "whether the label fits the declared JSON Schema cannot be said within the steps that one label may"
        " take: declare a simpler schema with the next version of the model, or send a smaller label"
    )
    UNUSABLE = (
        "the declared JSON Schema cannot be used by this version, so no label fits it: declare the next"
        " version of the model with another one"
    )


class Shape:
    """The test of a shape: canonical JSON text of a label -> whether the label fits."""

    def __init__(self, judge: Callable[[str], Fit]) -> None:
        self.verdict = judge

    def __call__(self, label: str) -> bool:
        """Whether a label fits."""
        return self.verdict(label) is Fit.FITS


def schema_problem(schema: Any) -> str | None:
    """What is wrong with a JSON Schema of a declaration, or None."""
    from schemas.validator.compiler import CannotBeUsed, NotASchema, Outside
    from schemas.validator.keywords import compiled

    try:
        compiled(schema)
    except NotASchema as error:
        return f"`json_schema` is not a JSON Schema: {str(error)[:400]}"
    except Outside as error:
        return f"`json_schema` refers to {str(error)[:200]!r}, which is not inside it"
    except CannotBeUsed as error:
        return f"`json_schema` cannot be used: {str(error)[:400]}"
    return None


class _Shapes(dict[str, Shape]):
    """The shapes that were asked for, by their JSON text; all are let go of when they are many bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def __missing__(self, text: str) -> Shape:
        shape = _shape(text)
        if self._bytes + len(text) > _REMEMBERED_BYTES:
            self.clear()
            self._bytes = 0
        self._bytes += len(text) + _SHORT
        self[text] = shape
        return shape


_shapes = _Shapes()


def fits(shape_json: str) -> Shape:
    """The test of a shape, by the JSON text of an `OutputShape`.

    Raises `msgspec.ValidationError` for other text. A JSON Schema that cannot be used fits nothing: it was
    declared when more was taken.
    """
    return _shapes[shape_json]


def _shape(shape_json: str) -> Shape:
    shape = json.decode(shape_json, type=OutputShape)
    if shape.text is not UNSET:
        return _among(lambda label: label.startswith('"'))
    if shape.labels is not UNSET:
        known = frozenset(normal_json(label) for label in shape.labels)
        if shape.open is True:
            kinds = frozenset(_kind(label) for label in known)
            return _among(lambda label: label in known or _kind(label) in kinds)
        return _among(known.__contains__)
    return _by_schema(shape.json_schema)


def _kind(label: str) -> str:
    """The JSON type of a canonical text, by its first character: a number's is a digit or a minus."""
    first = label[0]
    return "0" if first in "-0123456789" else "t" if first in "tf" else first


def only_texts(shape_json: str) -> bool:
    """Whether every label that fits a shape is a text. `shape_json` is the JSON text of an `OutputShape`."""
    shape = json.decode(shape_json, type=OutputShape)
    if shape.text is not UNSET:
        return True
    if shape.labels is not UNSET:
        return all(isinstance(label, str) for label in shape.labels)
    schema = shape.json_schema
    if not isinstance(schema, dict):
        return False
    listed = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(listed, list):
        return all(isinstance(label, str) for label in listed)
    return schema.get("type") in ("string", ["string"])


def _among(is_known: Callable[[str], bool]) -> Shape:
    return Shape(lambda label: Fit.FITS if is_known(label) else Fit.OTHER)


def _by_schema(schema: Any) -> Shape:
    from schemas.validator.compiler import CannotBeUsed, NotASchema, Outside
    from schemas.validator.keywords import compiled
    from schemas.validator.steps import OutOfSteps, Run

    try:
        root = compiled(schema)
    except (NotASchema, Outside, CannotBeUsed):
        return Shape(lambda label: Fit.UNUSABLE)
    known: dict[str | bytes, Fit] = {}

    def judged(label: str) -> Fit:
        # Labels may be long, and what is told again is mostly short.
        key = label if len(label) <= _SHORT else blake2b(label.encode(), digest_size=16).digest()
        verdict = known.get(key)
        if verdict is None:
            try:
                verdict = Fit.FITS if root.holds(json.decode(label), Run()) else Fit.OTHER
            except OutOfSteps:
                verdict = Fit.TOO_COSTLY
            if len(known) >= _REMEMBERED_LABELS:
                known.clear()
            known[key] = verdict
        return verdict

    return Shape(judged)
