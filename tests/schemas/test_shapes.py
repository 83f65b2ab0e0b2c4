"""Declared shapes: which labels fit, and which JSON Schemas can be declared."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.normal_json import normal_json
from schemas.shapes import Fit, fits, only_texts, schema_problem
from tests.schemas.valid import JSON, SCALAR

BOMB = {
    "$defs": {
        **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(30)},
        "d30": {},
        "list": {"type": "array", "items": {"$ref": "#/$defs/list"}},
    }
}


def shape(**words: Any) -> str:
    """The JSON text of a shape."""
    return msgspec.json.encode(words).decode()


def fit(shape_json: str, *labels: Any) -> list[bool]:
    """For each label, whether it fits."""
    return [fits(shape_json)(normal_json(label)) for label in labels]


def test_closed_labels_are_the_ones_that_are_listed() -> None:
    """The way a number is written does not matter; its type does."""
    assert fit(shape(labels=["a", 1, 2.5, True]), "a", 1, 1.0, 2.5, True) == [True] * 5
    assert fit(shape(labels=["a", 1, 2.5, True]), "b", "1", 2, False, None, ["a"], {}) == [False] * 7


def test_open_labels_take_new_texts() -> None:
    """People may find new ones, of the kind that there is."""
    assert fit(shape(labels=["a"], open=True), "a", "new", "") == [True] * 3
    assert fit(shape(labels=["a"], open=True), 1, None, ["a"], {"a": 1}, True) == [False] * 5
    assert fit(shape(labels=["a"], open=False), "new") == [False]
    assert fit(shape(labels=["a"], open=True), "1", "null") == [True, True]
    assert fit(shape(labels=["a"]), "a", "b") == [True, False]


def test_open_labels_take_new_ones_of_the_types_that_are_listed() -> None:
    """A set of numbers takes new numbers, one of texts and numbers both, and nothing else."""
    assert fit(shape(labels=[1, 2], open=True), 1, 3, -0.5, 1e300, "3", True) == [True] * 4 + [False] * 2
    assert fit(shape(labels=["a", 1], open=True), "b", 2, None, False) == [True, True, False, False]
    assert fit(shape(labels=[True], open=True), False, 0, "true") == [True, False, False]


@pytest.mark.parametrize(
    "declared, texts",
    [
        ({"text": True}, True),
        ({"labels": ["a", "b"]}, True),
        ({"labels": ["a"], "open": True}, True),
        ({"labels": ["a", 1]}, False),
        ({"labels": [0, 1]}, False),
        ({"json_schema": {"type": "string", "maxLength": 3}}, True),
        ({"json_schema": {"enum": ["a", "b"]}}, True),
        ({"json_schema": {"const": "a"}}, True),
        ({"json_schema": {"enum": ["a", None], "type": "string"}}, False),
        ({"json_schema": {"type": ["string", "null"]}}, False),
        ({"json_schema": {"type": "object"}}, False),
        ({"json_schema": True}, False),
    ],
)
def test_a_shape_says_whether_every_label_is_a_text(declared: dict[str, Any], texts: bool) -> None:
    """What cannot be seen at once is not said to be."""
    assert only_texts(shape(**declared)) is texts


def test_text_is_any_text() -> None:
    """And nothing else."""
    assert fit(shape(text=True), "", "a", '"', "null") == [True] * 4
    assert fit(shape(text=True), None, 1, [], {}, True) == [False] * 5


def test_a_json_schema_is_asked() -> None:
    """As 2020-12, inside references included."""
    schema = {
        "$defs": {
            "tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}, "required": ["n"]}
        },
        "$ref": "#/$defs/tree",
    }
    assert fit(shape(json_schema=schema), {"n": 1}, {"n": 1, "next": {"n": 2}}) == [True] * 2
    assert fit(shape(json_schema=schema), {}, {"n": 1, "next": {}}, "a") == [False] * 3
    assert fit(shape(json_schema=True), "a", None) == [True] * 2
    assert fit(shape(json_schema=False), "a", None) == [False] * 2
    assert fit(shape(json_schema={"multipleOf": 1}), 3.0, 2.5) == [True, False]


@given(st.lists(SCALAR, min_size=1, max_size=5), JSON)
def test_the_listed_labels_fit_and_others_do_not(labels: list[Any], other: Any) -> None:
    """For any labels."""
    text = shape(labels=labels)
    assert all(fit(text, *labels))
    known = {normal_json(label) for label in labels}
    assert fit(text, other) == [normal_json(other) in known]


@pytest.mark.parametrize(
    "schema",
    [
        True,
        False,
        {},
        {"type": ["string", "null"], "maxLength": 3},
        {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "definitions": {"a": {}},
            "$ref": "#/definitions/a",
        },
        {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        {"$id": "https://x.example/a", "$defs": {"b": {"$id": "b", "type": "string"}}, "$ref": "b"},
        {"const": {"$ref": "#/is/only/a/value"}},
        {"enum": [{"$ref": 5}]},
    ],
)
def test_a_schema_that_is_whole_can_be_declared(schema: Any) -> None:
    """All that a label can meet is inside of it, or the standard's own."""
    assert schema_problem(schema) is None


@pytest.mark.parametrize(
    "schema, says",
    [
        ({"type": "wrong"}, "is not a JSON Schema"),
        ({"minLength": -1}, "is not a JSON Schema"),
        ({"pattern": "("}, "is not a JSON Schema"),
        ({"$ref": 5}, "is not a JSON Schema"),
        ("string", "is not a JSON Schema"),
        ({"$ref": "https://x.example/schema"}, "https://x.example/schema"),
        ({"$ref": "file:///etc/passwd"}, "file:///etc/passwd"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"properties": {"a": {"items": {"$ref": "#/$defs/missing"}}}}, "missing"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1:1/"}}}, "http://127.0.0.1:1/"),
        ({"$ref": "#"}, "cannot be used"),
        ({"allOf": [{"$ref": "#"}]}, "cannot be used"),
        ({**BOMB, "$ref": "#/$defs/d0"}, "steps for any value"),
        ({**BOMB, "properties": {"a": {"$ref": "#/$defs/d0"}}}, "steps for any value"),
        ({"pattern": "(?=a)"}, "linear time"),
        ({"patternProperties": {r"(a)\1": True}}, "linear time"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: Any, says: str) -> None:
    """No reference is fetched, and none is followed for ever; conftest refuses the network."""
    started = time.process_time()
    problem = schema_problem(schema)
    assert problem is not None
    assert says in problem
    assert time.process_time() - started < 10


def test_a_label_that_takes_too_many_steps_fits_nothing_and_says_why() -> None:
    """The others are told as ever."""
    twice = {"allOf": [{"items": {"$ref": "#/$defs/list"}}] * 2, "type": "array"}
    schema = {"$defs": {"list": twice}, "$ref": "#/$defs/list"}
    assert schema_problem(schema) is None
    deep: Any = []
    for _ in range(28):
        deep = [deep]
    judge = fits(shape(json_schema=schema)).verdict
    labels: list[Any] = [[[], [[]]], [1], deep, deep]
    assert [judge(normal_json(label)) for label in labels] == [
        Fit.FITS,
        Fit.OTHER,
        Fit.TOO_COSTLY,
        Fit.TOO_COSTLY,
    ]


def test_a_schema_that_was_declared_when_more_was_taken_fits_nothing() -> None:
    """It lies in a log: whoever folds that goes on, and the dead letter says what to do."""
    assert fits(shape(json_schema={"pattern": "(?=a)"})).verdict('"a"') is Fit.UNUSABLE


def test_prices_are_multiples_of_a_cent() -> None:
    """Compared as they are written, each of 10,000."""
    cents = fits(shape(json_schema={"type": "number", "multipleOf": 0.01}))
    assert all(cents(normal_json(number / 100)) for number in range(1, 10_001))
    assert not cents("0.075")


def test_many_shapes_are_remembered_by_their_bytes() -> None:
    """A thousand models are no reason to read each one's shape again, nor to keep all of the largest ones."""
    small = [shape(labels=[f"l{number}"]) for number in range(1000)]
    first = [fits(text) for text in small]
    assert all(fits(text) is test for text, test in zip(small, first, strict=True))
    for number in range(40):
        assert fits(shape(labels=[f"{number}" * 60_000]))("1") is False


def test_an_unusable_text_is_no_shape() -> None:
    """Shapes are the JSON of a declaration's `output_shape`."""
    with pytest.raises(msgspec.ValidationError):
        fits('{"labels":"a"}')


def test_labels_are_tested_without_jsonschema() -> None:
    """It takes a tenth of a second to import, and most models have labels or text."""
    code = (
        "import sys; from schemas.shapes import fits;"
        """ fits('{"labels":["a"]}')('"a"'); fits('{"text":true}')('"a"');"""
        " print('jsonschema' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
