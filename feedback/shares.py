"""Shares as people read them: never without how sure they are."""

from __future__ import annotations

from models.intervals import wilson


def share(hits: int, cases: int, *, digits: int = 1, enough: int = 1) -> str:
    """What share `hits` are of `cases`, with its 95% interval (Wilson) and n: `7.7% (3.3% to 16.8%, n = 65)`.

    All or none of some cases is no certainty, so it is the interval alone: `99.6% to 100% (n = 1,000)`.

    Args:
        digits: decimals of a percent.
        enough: with fewer cases there is no number.
    """
    if cases < max(enough, 1):
        return f"not enough data yet (n = {cases:,})"
    low, high = wilson(hits, cases)
    between = f"{percent(low, digits)} to {percent(high, digits)}"
    if hits in (0, cases):
        return f"{between} (n = {cases:,})"
    return f"{percent(hits / cases, digits)} ({between}, n = {cases:,})"


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
