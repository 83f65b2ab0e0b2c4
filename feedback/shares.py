"""Shares as people read them: never without how sure they are."""

from __future__ import annotations

from models.estimate import Estimate, estimate


def share(hits: int, cases: int, *, digits: int = 1) -> str:
    """What share `hits` are of `cases`, as `shown` renders it."""
    return shown(estimate(hits, cases), digits=digits)


def shown(rate: Estimate, *, digits: int = 1) -> str:
    """A rate with its 95% interval and n: `7.7% (3.3% to 16.8%, n = 65)`; without enough data only n.

    All or none of some cases is no certainty, so it is the interval alone: `99.6% to 100% (n = 1,000)`.

    Args:
        digits: decimals of a percent.
    """
    if rate.value is None or not rate.enough:
        return f"not enough data yet (n = {rate.n:,})"
    between = f"{percent(rate.low, digits)} to {percent(rate.high, digits)}"
    if rate.value in (0, 1):
        return f"{between} (n = {rate.n:,})"
    return f"{percent(rate.value, digits)} ({between}, n = {rate.n:,})"


def percent(value: float, digits: int = 1) -> str:
    """A number from 0 to 1 in percent: only none of it is `0%`, and only all of it `100%`."""
    if value in (0, 1):
        return f"{value:.0%}"
    least = 10.0 ** -(digits + 2)
    if value < least / 2:
        return f"<{least:.{digits}%}"
    if value >= 1 - least / 2:
        return f">{1 - least:.{digits}%}"
    return f"{value:.{digits}%}"
