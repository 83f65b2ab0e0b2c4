"""What growth is: values at rest after the warm-up, the last third of them against the first third.

A server breathes: under load it holds more than at rest, and its caches fill in the beginning. So a value is
taken at the end of each cycle, when nothing has been asked of the server for a while, and those of the
warm-up are left out. Of the others the median of the last third may exceed that of the first third by a
tolerance that does not depend on how long the run was: the longer it is, the slower a leak it finds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

FEWEST = 4
MIB = 1024 * 1024

TOLERANCE: Mapping[str, float] = {
    # Two for each connection to log and views: five threads open as many, whenever all of them first meet.
    "descriptors": 20,
    "threads": 2,
    "memory": 12 * MIB,
    "write-ahead log": MIB,
    "temporary files": 0,
}
MORE: Mapping[tuple[str, str], float] = {("collector", "memory"): 32 * MIB}
"""A collector reads releases with Arrow, whose pool keeps some of what its threads had, and gives it back in
its own time: seen were 20 MiB less and 29 MiB more from one minute to the next."""


class Rest(NamedTuple):
    """A value at rest: when (s since the start of the run), how much, and what of it a cache may be."""

    at: float
    value: float
    cache: float = 0.0


class Verdict(NamedTuple):
    """What became of one value of one process.

    `state` is `ok`, `grows`, or `short` when there were too few values to tell.
    """

    subject: str
    what: str
    values: int
    first: float
    last: float
    allowed: float
    peak: float
    state: str
    series: tuple[float, ...] = ()


def warm_up_s(run_s: float) -> float:
    """What is left out of a run: its first minute, and never more than half of it."""
    return min(60.0, run_s / 2)


def judge(
    subject: str, what: str, values: Sequence[Rest], *, born: float, warm_s: float, peak: float
) -> Verdict:
    """Whether a value of one process grew.

    Args:
        values: at rest, in order, of one life of the process.
        born: when that life began, in seconds since the start of the run; it warms up for half as long.
        warm_s: when the warm-up was over.
        peak: the most that was ever seen, for the table.
    """
    start = max(warm_s, born + warm_s / 2)
    warm = [each for each in values if each.at >= start]
    if len(warm) < FEWEST:
        return Verdict(subject, what, len(warm), 0.0, 0.0, 0.0, peak, "short")
    third = max(2, len(warm) // 3)
    first, last = warm[:third], warm[-third:]
    grown_cache = median(each.cache for each in last) - median(each.cache for each in first)
    allowed = TOLERANCE[what] + MORE.get((subject, what), 0.0) + max(0.0, grown_cache)
    before, after = median(each.value for each in first), median(each.value for each in last)
    state = "grows" if after - before > allowed else "ok"
    series = tuple(each.value for each in values)
    return Verdict(subject, what, len(warm), before, after, allowed, peak, state, series)


def failed(verdicts: Sequence[Verdict]) -> list[str]:
    """Why a run failed by its numbers: what grew, and whom nothing could be said of.

    A process that was started anew near the end tells too little; one life of each must tell enough.
    """
    told = {(each.subject, each.what) for each in verdicts if each.state != "short"}
    missing = {(each.subject, each.what) for each in verdicts} - told
    return [
        *(
            f"{each.what} of the {each.subject} grew from {shown(each.what, each.first)} to"
            f" {shown(each.what, each.last)}"
            for each in verdicts
            if each.state == "grows"
        ),
        *(f"{what} of the {subject}: too few values to tell" for subject, what in sorted(missing)),
    ]


def shown(what: str, value: float) -> str:
    """A value as people read it."""
    return f"{value / MIB:.1f} MiB" if what in ("memory", "write-ahead log") else f"{value:.0f}"


def table(verdicts: Sequence[Verdict]) -> str:
    """The verdicts, one a line."""
    rows = [("process", "what", "values", "first", "last", "allowed", "peak", "")]
    rows += [
        (
            each.subject,
            each.what,
            str(each.values),
            *(
                ("-", "-", "-")
                if each.state == "short"
                else (
                    shown(each.what, each.first),
                    shown(each.what, each.last),
                    f"+{shown(each.what, each.allowed)}",
                )
            ),
            shown(each.what, each.peak),
            each.state,
        )
        for each in verdicts
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += [
        f"{each.what} of the {each.subject}, cycle by cycle: "
        + ", ".join(shown(each.what, value) for value in each.series)
        for each in verdicts
        if each.state == "grows"
    ]
    return "\n".join(line.rstrip() for line in lines)
