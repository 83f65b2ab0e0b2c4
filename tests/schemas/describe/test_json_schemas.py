"""JSON Schemas: what they say is what admission does, in words that both drafts read alike."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator, Draft202012Validator

from schemas import events, rules
from schemas.catalog import CURRENT
from schemas.describe.json_schemas import RULE_SCHEMAS, event_schema, names
from schemas.describe.meanings import unused
from schemas.kinds import PREFIX
from tests.schemas.valid import EVENT

FOLDER = Path(__file__).parents[3] / "schemas" / "json"

COMMON_WORDS = {
    "$id",
    "title",
    "description",
    "type",
    "const",
    "enum",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "maxProperties",
    "items",
    "properties",
    "propertyNames",
    "required",
    "additionalProperties",
    "anyOf",
    "oneOf",
    "not",
    "x-loopline-personal",
}

PERSONAL = {
    "prediction.made.v1": {"output", "alternatives[].output", "input"},
    "feedback.action.v1": {"part"},
    "feedback.comment.v1": {"text"},
    "feedback.correction.v1": {"label"},
}
PERSONAL_EVERYWHERE = {"person", "subject"}


def schemas_within(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema inside of a schema, itself included, with the path of the field that it is about."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from schemas_within(inner, f"{path}.{name}" if path else name)
    yield from schemas_within(schema.get("items"), f"{path}[]")
    for word in ("additionalProperties", "propertyNames", "not"):
        yield from schemas_within(schema.get(word), path)
    for word in ("anyOf", "oneOf", "allOf"):
        for inner in schema.get(word, ()):
            yield from schemas_within(inner, path)


def fields_within(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field of an object's schema, and those of objects inside of it."""
    for name, inner in schema.get("properties", {}).items():
        yield f"{path}{name}", inner
        yield from fields_within(inner, f"{path}{name}.")
        yield from fields_within(inner.get("items", {}), f"{path}{name}[].")


def test_every_type_has_a_json_schema_and_every_file_a_type() -> None:
    """The folder is the catalogue."""
    assert set(names()) == set(CURRENT)
    assert {path.name for path in FOLDER.iterdir()} == {f"{name}.json" for name in CURRENT}


@pytest.mark.parametrize("name", CURRENT)
def test_a_schema_is_read_alike_by_both_drafts(name: str) -> None:
    """It is valid in both, refers to nothing, and has no word that only one of them knows."""
    schema = event_schema(name)
    Draft7Validator.check_schema(schema)
    Draft202012Validator.check_schema(schema)
    for _, inner in schemas_within(schema):
        assert inner.keys() <= COMMON_WORDS
        assert isinstance(inner.get("items", {}), dict)
        assert "\\Z" not in inner.get("pattern", "")


@pytest.mark.parametrize("name", CURRENT)
def test_the_envelope_is_open_and_the_data_are_closed(name: str) -> None:
    """Other CloudEvents attributes pass; unknown fields of the data do not, at any depth."""
    schema = event_schema(name)
    assert schema["additionalProperties"] is True
    assert schema["properties"]["specversion"]["const"] == "1.0"
    assert schema["properties"]["type"]["const"] == PREFIX + name
    assert schema["properties"]["time"]["format"] == "date-time"
    assert set(schema["required"]) == {"specversion", "id", "source", "type", "time", "data"}
    for _, inner in schemas_within(schema["properties"]["data"]):
        if "properties" in inner:
            assert inner["additionalProperties"] is False


@pytest.mark.parametrize("name", CURRENT)
def test_personal_fields_are_marked(name: str) -> None:
    """Exactly the fields that the contract calls personal carry the mark."""
    data = event_schema(name)["properties"]["data"]
    marked = {path for path, inner in schemas_within(data) if inner.get("x-loopline-personal")}
    assert marked == PERSONAL.get(name, set()) | (PERSONAL_EVERYWHERE & data["properties"].keys())


def test_every_field_is_explained_and_no_explanation_is_left_over() -> None:
    """Whoever reads a schema reads what each field means."""
    known = set()
    for name in CURRENT:
        for path, inner in fields_within(event_schema(name)["properties"]["data"]):
            known.add((name, path))
            assert inner["description"].endswith(".")
    assert unused(known) == []


def test_every_rule_is_said_in_json_schema() -> None:
    """A rule that the schemas do not know would surprise those who check before they send."""
    assert set(RULE_SCHEMAS) == set(rules.RULES.values())


@settings(max_examples=60)
@given(EVENT)
def test_valid_events_fit_in_both_drafts(event: dict[str, Any]) -> None:
    """What admission admits fits the type's schema, and no other type's."""
    name = event["type"].removeprefix(PREFIX)
    for validator in (Draft7Validator, Draft202012Validator):
        assert validator(event_schema(name)).is_valid(event)
    other = next(each for each in CURRENT if each != name)
    assert not Draft202012Validator(event_schema(other)).is_valid(event)


TARGETS = st.fixed_dictionaries(
    {}, optional={name: st.just("x") for name in ("prediction_id", "model", "join_key", "subject")}
)


@given(TARGETS, st.sampled_from(["feedback.thumb.v1", "feedback.comment.v1", "feedback.retraction.v1"]))
def test_targets_are_the_same_in_schema_and_rule(target: dict[str, str], name: str) -> None:
    """A prediction by its id or by model and join key; for a comment and a retraction, a subject."""
    more = {"value": "up", "text": "t", "explains": "e"}
    data_type = CURRENT[name]
    rule = rules.rule_of(data_type)
    assert rule is not None
    data = {**target, **{key: value for key, value in more.items() if key in data_type.__struct_fields__}}
    schema = event_schema(name)["properties"]["data"]
    try:
        decoded = msgspec.convert(data, data_type)
    except msgspec.ValidationError:
        assert "subject" in data
        assert not Draft202012Validator(schema).is_valid(data)
        return
    assert (rule(decoded) is None) == Draft202012Validator(schema).is_valid(data)


SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.sampled_from([["a"], [], [1, "a", True], [None]]),
        "open": st.booleans(),
        "text": st.booleans(),
        "json_schema": st.sampled_from([{}, True, {"type": "string"}]),
    },
)


@given(SHAPES)
def test_shapes_are_the_same_in_schema_and_rule(shape: dict[str, Any]) -> None:
    """Exactly one of labels, text and JSON Schema; `open` with labels only."""
    data = {"model": "m", "model_version": "1", "output_shape": shape}
    schema = event_schema("model.declared.v1")["properties"]["data"]
    try:
        good = rules.one_shape(msgspec.json.decode(json.dumps(data), type=events.ModelDeclared)) is None
    except msgspec.ValidationError:
        good = False
    assert good == Draft202012Validator(schema).is_valid(data)
