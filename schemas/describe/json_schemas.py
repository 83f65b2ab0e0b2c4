"""The JSON Schema of each event type, derived from its Struct.

One self-contained document a type, for the whole CloudEvents envelope, inside the subset that Draft-07
and 2020-12 read alike: nested objects in place instead of definitions, and rules over several fields
as `anyOf`, `oneOf`, `not` and `required`. What no JSON Schema can say (sizes in bytes, depth, equal keys)
is left to admission. Files are written by `schemas.describe.generate`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from schemas import rules
from schemas.catalog import CURRENT, FIRST_YEAR, REPLAY_ATTRIBUTE, envelope
from schemas.describe.meanings import meaning
from schemas.kinds import PREFIX

Schema = dict[str, Any]

_REFERENCE = "#/definitions/"
_TYPE_ORDER = ("string", "number", "integer", "boolean", "array", "object", "null")

_TARGET: list[Schema] = [{"required": ["prediction_id"]}, {"required": ["model", "join_key"]}]
_SUBJECT: Schema = {"required": ["subject"], "not": {"required": ["join_key"]}}

# What `schemas.rules` checks, in the words of JSON Schema: the data's own schema with the rule added.
RULE_SCHEMAS: dict[rules.Rule, Callable[[Schema], Schema]] = {
    rules.target: lambda data: {**data, "anyOf": _TARGET},
    rules.target_or_subject: lambda data: {**data, "anyOf": [*_TARGET, _SUBJECT]},
    rules.one_shape: lambda data: _with_property(
        data,
        "output_shape",
        oneOf=[{"required": [name]} for name in ("labels", "text", "json_schema")],
        anyOf=[{"required": ["labels"]}, {"not": {"required": ["open"]}}],
    ),
}


def _with_property(data: Schema, name: str, **added: Any) -> Schema:
    properties = data["properties"]
    return {**data, "properties": {**properties, name: {**properties[name], **added}}}


@cache
def names() -> tuple[str, ...]:
    """Name and version of every current type, as in `feedback.thumb.v1`, in the catalogue's order."""
    return tuple(CURRENT)


def event_schema(name: str) -> Schema:
    """The JSON Schema of the event type `name`, as in `feedback.thumb.v1`."""
    return described(name, CURRENT[name])


def described(name: str, data: type[Struct]) -> Schema:
    """The JSON Schema of an event type called `name` whose data is this Struct."""
    (reference,), components = msgspec.json.schema_components(
        [envelope(name, data, Annotated[datetime, Meta(tz=True)])], ref_template=_REFERENCE + "{name}"
    )
    whole = _portable(_in_place(reference, components))
    properties = whole["properties"]
    content = _explained(_without(properties["data"]), lambda field: meaning(name, field), "")
    content = {"description": "What it says, and nothing else.", **content}
    rule = rules.rule_of(data)
    if rule is not None:
        content = RULE_SCHEMAS[rule](content)
    return {
        "$id": f"urn:loopline:event:{name}",
        "title": PREFIX + name,
        "description": whole["description"],
        "type": "object",
        "properties": {
            "specversion": {**properties["specversion"], "description": "The version of CloudEvents."},
            "id": {**properties["id"], "description": "Unique within its source; a retry keeps it."},
            "source": {
                **properties["source"],
                "description": "The product, or the part of it, that says so.",
            },
            "type": properties["type"],
            "time": {
                "type": "string",
                "format": "date-time",
                "pattern": _years_from(FIRST_YEAR),
                "description": "When it happened: RFC 3339 with an offset.",
            },
            REPLAY_ATTRIBUTE: {
                **properties[REPLAY_ATTRIBUTE],
                "description": "Set by Loopline on what it replays: the dead letter that this was.",
            },
            "data": content,
        },
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "additionalProperties": True,
    }


def _years_from(first: int) -> str:
    """A pattern for a time of this year or later; the year is that of a century."""
    century = first // 100
    assert first == century * 100
    assert 10 <= century <= 19
    return f"^(1[{century - 10}-9]|[2-9][0-9])[0-9]{{2}}-"


def _explained(schema: Schema, meaning_of: Callable[[str], str], path: str) -> Schema:
    """The schema of an object with a description for each field, at every depth."""
    properties = {}
    for field, inner in schema["properties"].items():
        place = f"{path}{field}"
        if "properties" in inner:
            inner = _explained(_without(inner), meaning_of, f"{place}.")
        elif "properties" in inner.get("items", {}):
            inner = {**inner, "items": _explained(_without(inner["items"]), meaning_of, f"{place}[].")}
        properties[field] = {**inner, "description": meaning_of(place)}
    return {**schema, "properties": properties}


def _without(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in ("title", "description")}


def _in_place(schema: Any, components: dict[str, Any]) -> Any:
    """The schema with every reference replaced by what it refers to."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _in_place(components[schema["$ref"].removeprefix(_REFERENCE)], components)
        return {key: _in_place(value, components) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_in_place(item, components) for item in schema]
    return schema


def _portable(schema: Any) -> Any:
    """The schema in words that every JSON Schema reader takes the same way."""
    if isinstance(schema, list):
        return [_portable(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: _portable(value) for key, value in schema.items()}
    # Regular expressions of JSON Schema are ECMAScript's, which has `$` for Python's `\Z`.
    if isinstance(found.get("pattern"), str):
        found["pattern"] = re.sub(r"\\Z$", "$", found["pattern"])
    if isinstance(found.get("enum"), list) and len(found["enum"]) == 1:
        (found["const"],) = found.pop("enum")
    if found.get("required") == []:
        del found["required"]
    options = found.get("anyOf")
    if isinstance(options, list) and all(set(each) == {"type"} for each in options):
        kinds = {each["type"] for each in found.pop("anyOf")}
        if "number" in kinds:
            kinds.discard("integer")
        found["type"] = sorted(kinds, key=_TYPE_ORDER.index)
    return found
