"""Workers die, join, leave and come back from the dead; every event counts once."""

from __future__ import annotations

import time
from random import Random

import pytest

from tests.broker.checks import check_promise
from tests.broker.conftest import ROUNDS
from tests.crash.load import Load, crossing
from tests.feedback.running import until
from tests.services.deployment import Deployment, Member
from tests.services.relay import Relay

_PER_ROUND = 20


def _reached(load: Load, share: float) -> None:
    """Wait until that share of the load was acknowledged."""
    until(lambda: load.done() >= load.sent * share, f"{share:.0%} of the load")


@pytest.mark.parametrize("step", ["project.1", "project.2", "project.3", "project.4", "project.5"])
def test_a_worker_killed_in_mid_block_leaves_nothing_half_done(loopline: Deployment, step: str) -> None:
    """SIGKILL at each numbered step of the projection; what it did not commit is done again, once."""
    plan = loopline.folder / "plan"
    plan.write_text(f"{step}:3")
    loopline.collect()
    loopline.work(LOOPLINE_CRASH_PLAN=str(plan))
    load = Load(loopline.address, senders=2, batches=12, make=crossing)
    load.start()
    load.wait()
    until(lambda: not plan.exists(), f"the worker to die at {step}")
    check_promise(loopline, load)


@pytest.mark.timeout(240 + 30 * ROUNDS)
def test_both_workers_die_in_turn_under_load(loopline: Deployment) -> None:
    """Two workers are killed in turn, again and again, at any moment; the sums are exact at the end."""
    random = Random(20261121)
    loopline.collect(2)
    first, second = loopline.work(2)
    load = Load(loopline.address, senders=3, batches=_PER_ROUND * ROUNDS, make=crossing)
    load.start()
    for number in range(2 * ROUNDS):
        _reached(load, (number + random.random() * 0.8) / (2 * ROUNDS))
        victim = (first, second)[number % 2]
        victim.kill()
        victim.start()
    load.wait()
    check_promise(loopline, load)


def test_a_third_worker_joins_and_leaves_under_load(loopline: Deployment) -> None:
    """Partitions move to a worker that joins, and back when it leaves; no block is missed on the way."""
    loopline.collect()
    loopline.work(2)
    load = Load(loopline.address, senders=3, batches=120, make=crossing)
    load.start()
    _reached(load, 0.2)
    (third,) = loopline.work(1)
    _reached(load, 0.6)
    assert third.end() == 0
    load.wait()
    check_promise(loopline, load)


def _has_partitions(worker: Member) -> bool:
    """Whether a worker was given partitions, by its own account."""
    return bool(worker.get("/readyz")[1].get("partitions"))


def test_a_zombie_that_commits_late_changes_nothing(loopline: Deployment) -> None:
    """A worker frozen in mid-load loses its partitions to another; thawed, what it still held is dropped."""
    loopline.collect()
    first, second = loopline.work(2)
    load = Load(loopline.address, senders=3, batches=60, make=crossing)
    load.start()
    _reached(load, 0.3)
    first.freeze()
    load.wait()
    # All partitions come to the other one once the group has given the frozen one up.
    until(lambda: second.get("/readyz")[1]["lag_blocks"] == 0, "the other worker to take over")
    first.thaw()
    again = Load(loopline.address, senders=1, batches=10, make=lambda sender, number: crossing(9, number))
    again.start()
    again.wait()
    until(lambda: _has_partitions(first), "the thawed worker to join again")
    load.acknowledged += again.acknowledged
    load.refused += again.refused
    load.positions += again.positions
    load.sent += again.sent
    check_promise(loopline, load)


def _partitions(worker: Member) -> int:
    """How many partitions a worker has, by its own account."""
    return len(worker.get("/readyz")[1]["partitions"].split(",")) if _has_partitions(worker) else 0


def test_a_worker_cut_off_from_postgresql_gives_its_partitions_up(loopline: Deployment) -> None:
    """Another worker takes them over and catches up; the one cut off says why, and comes back when it can."""
    loopline.collect()
    with Relay(loopline.variables["LOOPLINE_STORE"]) as relay:
        (cut,) = loopline.work(LOOPLINE_STORE=relay.url, LOOPLINE_STUCK_AFTER="3")
        (other,) = loopline.work()
        until(lambda: _has_partitions(cut) and _has_partitions(other), "both workers to have partitions")
        relay.freeze()
        load = Load(loopline.address, senders=2, batches=30, make=crossing)
        load.start()
        load.wait()
        until(lambda: _partitions(other) == 5, "the other worker to have all partitions")
        until(lambda: other.get("/readyz")[1]["lag_blocks"] == 0, "the other worker to catch up")
        status, answer = cut.get("/readyz")
        assert (status, answer["lag_blocks"]) == (503, None)
        assert "it gave its partitions up" in str(answer["reasons"])
        assert "nothing has moved for 3 s; the store has not answered for" in str(answer["reasons"])
        # What hung breaks; PostgreSQL refuses for a while, and the partitions stay where they are.
        relay.refuse()
        until(lambda: "is not available" in str(cut.get("/readyz")[1]["reasons"]), "the reason")
        time.sleep(2)
        assert _partitions(other) == 5
        relay.mend()
        until(lambda: _has_partitions(cut), "the worker to come back")
        again = Load(loopline.address, senders=1, batches=5, make=lambda sender, number: crossing(9, number))
        again.start()
        again.wait()
        assert again.sent
        load.acknowledged += again.acknowledged
        load.refused += again.refused
        load.positions += again.positions
        load.sent += again.sent
        check_promise(loopline, load)
        assert cut.get("/readyz")[0] == 200
        said = cut.said()
        assert said.count("the worker gives its partitions up") == 1
        assert said.count("the worker cannot continue and retries") <= 2
        assert "the worker continues" in said


def test_a_stuck_worker_says_so_within_half_a_minute(loopline: Deployment) -> None:
    """A worker that is alive but does not move while its lag grows is told by `/readyz`, there and here."""
    (collector,) = loopline.collect()
    (worker,) = loopline.work()
    load = Load(loopline.address, senders=1, batches=5, make=crossing)
    load.start()
    load.wait()
    check_promise(loopline, load)
    with loopline.holding_positions():
        since = time.monotonic()
        more = Load(loopline.address, senders=1, batches=5, make=lambda sender, number: crossing(9, number))
        more.start()
        more.wait()
        assert worker.healthy()
        until(lambda: worker.get("/readyz")[0] == 503, "the worker to say that it is stuck")
        assert time.monotonic() - since < 30
        # A collector goes on taking events in, and says what is the matter.
        until(lambda: "have not moved" in str(collector.get("/readyz")[1]["reasons"]), "the collector's word")
        assert collector.get("/readyz")[0] == 200
        # Told to end, it does not wait for what holds it up.
        since = time.monotonic()
        assert worker.end() == 0
        assert time.monotonic() - since < 10
    worker.start().ready()
    more.sent += load.sent
    more.acknowledged += load.acknowledged
    more.refused += load.refused
    check_promise(loopline, more)
