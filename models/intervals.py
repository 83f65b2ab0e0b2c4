"""Intervals: how sure a rate is, given how many cases it rests on."""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

Z_95 = 1.959963984540054


class Interval(NamedTuple):
    """Both ends of an interval, inclusive."""

    low: float
    high: float


def wilson(successes: int, trials: int, z: float = Z_95) -> Interval:
    """The score interval of a rate (Wilson 1927): honest for few trials and for rates near 0 and 1.

    Args:
        successes: how often it happened, 0 to `trials`.
        trials: how often it could have; without any, the interval is everything.
        z: the normal quantile of the confidence, 95% by default.
    """
    if not 0 <= successes <= trials:
        raise ValueError(f"{successes} successes in {trials} trials")
    if trials == 0:
        return Interval(0.0, 1.0)
    rate, weight = successes / trials, z * z / trials
    middle = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * sqrt(rate * (1 - rate) / trials + weight / (4 * trials))
    # Rounding must not push an end past what is possible, or past the rate itself.
    return Interval(min(rate, max(0.0, middle - half)), max(rate, min(1.0, middle + half)))
