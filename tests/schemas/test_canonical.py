"""Canonical texts: two JSON values have the same one exactly when they are equal."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.canonical import canonical, digest
from tests.schemas.valid import JSON, written


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
    assert canonical(turned(value)) == canonical(value)


@given(JSON, JSON)
def test_different_values_have_different_texts(one: Any, other: Any) -> None:
    """Equal texts mean equal values."""
    if canonical(one) == canonical(other):
        assert equal(one, other)
    if equal(one, other) and not _large(one):
        assert canonical(one) == canonical(other)


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
    text = canonical(value)
    assert equal(json.loads(text), value)
    assert canonical(json.loads(text)) == text


@given(JSON.flatmap(lambda value: st.tuples(st.just(value), written(value), written(value))))
def test_however_it_was_sent_the_text_is_the_same(drawn: tuple[Any, bytes, bytes]) -> None:
    """White space and escapes are not content."""
    value, one, other = drawn
    assert canonical(msgspec.json.decode(one)) == canonical(msgspec.json.decode(other)) == canonical(value)


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
    assert canonical(value) == text


@given(JSON, JSON)
def test_a_digest_tells_contents_apart(one: Any, other: Any) -> None:
    """64 bits, signed, as a store keeps integers."""
    assert -(2**63) <= digest(one) < 2**63
    if msgspec.json.encode(one, order="deterministic") == msgspec.json.encode(other, order="deterministic"):
        assert digest(one) == digest(other)
    else:
        assert digest(one) != digest(other)


def test_digests_do_not_change_between_releases() -> None:
    """They lie in stores: another one would make every retry a conflict."""
    assert digest(["feedback.thumb", 1, {"value": "up", "prediction_id": "p"}]) == -6303022733164438432
