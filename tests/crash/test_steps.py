"""SIGKILL at each numbered step of appending, of projecting and of deciding.

The steps are those of `streams.log.sqlite`, `streams.projection.apply` and `streams.deciders.reconcile`.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from feedback.installation.home import Home
from tests.crash.checking import check_promise, serving
from tests.crash.load import Load
from tests.crash.releases import announced, copies, put_release
from tests.feedback.running import loopline, until

pytestmark = pytest.mark.crash


@pytest.mark.parametrize("step", ["append.1", "append.2", "append.3"])
def test_a_collector_killed_at_a_step_of_append_loses_and_doubles_nothing(tmp_path: Path, step: str) -> None:
    """Before the commit nothing was promised; after it the client's retry with the same id counts once."""
    plan = tmp_path / "plan"
    plan.write_text(f"{step}:20")
    with serving(tmp_path / "home", LOOPLINE_CRASH_PLAN=str(plan)) as server:
        load = Load(server.address)
        first = server.collector()
        load.start()
        server.collector(other_than=first)
        assert not plan.exists()
        load.wait()
        assert load.retries > 0
        check_promise(server, load)


@pytest.mark.parametrize("step", ["project.1", "project.2", "project.3", "project.4", "project.5"])
def test_a_worker_killed_at_a_step_of_projection_loses_and_doubles_nothing(tmp_path: Path, step: str) -> None:
    """Views and position are committed together, so the next worker goes on where the views stand."""
    plan = tmp_path / "plan"
    # On a busy machine few transactions do it all: each takes what has come meanwhile.
    plan.write_text(f"{step}:3")
    with serving(tmp_path / "home", LOOPLINE_CRASH_PLAN=str(plan)) as server:
        load = Load(server.address)
        load.start()
        until(lambda: not plan.exists(), "the worker to reach the step")
        load.wait()
        assert not server.ended()
        check_promise(server, load)


@pytest.mark.parametrize("step", ["decide.1", "decide.2", "decide.3", "decide.4"])
def test_a_worker_killed_at_a_step_of_deciding_decides_once(tmp_path: Path, step: str) -> None:
    """Nothing is remembered: the next worker finds what is missing, and its event has the same id."""
    plan = tmp_path / "plan"
    plan.write_text(f"{step}:1")
    home = Home(tmp_path / "home")
    home.create(2)
    with contextlib.closing(home.open_log()) as log:
        put_release(home.datasets, log.identity.id, 1)
        with serving(home.path, LOOPLINE_CRASH_PLAN=str(plan)) as server:
            until(lambda: not plan.exists(), "the worker to reach the step")
            until(lambda: announced(home.current_store()) == 1, "the event in the views")
            assert not server.ended()
            # Another release shows that the first is not sent again.
            put_release(home.datasets, log.identity.id, 2)
            until(lambda: announced(home.current_store()) == 2, "the event in the views")
        assert copies(log) <= 3
        assert announced(home.current_store()) == 2
    said = loopline("verify", "--home", home.path)
    assert "identical" in said.output
    home.close()
