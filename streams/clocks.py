"""Whether this machine's clock agrees with those of the services that it talks to.

The instant of receipt is stamped by this machine's clock, and decides for good which of two events is the
later one. So each answer in which a service tells its own time is compared. Nobody knows at which moment
between question and answer the other clock was read: a clock is known as an interval, and only what lies
outside of it counts. A slow answer is a wide interval, which accuses nobody.

What is kept is the distance between the other clock and the time since this machine's start, which nobody
sets: a clock here that is set, well or badly, is seen at once, without another answer. Who asks the services,
and what is done about a clock that is wrong, is left to others.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric

TOLERANCE_S = 1.0
_SECOND = 1_000_000_000
# For so long a narrow interval is worth more than a newer and wider one: clocks drift by less than a
# millisecond meanwhile.
_KEPT_NS = 10 * _SECOND
# A service without an answer for so long, while others have answered, is not in use any more.
_FORGOTTEN_NS = 300 * _SECOND

_log = structlog.get_logger("loopline.clocks")


def since_start() -> int:
    """Nanoseconds since this machine's start, those that it slept among them where the system tells."""
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic_ns() if boot is None else time.clock_gettime_ns(boot)


class _Reading(NamedTuple):
    """Another clock minus the time since start: between `low` and `high`, or nobody knows how much more."""

    low: int
    high: int | None
    at: int

    def is_better_than(self, other: _Reading) -> bool:
        """Whether this newer one takes the place of another one of the same clock."""
        if other.high is None or self.at - other.at > _KEPT_NS:
            return self.high is not None or self.low >= other.low
        if self.high is None:
            return self.low > other.high
        apart = self.low > other.high or self.high < other.low
        return apart or self.high - self.low <= other.high - other.low


class Skew(NamedTuple):
    """How far this machine's clock is ahead of another one, in seconds; below 0 it is behind.

    That far at least: 0 as long as the time that the answer took explains it. `proven`: it is known to be
    within the tolerance, not only not known to be outside.
    """

    seconds: float
    proven: bool


class ClockWatch:
    """Compares this machine's clock with others; safe to use from several threads.

    Args:
        clock: this machine's clock, nanoseconds since 1970.
        elapsed: nanoseconds since some moment, by a clock that nobody sets.
    """

    def __init__(
        self, clock: Callable[[], int] = time.time_ns, elapsed: Callable[[], int] = since_start
    ) -> None:
        self._clock = clock
        self._elapsed = elapsed
        self._guard = threading.Lock()
        self._readings: dict[str, _Reading] = {}
        self._off: set[str] = set()
        self._newest = 0
        self._set_at = self._distance()

    # --------------------------------------------------------------------------------- told by others

    def moment(self) -> int:
        """Now, for `heard`: read it before the request is sent."""
        return self._elapsed()

    def heard(self, whose: str, theirs: int, asked_at: int, *, exact_ns: int = 0) -> None:
        """Another clock's time has come.

        Args:
            whose: what it is called in a reason.
            theirs: nanoseconds since 1970.
            asked_at: `moment` before the request.
            exact_ns: how much later than `theirs` it may have been, by how exactly it is told.
        """
        now = self._elapsed()
        self._learn(whose, _Reading(theirs - now, theirs + exact_ns - asked_at, now))

    def heard_late(self, whose: str, theirs: int) -> None:
        """Another clock has shown this time some while ago: by now it is later."""
        now = self._elapsed()
        self._learn(whose, _Reading(theirs - now, None, now))

    def stamped(self, received: int) -> None:
        """The log has an event that was received at this instant (ns since 1970)."""
        self._newest = max(self._newest, received)

    def _learn(self, whose: str, reading: _Reading) -> None:
        with self._guard:
            known = self._readings.get(whose)
            if known is None or reading.is_better_than(known):
                self._readings[whose] = reading
        seconds = self.skews()[whose].seconds
        if (abs(seconds) > TOLERANCE_S) != (whose in self._off):
            self._off ^= {whose}
            if whose in self._off:
                _log.warning(
                    "this machine's clock differs", other=whose, ahead_s=round(seconds, 3), changed=True
                )
            else:
                _log.info("this machine's clock agrees again", other=whose, changed=True)

    # ------------------------------------------------------------------------------ read by everybody

    def skews(self) -> dict[str, Skew]:
        """How far this machine's clock is ahead of each of the others."""
        # A thread may be kept waiting between two looks at a clock; that accuses nobody either.
        before, ours, after = self._elapsed(), self._clock(), self._elapsed()
        with self._guard:
            newest = max((reading.at for reading in self._readings.values()), default=0)
            silent = {each for each, known in self._readings.items() if newest - known.at > _FORGOTTEN_NS}
            for whose in silent:
                del self._readings[whose]
            self._off -= silent
            readings = dict(self._readings)
        return {whose: _skew(known, before - ours, after - ours) for whose, known in readings.items()}

    def reasons(self) -> list[str]:
        """What is wrong with this machine's clock or another one, and what to do; empty when nothing is."""
        self._tell_if_set()
        skews = self.skews()
        if found := list(_judged(skews)):
            return found
        # Others know better than the log what time it is.
        behind_s = 0.0 if skews else (self._newest - self._clock()) / _SECOND
        if behind_s <= TOLERANCE_S:
            return []
        reason = (
            f"this machine's clock is {_lasting(behind_s)} behind the receipt of the log's newest event: it"
            " is behind now, or was ahead then, and what comes in seems older than it is. Set it by NTP; if"
            " it is right, this ends when that instant has passed"
        )
        return [reason]

    def collect(self) -> Iterable[Metric]:
        """The skews as a metric."""
        skew = GaugeMetricFamily(
            "loopline_clock_skew_seconds",
            "How far this machine's clock is ahead of another one (below 0: behind), at least.",
            labels=["against"],
        )
        for whose, (seconds, _) in self.skews().items():
            skew.add_metric([whose], seconds)
        yield skew

    def _distance(self) -> tuple[int, int]:
        """This clock minus the time since start: between these two, for a thread may wait in between."""
        before, ours, after = self._elapsed(), self._clock(), self._elapsed()
        return ours - after, ours - before

    def _tell_if_set(self) -> None:
        """A clock that was set is worth a line, though it may be right only now."""
        (was_least, was_most), (least, most) = self._set_at, self._distance()
        by_s = max(least - was_most, 0, was_least - most) / _SECOND
        if by_s > TOLERANCE_S:
            _log.warning(
                "this machine's clock was set", forward_s=round(by_s if least > was_most else -by_s, 3)
            )
        if by_s > TOLERANCE_S or most - least < was_most - was_least:
            self._set_at = least, most


def _skew(reading: _Reading, before: int, after: int) -> Skew:
    """How far the clock here is ahead; its own distance to the time since start is between these two."""
    behind_least = (reading.low + before) / _SECOND
    behind_most = float("inf") if reading.high is None else (reading.high + after) / _SECOND
    proven = behind_least >= -TOLERANCE_S and behind_most <= TOLERANCE_S
    if behind_least > 0:
        return Skew(-behind_least, proven)
    return Skew(max(0.0, -behind_most), proven)


def _judged(skews: Mapping[str, Skew]) -> Iterable[str]:
    off = {whose: skew.seconds for whose, skew in skews.items() if abs(skew.seconds) > TOLERANCE_S}
    agreeing = [whose for whose, skew in skews.items() if skew.proven]
    if agreeing:
        for whose, seconds in off.items():
            yield (
                f"the clock of {whose} is {_lasting(seconds)} {'behind' if seconds > 0 else 'ahead of'} this"
                f" machine's, with which {_all_of(agreeing)} {'agrees' if len(agreeing) == 1 else 'agree'}:"
                " set it by NTP there"
            )
        return
    behind = {whose: -seconds for whose, seconds in off.items() if seconds < 0}
    ahead = {whose: seconds for whose, seconds in off.items() if seconds > 0}
    for here, there in (("behind", behind), ("ahead of", ahead)):
        if there:
            most = _lasting(max(there.values()))
            yield (
                f"this machine's clock is {most} {here} that of {_all_of(list(there))}: receipts stamped by a"
                " wrong clock decide wrongly which event is the latest. Set it by NTP (chrony,"
                " systemd-timesyncd), here and there"
            )


def _all_of(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _lasting(seconds: float) -> str:
    seconds = abs(seconds)
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


__all__ = ["TOLERANCE_S", "ClockWatch", "Skew", "since_start"]
