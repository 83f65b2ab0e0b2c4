"""RFC 8785: the published vectors, another implementation's bytes, and what has no canonical form."""

from __future__ import annotations

import hashlib
import json
import math
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from loopline import canonical_json, input_ref
from loopline.errors import NotCanonical
from loopline.rfc8785 import ecmascript_number

# RFC 8785, appendix B: the bits of a double and how it is written.
NUMBERS = [
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("ffefffffffffffff", "-1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("c340000000000000", "-9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("44b52d02c7e14af7", "1.0000000000000001e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef4f", "999999999999999900000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555553", "333333333.3333332"),
    ("41b3de4355555554", "333333333.33333325"),
    ("41b3de4355555555", "333333333.3333333"),
    ("41b3de4355555556", "333333333.3333334"),
    ("41b3de4355555557", "333333333.33333343"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


@pytest.mark.parametrize("bits, text", NUMBERS)
def test_numbers_are_written_as_the_rfc_lists_them(bits: str, text: str) -> None:
    """Each line of the table in appendix B."""
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert ecmascript_number(value) == text
    assert canonical_json(value) == text.encode()


def test_keys_are_in_utf_16_order() -> None:
    """The sorting example of section 3.2.3: a surrogate pair comes before U+FB33."""
    value = {
        "\u20ac": "Euro Sign",
        "\r": "Carriage Return",
        "\ufb33": "Hebrew Letter Dalet With Dagesh",
        "1": "One",
        "\U0001f600": "Emoji: Grinning Face",
        "\u0080": "Control",
        "\u00f6": "Latin Small Letter O With Diaeresis",
    }
    ordered = ["\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33"]
    assert list(json.loads(canonical_json(value))) == ordered


def test_the_example_of_the_rfc() -> None:
    """Section 3.2.4: numbers, escapes and literals together, byte by byte."""
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\nA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    expected = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical_json(value) == expected.encode()


@given(VALUES)
def test_the_bytes_are_those_of_another_implementation(value: Any) -> None:
    """For any JSON value: the same bytes as the rfc8785 package, and they read back as the value."""
    written = canonical_json(value)
    assert written == rfc8785.dumps(value)
    # Large doubles are written without a fraction, in digits that only a double reads back as that double.
    assert json.loads(written, parse_int=float) == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_double_reads_back(value: float) -> None:
    """The text of a double is that double again, to the bit but for the sign of zero."""
    assert float(ecmascript_number(value)) == value


@given(VALUES, st.randoms())
def test_the_order_in_which_keys_were_set_does_not_matter(value: Any, random: Any) -> None:
    """Two dicts that are equal have one reference."""

    def shuffled(item: Any) -> Any:
        if isinstance(item, dict):
            keys = list(item)
            random.shuffle(keys)
            return {key: shuffled(item[key]) for key in keys}
        return [shuffled(each) for each in item] if isinstance(item, list) else item

    assert input_ref(shuffled(value)) == input_ref(value)


@pytest.mark.parametrize(
    "value, text",
    [(2**53 + 1, "9007199254740992"), (10**21, "1e+21"), (-(2**64), "-18446744073709552000"), (1.0, "1")],
)
def test_integers_are_doubles(value: float, text: str) -> None:
    """An integer that no double holds exactly is written as the nearest, as JSON readers elsewhere see it."""
    assert canonical_json([value]) == f"[{text}]".encode()


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        [1, math.inf],
        {"a": {"b": -math.inf}},
        {"null": None, "x": (1.5, math.nan)},
        "\ud800",
        {"\udc00": 1},
        {1: "a"},
        10**400,
        object(),
        {"a": {1j}},
    ],
    # The same in every process: an object's repr has its address.
    ids=lambda value: "object" if type(value) is object else repr(value),
)
def test_what_is_not_json_has_no_canonical_form(value: object) -> None:
    """NaN, infinities, lone surrogates, keys that are not text, giants and objects raise NotCanonical."""
    with pytest.raises(NotCanonical):
        canonical_json(value)


def test_a_value_that_contains_itself_has_no_canonical_form() -> None:
    """A cycle is told, not followed for ever."""
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(NotCanonical):
        canonical_json(cycle)


def test_a_value_is_taken_as_it_goes_over_the_wire() -> None:
    """Tuples, times and numpy numbers have the reference of the JSON that is sent for them."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    moment = datetime(2026, 11, 20, 9, 12, tzinfo=UTC)
    value = {"t": (1, 2), "at": moment, "x": numpy.float64(0.5), "image": numpy.arange(4).reshape(2, 2)}
    wire = {"t": [1, 2], "at": "2026-11-20T09:12:00Z", "x": 0.5, "image": [[0, 1], [2, 3]]}
    assert canonical_json(value) == canonical_json(wire)
    with pytest.raises(NotCanonical):
        canonical_json({"x": numpy.array([1.0, math.nan])})


def test_the_reference_is_the_sha_256_of_the_bytes() -> None:
    """64 lower-case hex digits, as the contract says, for a fixed example."""
    assert canonical_json({"b": [1.0, "x"], "a": None}) == b'{"a":null,"b":[1,"x"]}'
    assert input_ref({"b": [1.0, "x"], "a": None}) == hashlib.sha256(b'{"a":null,"b":[1,"x"]}').hexdigest()
