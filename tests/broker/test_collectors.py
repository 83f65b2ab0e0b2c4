"""Collectors die between write and answer; the client sends again, and it counts once."""

from __future__ import annotations

from functools import partial

import pytest

from tests.broker.checks import check_promise
from tests.broker.conftest import ROUNDS
from tests.crash.load import Load, crossing
from tests.feedback.running import until
from tests.services.deployment import Deployment


@pytest.mark.parametrize("step", ["append.1", "append.2", "append.3"])
def test_a_collector_killed_before_it_answers(loopline: Deployment, step: str) -> None:
    """SIGKILL before the write, before its acknowledgement, before the answer: sent again, it counts once."""
    plan = loopline.folder / "plan"
    plan.write_text(f"{step}:5")
    victim = loopline.member("collector").start(LOOPLINE_CRASH_PLAN=str(plan)).ready()
    loopline.work()
    load = Load(loopline.address, senders=2, batches=12, make=crossing)
    load.start()
    until(lambda: not victim.running, f"the collector to die at {step}")
    victim.start()
    load.wait()
    assert not plan.exists()
    check_promise(loopline, load)


@pytest.mark.timeout(240 + 20 * ROUNDS)
def test_collectors_die_in_turn_under_load(loopline: Deployment) -> None:
    """One of two collectors is killed again and again at any moment; the other one takes the load."""
    first, second = loopline.collect(2)
    loopline.work()
    load = Load(loopline.address, senders=3, batches=30 * ROUNDS, make=crossing)
    load.start()
    for number in range(ROUNDS):
        until(partial(load.reached, load.sent * number / ROUNDS), "the load to go on")
        victim = (first, second)[number % 2]
        victim.kill()
        victim.start().ready()
    load.wait()
    check_promise(loopline, load)
