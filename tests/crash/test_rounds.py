"""SIGKILL at random moments, again and again, on one home.

CRASH_ROUNDS says how many rounds; the suite does a few, `CRASH_ROUNDS=50 make test ARGS=tests/crash` many.
"""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from random import Random

import pytest

from tests.crash.checking import Server, check_promise, serving
from tests.crash.load import Load
from tests.feedback.running import until

pytestmark = pytest.mark.crash

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "4"))
_PER_ROUND = 12


@pytest.mark.timeout(120 + 12 * ROUNDS)
def test_killed_at_any_moment_nothing_is_lost_or_doubled(tmp_path: Path) -> None:
    """Collector, worker or both die in mid-load, round after round; the sums are exact at the end."""
    random = Random(20261120)
    with serving(tmp_path / "home") as server:
        load = Load(server.address, senders=2, batches=_PER_ROUND * ROUNDS)
        load.start()
        for number in range(ROUNDS):
            due = int(load.sent * (number + random.random() * 0.8) / ROUNDS)
            until(partial(load.reached, due), f"{due} acknowledged events")
            _kill(server, random.choice(["collector", "worker", "both"]))
        load.wait()
        check_promise(server, load)


def _kill(server: Server, victim: str) -> None:
    assert server.running is not None
    worker, (collector, _) = server.worker(), server.running.children()
    if victim in ("worker", "both"):
        os.kill(worker, signal.SIGKILL)
    if victim in ("collector", "both"):
        os.kill(collector, signal.SIGKILL)
        server.collector(other_than=collector)
    if victim in ("worker", "both"):
        server.worker(other_than=worker)
