"""Collectors that decide die at each step, and hand the turn on; what is decided is in the views once."""

from __future__ import annotations

import contextlib
from functools import partial
from itertools import count
from pathlib import Path

from feedback.installation.cluster import Cluster
from tests.crash.releases import announced, copies, put_release
from tests.feedback.running import until
from tests.services.deployment import Deployment, Member

STEPS = ("decide.1", "decide.2", "decide.3", "decide.4")


def _doomed(loopline: Deployment, step: str) -> tuple[Member, Path]:
    """A collector that dies when it reaches a step, and the plan that says so."""
    plan = loopline.folder / step
    plan.write_text(f"{step}:1")
    return loopline.member("collector").start(LOOPLINE_CRASH_PLAN=str(plan)), plan


def _any_ended(members: list[tuple[Member, Path]]) -> bool:
    return not all(member.running for member, _ in members)


def test_a_collector_killed_at_a_step_of_deciding_decides_once(loopline: Deployment) -> None:
    """One of four has the lock; it dies at its step, and the next one finds what is missing."""
    shelf = Path(loopline.variables["LOOPLINE_DATASETS"])
    versions = count(1)
    installation = Cluster(loopline.variables["LOOPLINE_LOG"], loopline.variables["LOOPLINE_STORE"], shelf)
    with contextlib.closing(installation), contextlib.closing(installation.open_log()) as log:
        left = [_doomed(loopline, step) for step in STEPS]
        loopline.work()
        while left:
            put_release(shelf, log.identity.id, next(versions))
            until(partial(_any_ended, left), "the one that decides to die")
            assert not any(plan.exists() for member, plan in left if not member.running)
            left = [(member, plan) for member, plan in left if member.running]
        put = next(versions)
        put_release(shelf, log.identity.id, put)
        loopline.member("collector").start()
        until(lambda: announced(installation.current_store()) == put, "the events in the views")
        before = copies(log)
        put_release(shelf, log.identity.id, put + 1)
        until(lambda: announced(installation.current_store()) == put + 1, "the last event in the views")
        assert copies(log) == before + 1
