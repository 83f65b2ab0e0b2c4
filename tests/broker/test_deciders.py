"""Collectors that decide die at each step, and hand the turn on; what is decided is in the views once."""

from __future__ import annotations

import contextlib
from pathlib import Path

from feedback.installation.cluster import Cluster
from tests.broker.counting import check_identical
from tests.crash.releases import announced, copies, put_release
from tests.feedback.running import until
from tests.services.deployment import Deployment

STEPS = ("decide.1", "decide.2", "decide.3", "decide.4")


def test_a_collector_killed_at_a_step_of_deciding_decides_once(loopline: Deployment) -> None:
    """SIGKILL at each step; the next collector gets the lock, finds what is missing, and sends it."""
    plan = loopline.folder / "plan"
    shelf = Path(loopline.variables["LOOPLINE_DATASETS"])
    loopline.work()
    place = Cluster(loopline.variables["LOOPLINE_LOG"], loopline.variables["LOOPLINE_STORE"], shelf)
    with contextlib.closing(place), contextlib.closing(place.open_log()) as log:
        victim = loopline.member("collector")
        for version, step in enumerate(STEPS, 1):
            put_release(shelf, log.identity.id, version)
            plan.write_text(f"{step}:1")
            victim.start(LOOPLINE_CRASH_PLAN=str(plan))
            until(lambda: not victim.running, f"the collector to die at {step}")
            assert not plan.exists()
        victim.start()
        until(lambda: announced(place.current_store()) == len(STEPS), "the events in the views")
        before = copies(log)
        put_release(shelf, log.identity.id, len(STEPS) + 1)
        until(lambda: announced(place.current_store()) == len(STEPS) + 1, "the last event in the views")
        assert copies(log) == before + 1
    check_identical(loopline)
