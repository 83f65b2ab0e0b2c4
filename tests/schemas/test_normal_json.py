"""Canonical texts: two JSON values have the same one exactly when they are equal."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.normal_json import ContentHash, normal_json
from tests.schemas.valid import JSON, TEXT, written


def equal(one: Any, other: Any) -> bool:
    """Whether two JSON values are equal; in Python True equals 1, in JSON it does not."""
    if isinstance(one, bool) or isinstance(other, bool) or one is None or other is None:
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    return type(one) is type(other) and bool(one == other)


def turned(value: Any) -> Any:
    """The same value with every object's keys the other way round, and small integers as floats."""
    if isinstance(value, dict):
        return {key: turned(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [turned(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= 2**53:
        return float(value)
    return value


@given(JSON)
def test_the_order_of_keys_and_the_way_a_number_is_written_do_not_matter(value: Any) -> None:
    """1 and 1.0 are one JSON number."""
    assert normal_json(turned(value)) == normal_json(value)


@given(JSON, JSON)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    """Equal texts mean equal values."""
    if normal_json(one) == normal_json(other):
        assert equal(one, other)
    if equal(one, other) and not _large(one):
        assert normal_json(one) == normal_json(other)


def _large(value: Any) -> bool:
    """Whether a number in it is beyond 2**53, where a float is one of many integers."""
    if isinstance(value, dict):
        return any(map(_large, value.values()))
    if isinstance(value, list):
        return any(map(_large, value))
    return isinstance(value, int | float) and abs(value) > 2**53


@given(JSON)
def test_a_text_is_json_and_means_the_value(value: Any) -> None:
    """Reading it gives the value back, and writing that gives the text."""
    text = normal_json(value)
    assert equal(json.loads(text), value)
    assert normal_json(json.loads(text)) == text


@given(JSON.flatmap(lambda value: st.tuples(st.just(value), written(value), written(value))))
def test_however_it_was_sent_the_text_is_the_same(drawn: tuple[Any, bytes, bytes]) -> None:
    """White space and escapes are not content."""
    value, one, other = drawn
    assert (
        normal_json(msgspec.json.decode(one)) == normal_json(msgspec.json.decode(other)) == normal_json(value)
    )


@pytest.mark.parametrize(
    "value, text",
    [
        ("smyth", '"smyth"'),
        ({"b": 1.0, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        (-0.0, "0"),
        (2.5, "2.5"),
        (1e300, "1e300"),
        (2.0**53, "9007199254740992"),
        (123456789012345678901234567890, "123456789012345678901234567890"),
        ("é\n\x7f", '"é\\n\x7f"'),
    ],
)
def test_texts_do_not_change_between_releases(value: Any, text: str) -> None:
    """They lie in stores."""
    assert normal_json(value) == text


CONTENTS = ContentHash("a log")
INSTANTS = st.integers(-(10**19), 3 * 10**20)


@given(JSON, JSON)
def test_a_digest_tells_contents_apart(one: Any, other: Any) -> None:
    """128 bits of them."""
    first, second = CONTENTS.of_data(one), CONTENTS.of_data(other)
    assert len(first) == len(second) == 16
    same = msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(
        other, order="deterministic"
    )
    assert (first == second) is same


@given(st.tuples(TEXT, INSTANTS, JSON), st.tuples(TEXT, INSTANTS, JSON))
def test_an_events_digest_tells_kind_instant_and_data_apart(
    one: tuple[str, int, Any], other: tuple[str, int, Any]
) -> None:
    """What one part says cannot be made up for by another."""
    alone, whole = CONTENTS.of_both(*one)
    assert (alone, whole) == (CONTENTS.of_data(one[2]), CONTENTS.of_event(*one))
    same = (one[:2], CONTENTS.of_data(one[2])) == (other[:2], CONTENTS.of_data(other[2]))
    assert (CONTENTS.of_event(*one) == CONTENTS.of_event(*other)) is same


def test_another_label_with_a_fitting_time_is_another_content() -> None:
    """A digest made of parts by XOR would let one be chosen so."""
    data, label = {"label": "a"}, {"label": "b"}
    digests = {
        CONTENTS.of_event("feedback.correction", at, said) for at in range(500) for said in (data, label)
    }
    assert len(digests) == 1000


def test_each_log_has_digests_of_its_own() -> None:
    """Nobody can prepare two contents that look alike everywhere."""
    assert ContentHash("another log").of_data({"a": 1}) != CONTENTS.of_data({"a": 1})


def test_digests_do_not_change_between_releases() -> None:
    """They lie in stores: another one would make every retry a conflict."""
    data = {"value": "up", "prediction_id": "p"}
    assert CONTENTS.of_event("feedback.thumb", 1, data).hex() == "fb74b4d3714b47a92ab1d7c853336ac3"
