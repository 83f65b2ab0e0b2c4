"""Estimates: rates with their intervals, and whether there is enough data."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.estimate import ENOUGH, estimate, wilson


@given(st.integers(0, 10**6).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_the_interval_holds_the_rate_and_stays_possible(case: tuple[int, int]) -> None:
    """Both ends are rates, and the observed one lies between them."""
    successes, trials = case
    low, high = wilson(successes, trials)
    assert 0 <= low <= high <= 1
    if trials:
        assert low <= successes / trials <= high
        assert low < high


def test_known_values() -> None:
    """Agrees with the published example of Wilson's interval: 81 of 263."""
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert wilson(0, 0) == (0, 1)
    assert wilson(5, 5).high == 1


@given(st.integers(1, 1000), st.integers(2, 50))
def test_more_cases_make_it_narrower(trials: int, more: int) -> None:
    """The same rate on more cases is known better."""
    few, many = wilson(trials, 2 * trials), wilson(trials * more, 2 * trials * more)
    assert many.high - many.low < few.high - few.low


def test_more_successes_than_trials_are_refused() -> None:
    """A mistake of the caller is not a rate."""
    with pytest.raises(ValueError, match="2 successes in 1 trials"):
        wilson(2, 1)


@given(st.integers(0, 10**4).flatmap(lambda cases: st.tuples(st.integers(0, cases), st.just(cases))))
def test_an_estimate_says_what_it_rests_on(case: tuple[int, int]) -> None:
    """It has the rate, Wilson's interval around it and n, and is enough from one number of cases on."""
    hits, cases = case
    made = estimate(hits, cases)
    assert (made.low, made.high) == wilson(hits, cases)
    assert (made.n, made.enough) == (cases, cases >= ENOUGH)
    assert made.value is None if cases == 0 else made.value == hits / cases


def test_thirty_cases_are_enough() -> None:
    """The threshold is that of the contract, and nobody else has one."""
    assert not estimate(10, 29).enough
    assert estimate(10, 30).enough
