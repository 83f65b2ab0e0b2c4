"""Declared output shapes: does a label fit what a model version may answer?

A shape is the JSON of `events.OutputShape`: a set of labels (open or closed), any text, or a JSON
Schema. jsonschema is imported only for the third, and never follows a reference out of the schema.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec import UNSET, json

from schemas.canonical import canonical
from schemas.events import OutputShape


def schema_problem(schema: Any) -> str | None:
    """What is wrong with a JSON Schema of a declaration, or None."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
        _validator(schema).is_valid(None)
    except SchemaError as error:
        return f"`json_schema` is not a JSON Schema: {error.message[:200]}"
    except Unresolvable as error:
        return f"`json_schema` refers to {error.ref!r}, which is not inside it"
    except Exception as error:
        # A pattern that does not compile, a reference that never ends: the schema cannot be used.
        return f"`json_schema` cannot be used: {type(error).__name__}"
    return None


def _validator(schema: Any) -> Any:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    return Draft202012Validator(schema, registry=Registry())


@lru_cache(maxsize=256)
def fits(shape_json: str) -> Callable[[str], bool]:
    """The test of a shape: canonical JSON text of a label -> whether the label fits.

    `shape_json` is the JSON text of an `OutputShape`. Raises `msgspec.ValidationError` for other text.
    """
    shape = json.decode(shape_json, type=OutputShape)
    if shape.text is not UNSET:
        return lambda label: label.startswith('"')
    if shape.labels is not UNSET:
        known = frozenset(canonical(label) for label in shape.labels)
        if shape.open is True:
            texts = any(isinstance(label, str) for label in shape.labels)
            return lambda label: label in known or (texts and label.startswith('"'))
        return known.__contains__
    return _by_schema(shape.json_schema)


def _by_schema(schema: Any) -> Callable[[str], bool]:
    validator = _validator(schema)

    @lru_cache(maxsize=4096)
    def valid(label: str) -> bool:
        try:
            return bool(validator.is_valid(json.decode(label)))
        except Exception:
            # A reference that only this label reaches and that leads nowhere: it fits nothing.
            return False

    return valid
