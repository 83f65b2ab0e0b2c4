"""Shares as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.shares import percent, share


@pytest.mark.parametrize(
    "hits, cases, said",
    [
        (5, 65, "7.7% (3.3% to 16.8%, n = 65)"),
        (1000, 1000, "99.6% to 100% (n = 1,000)"),
        (0, 1000, "0% to 0.4% (n = 1,000)"),
        (9999, 10000, ">99.9% (99.9% to >99.9%, n = 10,000)"),
        (0, 0, "not enough data yet (n = 0)"),
    ],
)
def test_a_share_says_how_sure_it_is(hits: int, cases: int, said: str) -> None:
    """With its interval and n; all or none of some cases is the interval alone."""
    assert share(hits, cases) == said


@given(st.integers(0, 10**6).flatmap(lambda cases: st.tuples(st.integers(0, cases), st.just(cases))))
def test_no_share_is_certain(drawn: tuple[int, int]) -> None:
    """Whatever was counted, what is printed begins neither with 100% nor with a bare 0%."""
    hits, cases = drawn
    said = share(hits, cases)
    assert not said.startswith(("100% (", "0% ("))
    assert f"n = {cases:,}" in said


def test_too_few_cases_have_no_number() -> None:
    """Below what is enough, the share is not said, and n is."""
    assert share(3, 4, enough=5) == "not enough data yet (n = 4)"
    assert share(4, 5, enough=5, digits=0).startswith("80% (")


def test_only_all_and_none_are_whole() -> None:
    """What is nearly all of it is not printed as all, and what is nearly none not as none."""
    assert [percent(value) for value in (0.0, 0.0004, 0.5, 0.9996, 1.0)] == [
        "0%",
        "<0.1%",
        "50.0%",
        ">99.9%",
        "100%",
    ]
    assert [percent(value, 0) for value in (0.004, 0.06, 0.996)] == ["<1%", "6%", ">99%"]
