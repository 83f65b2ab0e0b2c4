"""Columns: quick conversions give what slow ones give."""

from __future__ import annotations

import msgspec
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from feedback.datasets.cut.columns import JSON, SCHEMA, STRING, as_json, only_strings, plain, prediction_ids
from schemas.identity import prediction_key
from schemas.normal_json import normal_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.uuids().map(str) | TEXTS.filter(bool), max_size=20) | st.lists(st.uuids().map(str)))
def test_prediction_ids_come_back_as_they_were_sent(ids: list[str]) -> None:
    """UUIDs and any other ids, alone or mixed."""
    assert prediction_ids([prediction_key(each) for each in ids]).to_pylist() == ids


@given(st.lists(TEXTS | st.none(), max_size=20))
def test_strings_are_told_from_their_json(texts: list[str | None]) -> None:
    """The plain strings of a column of JSON strings, whatever is escaped in them, and nulls as nulls."""
    encoded = pa.array([None if text is None else normal_json(text) for text in texts], pa.string())
    assert only_strings(encoded)
    assert plain(encoded).to_pylist() == texts
    assert as_json(pa.chunked_array([plain(encoded)]), STRING).to_pylist() == encoded.to_pylist()


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_one_value_that_is_no_string_keeps_the_column_json(values: list[object]) -> None:
    """Plain strings only where all values are strings: nobody has to guess."""
    encoded = pa.array([normal_json(value) for value in values], pa.string())
    assert only_strings(encoded) is all(isinstance(value, str) for value in values)
    assert [msgspec.json.decode(text) for text in as_json(encoded, JSON).to_pylist()] == values


def test_the_columns_are_those_of_the_contract() -> None:
    """Names and order are fixed."""
    assert SCHEMA.names == [
        "prediction_id",
        "input_ref",
        "input",
        "output",
        "label",
        "agreement",
        "people",
        "confidence",
        "segment",
        "model_version",
        "channel",
        "ask_probability",
        "audit_probability",
        "at",
    ]
