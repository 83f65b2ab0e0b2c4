"""Clocks are compared as intervals: a slow answer accuses nobody, and a clock that was set is seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from streams.clocks import TOLERANCE_S, ClockWatch

S = 1_000_000_000
BEGIN = 1_796_000_000 * S


class World:
    """True time and a machine's clock in it, moved by hand; `elapsed` is that of a machine up for an hour."""

    def __init__(self) -> None:
        self.true = BEGIN
        self.off = 0
        self.watch = ClockWatch(lambda: self.true + self.off, lambda: self.true - BEGIN + 3600 * S)

    def goes_on(self, seconds: float) -> None:
        """Time passes."""
        self.true += round(seconds * S)

    def asks(self, whose: str, theirs_off: float = 0.0, out: float = 0.01, back: float = 0.01) -> None:
        """A question is `out` seconds under way, and its answer `back`."""
        asked = self.watch.moment()
        self.goes_on(out)
        theirs = self.true + round(theirs_off * S)
        self.goes_on(back)
        self.watch.heard(whose, theirs, asked)

    def ahead(self, whose: str) -> float:
        """How far this machine's clock is said to be ahead."""
        return self.watch.skews()[whose].seconds


def test_clocks_that_agree_are_no_reason() -> None:
    """What lies within question and answer is no skew at all."""
    world = World()
    world.asks("PostgreSQL")
    world.asks("broker 1", theirs_off=0.8)
    assert world.ahead("PostgreSQL") == 0
    assert -0.8 <= world.ahead("broker 1") <= -0.75
    assert world.watch.reasons() == []


def test_a_clock_that_is_behind_is_said_with_by_how_much_and_what_to_do() -> None:
    """The sentence names who says so, and NTP."""
    world = World()
    world.off = round(-4.21 * S)
    world.asks("broker 1 (kafka-1:9092)")
    (reason,) = world.watch.reasons()
    assert reason.startswith("this machine's clock is 4.2 s behind that of broker 1 (kafka-1:9092): receipts")
    assert "NTP" in reason


def test_a_clock_that_is_ahead_is_said_too() -> None:
    """Receipts in the future are as wrong."""
    world = World()
    world.off = 3 * 3600 * S
    world.asks("broker 1")
    world.asks("PostgreSQL")
    (reason,) = world.watch.reasons()
    assert reason.startswith("this machine's clock is 3.0 h ahead of that of broker 1 and PostgreSQL: ")
    assert world.ahead("broker 1") > 3 * 3600 - 1


def test_one_of_several_clocks_that_is_wrong_is_named() -> None:
    """Where others agree with this machine, it is not this machine's clock that has to be set."""
    world = World()
    for whose, off in (("broker 1", 0.0), ("broker 2", -5.0), ("broker 3", 0.1), ("PostgreSQL", 0.0)):
        world.asks(whose, off)
    (reason,) = world.watch.reasons()
    assert reason.startswith(
        "the clock of broker 2 is 5.0 s behind this machine's, with which broker 1, broker 3"
    )
    assert reason.endswith("set it by NTP there")


def test_a_slow_answer_accuses_nobody_and_clears_nobody() -> None:
    """An acknowledgement of ten seconds may hide anything: what was known by a quick one stays."""
    world = World()
    world.asks("broker 1", out=9, back=1)
    assert world.watch.reasons() == []
    world.off = -4 * S
    world.asks("broker 1")
    world.asks("broker 1", out=2, back=8)
    assert len(world.watch.reasons()) == 1


def test_a_clock_that_is_set_right_clears_at_once() -> None:
    """Without another answer: what was learned is the distance to time that nobody sets."""
    world = World()
    world.off = -4 * S
    world.asks("broker 1")
    world.goes_on(100)
    assert len(world.watch.reasons()) == 1
    world.off = 0
    assert world.watch.reasons() == []
    world.off = -2 * S
    assert "2.0 s behind" in world.watch.reasons()[0]


def test_another_clock_that_is_set_is_believed_with_its_next_answer() -> None:
    """Two intervals that do not meet are no noise."""
    world = World()
    world.asks("broker 1", out=0.001, back=0.001)
    world.asks("broker 1", theirs_off=7.0, out=0.2, back=0.2)
    assert "7." in world.watch.reasons()[0] or "6." in world.watch.reasons()[0]
    world.asks("broker 1", out=0.2, back=0.2)
    assert world.watch.reasons() == []


def test_who_is_not_asked_any_more_is_forgotten() -> None:
    """A broker that was taken away accuses nobody for ever; one that alone was heard stays."""
    world = World()
    world.asks("broker 1", theirs_off=9)
    world.goes_on(3600)
    assert len(world.watch.reasons()) == 1
    world.asks("broker 2")
    assert list(world.watch.skews()) == ["broker 2"]


def test_what_a_clock_has_shown_before_is_a_least() -> None:
    """A record's time of append says that its broker's clock was there by now, and no more."""
    world = World()
    world.watch.heard_late("broker 1", world.true - 50 * S)
    assert world.watch.reasons() == []
    world.watch.heard_late("broker 1", world.true + 50 * S)
    world.watch.heard_late("broker 1", world.true - 50 * S)
    assert "50.0 s behind that of broker 1" in world.watch.reasons()[0]
    world.asks("broker 1")
    assert world.watch.reasons() == []


def test_events_from_the_future_count_where_no_other_clock_is_known() -> None:
    """On one machine the log is what tells: it was later when the newest event came in than it is now."""
    world = World()
    world.watch.stamped(world.true + 3 * 3600 * S)
    world.watch.stamped(world.true)
    (reason,) = world.watch.reasons()
    assert "3.0 h behind the receipt of the log's newest event" in reason
    world.asks("PostgreSQL")
    assert world.watch.reasons() == []


def test_a_pause_between_two_looks_accuses_nobody() -> None:
    """A process that is stopped while it compares sees no skew."""
    elapsed = 0

    def ours() -> int:
        # The process stands still for five seconds before each look.
        nonlocal elapsed
        elapsed += 5 * S
        return BEGIN + elapsed

    watch = ClockWatch(ours, lambda: elapsed)
    watch.heard("PostgreSQL", BEGIN + elapsed, watch.moment())
    assert watch.skews()["PostgreSQL"].seconds == 0


@pytest.fixture
def log_lines() -> Iterator[list[Any]]:
    """What is logged, at whatever level another test of this process has set."""
    before = structlog.get_config()
    structlog.reset_defaults()
    with capture_logs() as lines:
        yield lines
    structlog.configure(**before)


def test_a_clock_that_was_set_and_one_that_differs_are_a_line_each(log_lines: list[Any]) -> None:
    """Once, not at each look: by how much it was set, whose clock differs, and that it agrees again."""
    world = World()
    for off in (-4 * S, 0):
        world.off = off
        for _ in range(3):
            world.asks("broker 1")
            world.watch.reasons()
    assert [line["event"] for line in log_lines] == [
        "this machine's clock differs",
        "this machine's clock was set",
        "this machine's clock agrees again",
        "this machine's clock was set",
    ]
    assert [line.get("forward_s") for line in log_lines] == [None, -4.0, None, 4.0]


def test_the_metric_says_ahead_and_behind_by_the_sign() -> None:
    """One number for each other clock."""
    world = World()
    world.off = 2 * S
    world.asks("PostgreSQL")
    (family,) = world.watch.collect()
    (sample,) = family.samples
    assert sample.labels == {"against": "PostgreSQL"}
    assert 1.9 < sample.value <= 2.0


@given(
    off=st.floats(-100, 100),
    answers=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 400)), min_size=1, max_size=20),
)
def test_a_skew_is_never_overstated(off: float, answers: list[tuple[float, float, float]]) -> None:
    """Whatever the answers take, what is said is on the right side and no more than the truth."""
    world = World()
    world.off = round(off * S)
    for out, back, pause in answers:
        world.asks("it", out=out, back=back)
        world.goes_on(pause)
        said = world.ahead("it")
        assert said * off >= 0
        assert abs(said) <= abs(off) + 1e-6
    quickest = min(out + back for out, back, _ in answers[-1:])
    assert abs(off) - abs(world.ahead("it")) <= quickest + 1e-6 or off == 0
    if abs(off) <= TOLERANCE_S:
        assert world.watch.reasons() == []
