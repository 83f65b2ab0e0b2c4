"""Declared output shapes: does a label fit what a model version may answer?

A shape is the JSON of `events.OutputShape`: a set of labels (open or closed), any text, or a JSON
Schema. jsonschema is imported only for the third, and never follows a reference out of the schema, nor
references without end. Patterns are Python's, which a pattern like `(a+)+$` can keep busy for ever:
whoever declares a version is trusted with that.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from msgspec import UNSET, json

from schemas.canonical import canonical
from schemas.events import OutputShape

MOST_REFERENCES = 20_000
"""So many references are followed to test one label: a few dozen can double each other into millions."""


def schema_problem(schema: Any) -> str | None:
    """What is wrong with a JSON Schema of a declaration, or None."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    try:
        Draft202012Validator.check_schema(schema)
        _follow_references(schema)
        _test(schema)(None)
    except SchemaError as error:
        return f"`json_schema` is not a JSON Schema: {error.message[:200]}"
    except Unresolvable as error:
        return f"`json_schema` refers to {error.ref[:200]!r}, which is not inside it"
    except Exception as error:
        # A pattern that does not compile, references that never end: the schema cannot be used.
        return f"`json_schema` cannot be used: {str(error)[:200] or type(error).__name__}"
    return None


def _follow_references(schema: Any) -> None:
    """Raises `referencing.exceptions.Unresolvable` for a reference that leads out of the schema."""
    from jsonschema_specifications import REGISTRY
    from referencing.jsonschema import DRAFT202012

    root = DRAFT202012.create_resource(schema)
    waiting = [(root, REGISTRY.resolver_with_root(root))]
    while waiting:
        resource, resolver = waiting.pop()
        if isinstance(resource.contents, dict) and "$ref" in resource.contents:
            resolver.lookup(resource.contents["$ref"])
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]


def _test(schema: Any) -> Callable[[Any], bool]:
    """The test of a JSON Schema: a value -> whether it is valid. It raises rather than go on for ever."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import extend
    from referencing import Registry

    followed = 0

    def counted(word: str) -> Any:
        follow = Draft202012Validator.VALIDATORS[word]

        def reference(validator: Any, target: Any, value: Any, within: Any) -> Any:
            nonlocal followed
            followed += 1
            if followed > MOST_REFERENCES:
                raise RecursionError(f"over {MOST_REFERENCES} references are to be followed")
            return follow(validator, target, value, within)

        return reference

    bounded = extend(Draft202012Validator, {word: counted(word) for word in ("$ref", "$dynamicRef")})
    validator = bounded(schema, registry=Registry())

    def valid(value: Any) -> bool:
        nonlocal followed
        followed = 0
        return bool(validator.is_valid(value))

    return valid


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
            kinds = frozenset(_kind(label) for label in known)
            return lambda label: label in known or _kind(label) in kinds
        return known.__contains__
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


def _by_schema(schema: Any) -> Callable[[str], bool]:
    test = _test(schema)

    @lru_cache(maxsize=4096)
    def valid(label: str) -> bool:
        try:
            return test(json.decode(label))
        except Exception:
            # It cannot be said whether it fits: references that only this label follows never end.
            return False

    return valid
