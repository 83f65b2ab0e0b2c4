"""The pause between attempts, without a clock or chance of its own."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from loopline.backoff import PAUSES, Backoff, RetryPolicy


def test_the_bound_doubles_up_to_the_longest() -> None:
    """Drawn at its upper end, the pause doubles with each failure, and never passes half a minute."""
    backoff = Backoff(PAUSES.retry, lambda low, high: high)
    pauses = []
    for _ in range(30):
        backoff.failed(100.0)
        pauses.append(backoff.pause(100.0))
    doubled = [PAUSES.first * 2**count for count in range(1, 9)]
    assert [round(pause, 6) for pause in pauses[:8]] == doubled
    assert pauses[-1] == PAUSES.longest
    backoff.succeeded()
    assert backoff.pause(100.0) <= 0
    backoff.failed(100.0)
    assert round(backoff.pause(100.0), 6) == PAUSES.first * 2


@given(st.integers(0, 2**32), st.integers(1, 40), st.floats(0, 300))
def test_a_pause_is_jittered_and_never_less_than_was_asked_for(
    seed: int, failures: int, asked: float
) -> None:
    """Anything from nothing to the bound, or what Retry-After says where that is longer."""
    backoff = Backoff(PAUSES.retry, random.Random(seed).uniform)
    for _ in range(failures):
        backoff.failed(0.0, asked)
    assert asked <= backoff.pause(0.0) <= max(asked, PAUSES.longest)


def test_pauses_differ_between_clients() -> None:
    """A thousand clients that fail together do not come back together."""
    pauses = []
    for seed in range(1_000):
        backoff = Backoff(PAUSES.retry, random.Random(seed).uniform)
        for _ in range(4):
            backoff.failed(0.0)
        pauses.append(backoff.pause(0.0))
    bound = PAUSES.first * 2**4
    assert len(set(pauses)) == 1_000
    assert min(pauses) < bound * 0.05
    assert max(pauses) > bound * 0.95


def test_hurry_cuts_a_pause_short_but_not_one_that_was_asked_for() -> None:
    """A flush may end a backoff of the client's own; silence the server asked for is kept."""
    backoff = Backoff(PAUSES.retry, lambda low, high: high)
    backoff.failed(0.0)
    backoff.hurry()
    assert backoff.pause(0.0) <= 0
    backoff.failed(0.0, 60.0)
    backoff.hurry()
    assert backoff.pause(0.0) == 60.0


POLICIES = st.builds(
    RetryPolicy, st.floats(0.001, 10), st.floats(0.001, 100), st.floats(1, 4), st.floats(0, 1)
)


@given(POLICIES, st.integers(1, 2_000), st.randoms())
def test_a_policy_bounds_each_pause(policy: RetryPolicy, failures: int, chance: random.Random) -> None:
    """Pauses never shrink but by chance, which takes its share at most; no number of failures is too many."""
    first, longest, _, jitter = policy
    backoff = Backoff(policy, chance.uniform)
    bounds = [policy.bound_s(number) for number in range(1, failures + 1)]
    assert bounds[0] == min(first, longest)
    assert all(low <= high <= longest for low, high in pairwise(bounds))
    for bound in bounds:
        assert (1 - jitter) * bound * 0.999 <= backoff.next_pause_s() <= bound


def test_without_jitter_pauses_are_exact() -> None:
    """Operators read them in log lines; after a success they begin anew."""
    backoff = Backoff(RetryPolicy(first_s=0.1, longest_s=1.0))
    assert [backoff.next_pause_s() for _ in range(6)] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.succeeded()
    assert backoff.next_pause_s() == 0.1
