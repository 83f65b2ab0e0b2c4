"""Estimates: a rate, how sure it is, and whether there is enough data to say it at all.

Every rate that is an estimate, on a page, in a command, a file or an answer, comes from `estimate`: one
interval and one threshold hold everywhere. The agreement on one label is none: it counts those who voted.
"""

from __future__ import annotations

from math import sqrt
from typing import NamedTuple

ENOUGH = 30
"""With fewer cases a rate is not said: its 95% interval is up to 35 percentage points wide at this number."""

Z_95 = 1.959963984540054


class Interval(NamedTuple):
    """Both ends of an interval, inclusive."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A rate from 0 to 1 with its 95% interval; `enough` says whether its `n` cases are enough to show it.

    Without any case the value is None and the interval is everything. Below `ENOUGH` the value is there too,
    for whoever goes on to calculate with it; whoever shows it looks at `enough` first.
    """

    value: float | None
    low: float
    high: float
    n: int
    enough: bool


def estimate(hits: int, cases: int) -> Estimate:
    """The rate of `hits` in `cases`. Raises ValueError unless 0 <= hits <= cases."""
    low, high = wilson(hits, cases)
    return Estimate(hits / cases if cases else None, low, high, cases, cases >= ENOUGH)


def wilson(successes: int, trials: int, z: float = Z_95) -> Interval:
    """The score interval of a rate (Wilson 1927): honest for few trials and for rates near 0 and 1.

    Args:
        successes: how often it happened, 0 to `trials`.
        trials: how often it could have; without any, the interval is everything.
        z: the normal quantile of the confidence, 95% by default.

    Raises ValueError for more successes than trials.
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
