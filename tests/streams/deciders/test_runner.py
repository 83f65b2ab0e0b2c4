"""The runner: who looks when, and what a decider that fails or hangs holds up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from loopline.backoff import RetryPolicy
from streams.deciders.port import NotSent, Send
from streams.deciders.runner import Runner, Turn
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.tables import COUNTS, FACTS, Table
from tests.streams.deciders.toy import Loop, RollsBack, Seen
from tests.streams.store.storing import IDENTITY

PATIENCE_S = 10.0


def until(holds: Callable[[], Any]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.002)


class Looks(RollsBack):
    """Counts its looks, and does what is asked of it in each; decides nothing."""

    reads: Collection[Table] = ()
    every_s = 0.005

    def __init__(self, rule: str = "looks", does: Callable[[], object] = lambda: None) -> None:
        self.rule = rule
        self.count = 0
        self._does = does

    def read(self, store: Store) -> Seen:
        self.count += 1
        self._does()
        return Seen({}, [])


@pytest.fixture
def loop() -> Loop:
    """A version was deployed and disliked, and the views have all of it."""
    loop = Loop(IDENTITY, MemoryStore(IDENTITY))
    loop.disliked("m")
    return loop


@contextmanager
def running(loop: Loop, *deciders: Any, send: Send | None = None, **options: Any) -> Iterator[Runner]:
    """A runner under way, which looks at once and whose pauses after a failure are none."""
    options = {"first_s": 0.0, "retry": RetryPolicy(0.0, 0.0), "store": lambda: loop.store, **options}
    runner = Runner(deciders, ends=loop.log.ends, send=send or loop.send, **options)
    runner.start()
    try:
        yield runner
    finally:
        runner.stop(PATIENCE_S)


def test_a_decision_is_sent_and_not_sent_again_before_the_views_have_it(loop: Loop) -> None:
    """The log has one copy of it, however long the views take."""
    decider = RollsBack()
    with running(loop, decider, Looks()):
        until(lambda: loop.sent)
        time.sleep(5 * decider.every_s)
        assert len(loop.sent) == 1
        loop.catch_up()
        until(loop.rolled_back)
    assert len(loop.sent) == 1


def test_nobody_decides_on_views_that_are_behind(loop: Loop) -> None:
    """Views that are being built show little of what was decided: their first end is waited for."""
    fresh = Loop(IDENTITY, MemoryStore(IDENTITY))
    fresh.log = loop.log
    decider = Looks()
    with running(fresh, decider):
        time.sleep(0.05)
        assert decider.count == 0
        fresh.catch_up()
        until(lambda: decider.count)


def test_without_views_nobody_looks(loop: Loop) -> None:
    """They are there later."""
    there = threading.Event()
    decider = Looks()
    with running(loop, decider, store=lambda: loop.store if there.is_set() else None):
        time.sleep(0.03)
        assert decider.count == 0
        there.set()
        until(lambda: decider.count)


class Passed(Turn):
    """A turn that somebody else has at first."""

    mine = False
    given_back = False

    def held(self) -> bool:
        return self.mine

    def close(self) -> None:
        self.given_back = True


def test_only_who_has_the_turn_decides(loop: Loop) -> None:
    """It is asked for before each look, and given back at the end."""
    decider, turn = Looks(), Passed()
    with running(loop, decider, turn=turn):
        time.sleep(0.03)
        assert decider.count == 0
        turn.mine = True
        until(lambda: decider.count)
        turn.mine = False
    assert turn.given_back


def test_two_runners_at_once_decide_once(loop: Loop) -> None:
    """As for a moment when a lock is lost: what both send has one id."""
    both = threading.Barrier(2)
    one_at_a_time = threading.Lock()

    def send(event: dict[str, Any]) -> str | None:
        both.wait(PATIENCE_S)
        with one_at_a_time:
            return loop.send(event)

    with running(loop, RollsBack(), send=send), running(loop, RollsBack(), send=send):
        until(lambda: len(loop.sent) == 2)
        loop.catch_up()
    assert loop.sent[0] == loop.sent[1]
    assert len(loop.rolled_back()) == 1
    assert loop.letters() == 0


def test_one_that_fails_stops_no_other_and_is_told_once(loop: Loop) -> None:
    """Whatever it raises; it is tried again, and what it says is said once."""

    def fails() -> None:
        raise KeyError("of a decider")

    failing, other = Looks("failing", fails), Looks("other")
    with capture_logs() as lines, running(loop, failing, other):
        until(lambda: failing.count >= 20 and other.count >= 3)
    told = [line for line in lines if line["log_level"] == "warning"]
    assert [(line["event"], line["rule"]) for line in told] == [("a decider cannot do its work", "failing")]


def test_what_cannot_be_sent_is_sent_later(loop: Loop) -> None:
    """The log is away: the same event is tried until it is taken."""
    tried: list[Any] = []

    def send(event: dict[str, Any]) -> str | None:
        tried.append(event)
        if len(tried) < 4:
            raise NotSent("no collector")
        return loop.send(event)

    with capture_logs() as lines, running(loop, RollsBack(), send=send):
        until(lambda: loop.sent)
    assert tried == [loop.sent[0]] * 4
    told = [line["event"] for line in lines if line["log_level"] == "warning"]
    assert told == ["a decider cannot do its work"]


def test_a_server_that_asks_for_silence_gets_it(loop: Loop) -> None:
    """A Retry-After is kept to, whatever chance draws."""
    tried: list[float] = []

    def send(event: dict[str, Any]) -> str | None:
        tried.append(time.monotonic())
        raise NotSent("busy", wait_s=0.1)

    with running(loop, RollsBack(), send=send):
        until(lambda: len(tried) == 2)
    assert tried[1] - tried[0] >= 0.1


def test_one_that_hangs_holds_up_neither_another_nor_the_end(loop: Loop) -> None:
    """It has a daemon thread of its own, and `stop` says that it is left."""
    over = threading.Event()
    hanging, other = Looks("hanging", lambda: over.wait(PATIENCE_S)), Looks("other")
    runner = Runner([hanging, other], lambda: loop.store, loop.log.ends, loop.send, first_s=0.0)
    runner.start()
    until(lambda: hanging.count and other.count >= 3)
    began = time.monotonic()
    assert not runner.stop(0.05)
    assert time.monotonic() - began < 1.0
    over.set()
    assert runner.stop(PATIENCE_S)


def test_a_commit_that_touches_what_it_reads_wakes_it(loop: Loop) -> None:
    """It looks at once, and not for a table that it does not read."""

    class Reader(Looks):
        reads = (COUNTS,)
        every_s = 3600.0

    decider = Reader()
    with running(loop, decider) as runner:
        until(lambda: decider.count == 1)
        runner.touched({FACTS.name})
        time.sleep(0.03)
        assert decider.count == 1
        runner.touched({FACTS.name, COUNTS.name})
        until(lambda: decider.count == 2)
