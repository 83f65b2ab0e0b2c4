"""Where the log ends: asked with patience, known from before, and what may be said of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.api.ends import Ends, Known
from streams.log.memory import MemoryLog
from streams.log.port import DEAD, KnownEnds, LogDenied, LogRefused, LogUnavailable
from tests.feedback.running import until

INSTANTS = st.integers(0, 10**19)


QUICK: dict[str, Any] = {"patience_s": 0.3, "again_s": 0.0}
"""Who asks waits a little, and asks again at once."""


class Moody(MemoryLog):
    """A log that answers, hangs or fails, as it is told; what it knows is from before."""

    def __init__(self) -> None:
        super().__init__(1)
        self.asked = 0
        self.hangs = threading.Event()
        self.hangs.set()
        self.error: Exception | None = None

    def ends(self) -> dict[int, int]:
        """As the log says, once it does not hang."""
        self.asked += 1
        assert self.hangs.wait(30)
        if self.error is not None:
            raise self.error
        return super().ends()

    def known_ends(self) -> KnownEnds:
        """Three blocks, for two nanoseconds."""
        return KnownEnds({0: 3, DEAD: 0}, 2e-9)


@pytest.fixture
def log() -> Iterator[Moody]:
    """A log that answers."""
    log = Moody()
    yield log
    log.hangs.set()


def test_a_log_that_hangs_is_waited_for_once(log: Moody) -> None:
    """Whoever comes later is told what was known, at once; and one thread hangs, not one a caller."""
    ends = Ends(log, lambda: 1_000, elapsed=lambda: 500, **QUICK)
    log.hangs.clear()
    known = Known(998, {0: 3, DEAD: 0}, 498)
    began = time.monotonic()
    assert ends() == known
    assert time.monotonic() - began >= 0.3
    began = time.monotonic()
    assert [ends() for _ in range(50)] == [known] * 50
    assert time.monotonic() - began < 0.3
    assert log.asked == 1
    assert ends.trouble(0.1) == "it was asked 0 s ago"
    assert ends.trouble(60.0) is None
    log.hangs.set()
    until(lambda: ends() == Known(1_000, {0: 0, DEAD: 0}, 500), "the answer")
    assert ends.trouble(0.1) is None


def test_a_log_that_is_away_is_not_waited_for(log: Moody) -> None:
    """What it said is told; it is asked again behind the callers' backs, and believed when it answers."""
    ends = Ends(log, lambda: 1_000, elapsed=lambda: 500, **QUICK)
    log.error = LogUnavailable("no broker answers")
    assert ends() == ends.known
    assert ends.trouble(60.0) == "no broker answers"
    log.hangs.clear()
    began = time.monotonic()
    assert ends() == Known(998, {0: 3, DEAD: 0}, 498)
    assert time.monotonic() - began < 0.3
    log.error = None
    log.hangs.set()
    until(lambda: ends() == Known(1_000, {0: 0, DEAD: 0}, 500), "the answer")
    assert ends.trouble(0.1) is None


def test_a_log_that_lets_nobody_in_is_the_log_that_was_known(log: Moody) -> None:
    """A password that does not hold for a while: what was known is given, as of then, and the reason said."""
    ends = Ends(log, lambda: 1_000, elapsed=lambda: 500, **QUICK)
    log.error = LogDenied("the user is not taken")
    assert ends() == Known(998, {0: 3, DEAD: 0}, 498)
    assert ends.trouble(0.1) == "the user is not taken"


def test_a_log_that_is_another_one_is_not_known(log: Moody) -> None:
    """What was known of it is not given: a person has to look. Each caller gets an error of its own."""
    ends = Ends(log, lambda: 1_000, **QUICK)
    log.error = LogRefused("this is another log")
    refusals = []
    for _ in range(2):
        with pytest.raises(LogRefused, match="this is another log") as refusal:
            ends()
        refusals.append(refusal.value)
    assert refusals[0] is not refusals[1]


@given(at=INSTANTS, since=INSTANTS, now=INSTANTS, elapsed=INSTANTS, ahead=INSTANTS)
def test_nothing_is_said_of_the_future(at: int, since: int, now: int, elapsed: int, ahead: int) -> None:
    """Whatever clocks were set to: not later than the ends were known, nor than now less their age."""
    instant = Known(at, {}, since).instant(now, elapsed, ahead)
    assert instant <= at
    assert instant <= now - ahead
    assert now - instant >= elapsed - since


def test_what_is_on_its_way_is_not_claimed() -> None:
    """What was received here by the oldest that is open, and elsewhere by what an append may take."""
    log, settled = MemoryLog(1), [990]
    assert [
        Ends(log, lambda: 1_000, elapsed=lambda: 500, settled=lambda: settled[0], append_ns=append_ns)()
        for append_ns in (0, 7, 40)
    ] == [Known(1_000, log.ends(), 500, open_ns) for open_ns in (10, 10, 40)]
    known = Known(1_000, {}, 500, 40)
    instants = [known.instant(1_000, 500), known.instant(2_000, 1_500), known.instant(900, 510)]
    assert instants == [960, 960, 850]


def test_a_clock_that_was_ahead_claims_nothing() -> None:
    """An hour ahead when the log was asked, ten minutes ago, and set right since: ten minutes ago."""
    hour, minute = 3_600, 60
    known = Known(10_000 + hour, {0: 1}, 500)
    assert known.instant(10_000 + 10 * minute, 500 + 10 * minute) == 10_000
    assert known.instant(10_000 + 10 * minute + hour, 500 + 10 * minute, ahead=hour) == 10_000
