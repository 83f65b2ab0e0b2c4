"""How sides take turns, and how a row is judged."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from benchmarks.measuring import cpu, cpu_of, in_turns, quantile, ratio, spread
from benchmarks.report import Row, details, table


def test_sides_take_turns_and_the_first_round_does_not_count() -> None:
    """A B, B A, A B: neither side always meets the warmer machine."""
    calls: list[str] = []

    def side(name: str, costs: list[float]) -> Callable[[], float]:
        def once() -> float:
            calls.append(name)
            return costs.pop(0)

        return once

    costs = in_turns({"a": side("a", [9.0, 1.0, 2.0]), "b": side("b", [9.0, 3.0, 4.0])}, 2)
    assert calls == ["b", "a", "a", "b", "b", "a"]
    assert costs == {"a": [1.0, 2.0], "b": [3.0, 4.0]}


def test_a_ratio_is_that_of_the_medians_and_its_spread_that_of_the_rounds() -> None:
    """One disturbed round moves the spread, not the ratio."""
    assert ratio([2.0, 2.0, 90.0], [1.0, 1.0, 1.0]) == 2.0
    assert spread([2.0, 2.0, 90.0], [1.0, 1.0, 1.0]) == (2.0, 90.0)


def test_cpu_counts_work_of_this_process_and_of_another() -> None:
    """Busy seconds are seen from inside and from outside."""

    def work() -> None:
        until = time.process_time() + 0.1
        while time.process_time() < until:
            pass

    before = cpu_of(os.getpid())
    assert 0.1 <= cpu(work) < 1.0
    # The system counts in hundredths.
    assert cpu_of(os.getpid()) - before >= 0.08


@pytest.mark.parametrize(
    "reached,at_least,verdict",
    [(4.0, False, "met"), (4.1, False, "NOT MET"), (4.0, True, "met"), (3.9, True, "NOT MET")],
)
def test_a_verdict_follows_from_the_numbers(reached: float, at_least: bool, verdict: str) -> None:
    """A promise is met at its bound, and not beyond it."""
    row = Row(name="r", what="w", bound=4, reached=reached, at_least=at_least)
    assert row.verdict == verdict
    assert verdict in table([row])[2]


def test_a_row_that_was_not_measured_says_so() -> None:
    """No number is no success."""
    row = Row(name="r", what="w", bound=4, reached=None, note="no disk")
    assert row.verdict == "not measured"
    assert details([row]) == ["r: . no disk"]


def test_quantiles_come_from_the_values() -> None:
    """The 99th percentile of a hundred values is the greatest but one is below it."""
    values = [float(number) for number in range(100)]
    assert (quantile(values, 0.5), quantile(values, 0.99), quantile([1.0], 0.99)) == (50.0, 99.0, 1.0)
