"""What may change in a released schema, and what needs a new version with an upcaster.

The contract: a new optional field or a new type is compatible, anything else is not. So every other
difference is named, those that refuse what was valid and those that allow what was not. Words for
people (titles, descriptions, examples) are free. The released schemas lie in `schemas/released`.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

Schema = dict[str, Any]

PERSONAL_MARK = "x-loopline-personal"

_FOR_PEOPLE = frozenset({"$id", "$schema", "$comment", "title", "description", "examples", "default"})
_OF_OBJECTS = frozenset({"properties", "required", "additionalProperties"})
_INSIDE = frozenset({"items", "propertyNames", "not"})
_AT_LEAST = frozenset({"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"})
_AT_MOST = frozenset({"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"})

AGREED = frozenset({("evaluation.recorded.v1", ".data.dataset"), ("dataset.released.v1", ".data.as_of")})
"""Fields that take more than they did in a release, by type and path, each with a reason.

`evaluation.recorded` takes a name of the team's own beside `MODEL@N`: whoever reads the field gets a text, as
before, and no view depends on its form (docs/decisions/024-what-can-be-read-back.md).
`dataset.released` takes a longer `as_of`: it names each partition of all epochs, and a release that cannot be
announced is worse (docs/decisions/032-as-of-over-epochs.md).
"""

_NARROWED = "refuses what was valid"
_WIDENED = "allows what was not valid, and readers of the released version do not know it"


def breaking_release(
    released: Mapping[str, Schema], proposed: Mapping[str, Schema], upcast: Collection[str] = ()
) -> list[str]:
    """What a set of proposed schemas breaks of a released set.

    Args:
        released, proposed: the JSON Schema of each event type, by name and version.
        upcast: the names and versions that are still read, by an upcaster to a newer version.
    """
    found = []
    for name, schema in sorted(released.items()):
        if name in proposed:
            found += breaking_changes(_with_agreed(name, schema, proposed[name]), proposed[name])
        elif name not in upcast:
            found.append(f"{name} was removed, and no upcaster reads it")
    return found


def _with_agreed(name: str, released: Schema, proposed: Schema) -> Schema:
    """A released schema in which the fields that were agreed on are as proposed, if those are texts."""
    for agreed, path in AGREED:
        before, after = _field(released, path), _field(proposed, path)
        if agreed == name and before and after and before.get("type") == after.get("type") == "string":
            released = copy.deepcopy(released)
            field = _field(released, path)
            field.clear()
            field.update(after)
    return released


def _field(schema: Schema, path: str) -> Schema:
    for part in path.split(".")[1:]:
        schema = schema.get("properties", {}).get(part, {})
    return schema


def breaking_changes(released: Schema, proposed: Schema) -> list[str]:
    """Every change of one released schema that needs a new version; empty when none does."""
    name = str(released.get("title", "the schema"))
    return [f"{name} at {path or '$'}: {change}" for path, change in _changes(released, proposed, "")]


def _changes(old: Any, new: Any, path: str) -> Iterator[tuple[str, str]]:
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if not _same(old, new):
            yield path, f"{_text(old)} became {_text(new)}"
        return
    yield from _object_changes(old, new, path)
    for word in sorted((old.keys() | new.keys()) - _FOR_PEOPLE - _OF_OBJECTS):
        if word == PERSONAL_MARK:
            if old.get(word) and not new.get(word):
                yield path, "is no longer marked as personal"
        elif word in _INSIDE and word in old and word in new:
            yield from _changes(old[word], new[word], f"{path}/{word}")
        elif not _same(_without_prose(old.get(word)), _without_prose(new.get(word))):
            yield (
                path,
                f"`{word}` {_text(old.get(word))} became {_text(new.get(word))}: {_effect(word, old, new)}",
            )


def _object_changes(old: Schema, new: Schema, path: str) -> Iterator[tuple[str, str]]:
    before, after = old.get("properties", {}), new.get("properties", {})
    closed = old.get("additionalProperties", True) is False
    for name in before:
        if name not in after:
            yield f"{path}.{name}", f"was removed: it {'is refused' if closed else 'can be anything'} now"
        else:
            yield from _changes(before[name], after[name], f"{path}.{name}")
    if not closed:
        # Where unknown fields pass, a field that gets a name gets limits that it did not have.
        for name in after.keys() - before.keys():
            yield f"{path}.{name}", f"was free to be anything and has a shape now: {_NARROWED}"
    required_before, required_after = set(old.get("required", ())), set(new.get("required", ()))
    for name in sorted(required_after - required_before):
        yield f"{path}.{name}", f"is required now: {_NARROWED}"
    for name in sorted(required_before - required_after):
        yield f"{path}.{name}", f"is no longer required: {_WIDENED}"
    rest_before, rest_after = old.get("additionalProperties", True), new.get("additionalProperties", True)
    if isinstance(rest_before, dict) and isinstance(rest_after, dict):
        yield from _changes(rest_before, rest_after, f"{path}.*")
    elif not _same(rest_before, rest_after):
        narrowed = rest_before is True or rest_after is False
        yield path, f"`additionalProperties` changed: {_NARROWED if narrowed else _WIDENED}"


def _effect(word: str, old: Schema, new: Schema) -> str:
    """What the change of one word does to what was valid."""
    before, after = old.get(word), new.get(word)
    if before is None or after is None:
        return _NARROWED if before is None else _WIDENED
    if word in _AT_LEAST:
        return _NARROWED if after > before else _WIDENED
    if word in _AT_MOST:
        return _NARROWED if after < before else _WIDENED
    if word in ("enum", "type"):
        kept = {_text(value) for value in (after if isinstance(after, list) else [after])}
        was = {_text(value) for value in (before if isinstance(before, list) else [before])}
        return _WIDENED if was <= kept else _NARROWED
    return _NARROWED


def _without_prose(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {word: _without_prose(value) for word, value in schema.items() if word not in _FOR_PEOPLE}
    if isinstance(schema, list):
        return [_without_prose(value) for value in schema]
    return schema


def _same(old: Any, new: Any) -> bool:
    # As JSON text: in Python 1 equals True.
    return _text(old) == _text(new)


def _text(value: Any) -> str:
    return "nothing" if value is None else json.dumps(value, sort_keys=True, ensure_ascii=False)
