"""What each word of JSON Schema 2020-12 means: from its value in a schema to the check of a value.

A reader is called with the word's value and makes its check; readers refuse what the standard's own schema
refuses. `format`, contents and descriptions are notes for people here, as the standard has it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sized
from typing import Any

from schemas.normal_json import normal_json
from schemas.validator import members
from schemas.validator.compiler import Check, Compiler, Node, subschemas
from schemas.validator.location import Location, is_count, matching, text_of
from schemas.validator.numbers import is_multiple
from schemas.validator.steps import Evaluated, Run

_ANCHOR = re.compile(r"[A-Za-z_][-A-Za-z0-9._]*\Z")


def compiled(schema: Any) -> Node:
    """What checks a value by a JSON Schema. Raises NotASchema, Outside or CannotBeUsed."""
    return Compiler(schema, read).compile()


def read(compiler: Compiler, schema: dict[str, Any], node: Node, path: str) -> None:
    """Make the checks of a schema's words. Raises NotASchema, Outside or CannotBeUsed."""
    location = Location(compiler, schema, node, path)
    for word, is_right, what in _NOTES:
        if word in schema:
            location.expect(word, is_right(schema[word]), what)
    for word, reader in _READERS.items():
        if word in schema:
            check = reader(location, word)
            if check is not None:
                node.checks.append(check)
    for word, reader in _LAST.items():
        if word in schema:
            check = reader(location, word)
            if check is not None:
                node.last.append(check)
    # What no word applies is read too: it may be referred to, and has to be a schema in any case.
    for inner, each in subschemas(schema):
        compiler.node(each, node.resource, f"{path}/{inner}")


# -------------------------------------------------------------------------------------------- any value


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: type(value) is bool,
    "object": lambda value: type(value) is dict,
    "array": lambda value: type(value) is list,
    "number": _is_number,
    "integer": lambda value: type(value) is int or (type(value) is float and value.is_integer()),
    "string": lambda value: type(value) is str,
}


def _type(location: Location, word: str) -> Check:
    said = location.schema[word]
    names = said if isinstance(said, list) else [said]
    known = all(isinstance(name, str) and name in _TYPES for name in names)
    location.expect(
        word, bool(names) and known and len(set(names)) == len(names), f"one of {', '.join(_TYPES)}"
    )
    tests = [_TYPES[name] for name in names]
    if len(tests) == 1:
        [test] = tests
        return lambda value, run, noted: test(value)
    return lambda value, run, noted: any(test(value) for test in tests)


def _const(location: Location, word: str) -> Check:
    wanted = normal_json(location.schema[word])
    return lambda value, run, noted: text_of(value, run) == wanted


def _enum(location: Location, word: str) -> Check:
    location.expect(word, isinstance(location.schema[word], list), "a list of values")
    wanted = frozenset(map(normal_json, location.schema[word]))
    return lambda value, run, noted: text_of(value, run) in wanted


def _ref(location: Location, word: str) -> Check:
    said = location.schema[word]
    location.expect(word, isinstance(said, str), "a text")
    node, _, _ = location.compiler.target(said, location.node.resource, location.path)
    location.node.in_place.append(node)
    return node.holds


def _dynamic_ref(location: Location, word: str) -> Check:
    said = location.schema[word]
    location.expect(word, isinstance(said, str), "a text")
    node, fragment, schema = location.compiler.target(said, location.node.resource, location.path)
    location.node.in_place.append(node)
    if not isinstance(schema, dict) or schema.get("$dynamicAnchor") != fragment:
        return node.holds
    outermost = location.compiler.dynamic_target(fragment)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        run.spend(len(run.scope) // 8)
        return (outermost(run) or node).holds(value, run, noted)

    return holds


def _all_of(location: Location, word: str) -> Check:
    nodes = location.all_applied(word)
    return lambda value, run, noted: all(node.holds(value, run, noted) for node in nodes)


def _any_of(location: Location, word: str) -> Check:
    nodes = location.all_applied(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if noted is None:
            return any(node.holds(value, run) for node in nodes)
        # Whoever asks what was looked at has to hear of every one that holds.
        return sum(node.holds(value, run, noted) for node in nodes) > 0

    return holds


def _one_of(location: Location, word: str) -> Check:
    nodes = location.all_applied(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        found: Evaluated | None = None
        count = 0
        for node in nodes:
            own = None if noted is None else Evaluated()
            if node.holds(value, run, own):
                count, found = count + 1, own
                if count > 1:
                    return False
        if noted is not None and found is not None:
            noted.add(found)
        return count == 1

    return holds


def _not(location: Location, word: str) -> Check:
    node = location.applied(word)
    return lambda value, run, noted: not node.holds(value, run)


def _if(location: Location, word: str) -> Check:
    condition = location.applied(word)
    branches = {
        True: location.applied("then") if "then" in location.schema else None,
        False: location.applied("else") if "else" in location.schema else None,
    }

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        branch = branches[condition.holds(value, run, noted)]
        return branch is None or branch.holds(value, run, noted)

    return holds


# ------------------------------------------------------------------------------------------------ numbers


def _compared(test: Callable[[Any, Any], bool]) -> Callable[[Location, str], Check]:
    def reader(location: Location, word: str) -> Check:
        limit = location.schema[word]
        location.expect(word, _is_number(limit), "a number")
        return lambda value, run, noted: not _is_number(value) or test(value, limit)

    return reader


def _multiple_of(location: Location, word: str) -> Check:
    divisor = location.schema[word]
    location.expect(word, _is_number(divisor) and divisor > 0, "a number above 0")
    return lambda value, run, noted: not _is_number(value) or is_multiple(value, divisor)


# ------------------------------------------------------------------------------------------------- sizes


def _sized(kind: type[Sized], test: Callable[[int, Any], bool]) -> Callable[[Location, str], Check]:
    """Of a text the code points, of an array the items, of an object the members."""

    def reader(location: Location, word: str) -> Check:
        limit = location.schema[word]
        location.expect(word, is_count(limit), "a whole number, not negative")
        return lambda value, run, noted: not isinstance(value, kind) or test(len(value), limit)

    return reader


def _at_least(value: Any, limit: Any) -> bool:
    return bool(value >= limit)


def _at_most(value: Any, limit: Any) -> bool:
    return bool(value <= limit)


# ------------------------------------------------------------------------------------------------- texts


def _pattern(location: Location, word: str) -> Check:
    said = location.schema[word]
    location.expect(word, isinstance(said, str), "a text")
    matches = matching(*location.compiler.pattern(said, f"{location.path}/{word}"))
    return lambda value, run, noted: type(value) is not str or matches(value, run)


Reader = Callable[[Location, str], Check | None]

# In this order they are checked: what is quickly told comes first.
_READERS: dict[str, Reader] = {
    "type": _type,
    "const": _const,
    "enum": _enum,
    "minimum": _compared(_at_least),
    "maximum": _compared(_at_most),
    "exclusiveMinimum": _compared(lambda value, limit: bool(value > limit)),
    "exclusiveMaximum": _compared(lambda value, limit: bool(value < limit)),
    "multipleOf": _multiple_of,
    "minLength": _sized(str, _at_least),
    "maxLength": _sized(str, _at_most),
    "minItems": _sized(list, _at_least),
    "maxItems": _sized(list, _at_most),
    "minProperties": _sized(dict, _at_least),
    "maxProperties": _sized(dict, _at_most),
    "required": members.required,
    "dependentRequired": members.dependent_required,
    "pattern": _pattern,
    "properties": members.properties,
    "patternProperties": members.pattern_properties,
    "additionalProperties": members.additional_properties,
    "propertyNames": members.property_names,
    "prefixItems": members.prefix_items,
    "items": members.items,
    "contains": members.contains,
    "uniqueItems": members.unique_items,
    "$ref": _ref,
    "$dynamicRef": _dynamic_ref,
    "allOf": _all_of,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "not": _not,
    "if": _if,
    "dependentSchemas": members.dependent_schemas,
}
_LAST: dict[str, Reader] = {
    "unevaluatedItems": members.unevaluated_items,
    "unevaluatedProperties": members.unevaluated_properties,
}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_anchor(value: Any) -> bool:
    return isinstance(value, str) and _ANCHOR.match(value) is not None


# The words that check nothing, and what they have to be all the same.
_NOTES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    *((word, _is_text, "a text") for word in ("$schema", "$comment", "title", "description", "format")),
    *((word, _is_text, "a text") for word in ("contentEncoding", "contentMediaType")),
    *((word, _is_flag, "true or false") for word in ("deprecated", "readOnly", "writeOnly")),
    *((word, _is_anchor, "a name") for word in ("$anchor", "$dynamicAnchor")),
    ("$id", lambda value: isinstance(value, str) and "#" not in value.removesuffix("#"), "an address"),
    ("examples", lambda value: isinstance(value, list), "a list"),
    *((word, lambda value: isinstance(value, dict), "an object") for word in ("$defs", "definitions")),
    *((word, lambda value: isinstance(value, dict), "an object") for word in ("$vocabulary",)),
    *((word, is_count, "a whole number, not negative") for word in ("minContains", "maxContains")),
)
