"""Shares as people read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.shares import percent, share
from models.estimate import ENOUGH


@pytest.mark.parametrize(
    "hits, cases, said",
    [
        (5, 65, "7.7% (3.3% to 16.8%, n = 65)"),
        (0, 29, "not enough data yet (n = 29)"),
        (24, 30, "80.0% (62.7% to 90.5%, n = 30)"),
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
    assert (cases < ENOUGH) == said.startswith("not enough data yet")
    assert f"n = {cases:,}" in said


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
