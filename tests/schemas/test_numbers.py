"""Slow numbers are counted by their bytes, and the numbers of everyday are none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.numbers import MAX_SLOW_NUMBERS, slow_numbers

SLOW = (
    "1e308",
    "1E308",
    "9e+300",
    "1e0000308",
    "3e-308",
    "5e-324",
    "1.7976931348623157e308",
    "1" + "0" * 60 + "e240",
    "1" * 308,
    "0." + "0" * 307 + "3",
)
EVERYDAY = (
    "0.0123456789012345",
    "1.5e-05",
    "1.2345678901234567e-45",
    "1e100",
    "3.4e38",
    "1767225600000",
    "-7",
)
MANY = 4 * MAX_SLOW_NUMBERS


def _array(number: str, count: int) -> bytes:
    return f"[{', '.join([number] * count)}]".encode()


@pytest.mark.parametrize("number", SLOW)
def test_each_slow_number_counts(number: str) -> None:
    """However it is spelt, and in an array as in an object."""
    assert slow_numbers(_array(number, MANY)) == MANY
    assert slow_numbers(json.dumps({"a": 0}).replace("0", number).encode() * MANY) == MANY


@pytest.mark.parametrize("number", EVERYDAY)
def test_numbers_of_everyday_do_not_count(number: str) -> None:
    """Embeddings, probabilities, times: as many as a request has room for."""
    assert slow_numbers(_array(number, 1024 * 1024 // (len(number) + 2))) == 0


def test_full_length_with_a_long_exponent_counts_as_a_part() -> None:
    """An event has no room for too many of them; a request of a million bytes has."""
    number = "1.2345678901234567e-150"
    assert slow_numbers(_array(number, 2_500)) <= MAX_SLOW_NUMBERS
    assert slow_numbers(_array(number, 16 * 2_500)) > MAX_SLOW_NUMBERS


def test_hexadecimal_names_do_not_count() -> None:
    """In a name digits around an `e` are no exponent."""
    assert slow_numbers(json.dumps(["3e30012ae301"] * MANY).encode()) == 0


@given(
    st.lists(
        st.floats(min_value=-1e60, max_value=1e60).filter(lambda x: x == 0 or abs(x) > 1e-60), max_size=50
    )
)
def test_what_lies_within_reach_never_counts(values: list[float]) -> None:
    """Any numbers between 1e-60 and 1e60, as Python writes them."""
    assert slow_numbers(json.dumps(values * 20).encode()) == 0
