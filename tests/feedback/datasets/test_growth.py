"""Releases that follow each other: no input is ever in two splits, but for those that move to audit."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from feedback.datasets.errors import NothingToRelease
from tests.feedback.datasets.conftest import open_gate
from tests.feedback.datasets.world import World, placed

INPUTS = st.integers(0, 40)
STEPS = st.lists(
    st.tuples(
        st.lists(st.tuples(INPUTS, st.sampled_from("358"), st.booleans()), max_size=12),
        st.lists(INPUTS, max_size=3),
        st.sampled_from([None, "1", "2"]),
    ),
    min_size=2,
    max_size=4,
)


@pytest.fixture(scope="module", autouse=True)
def no_gate() -> Any:
    """The splits are looked at here without the gate's help."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("feedback.datasets.release.judge", open_gate)
        yield


@settings(max_examples=25)
@given(STEPS)
def test_no_input_is_in_two_splits_of_any_release(steps: list[Any]) -> None:
    """Whatever comes, and whatever is asked for: an input stays, or moves to audit for good.

    Each move is counted once, in the release where it shows.
    """
    with TemporaryDirectory() as folder:
        world = World(Path(folder) / "datasets", partitions=2)
        world.say(world.declared(["3", "5", "8"]), world.declared(["3", "5", "8"], version="2"))
        # Each input's split so far, in any release.
        home: dict[tuple[str, str], str] = {}
        audited: set[str] = set()
        number = 0
        labelled: list[dict[str, Any]] = []
        for feedback, taken_back, version in steps:
            events = []
            for which, label, audit in feedback:
                number += 1
                made = world.predicted(
                    number, input=f"form {which}", audit=audit, model_version=str(1 + which % 2)
                )
                said = world.corrected(number, label)
                labelled.append(said)
                events += [made, said]
                if audit:
                    audited.add(f"form {which}")
            for place in taken_back:
                if labelled:
                    gone = labelled[place % len(labelled)]
                    events.append(
                        world.event(
                            "feedback.retraction",
                            prediction_id=gone["data"]["prediction_id"],
                            person="u-1",
                            explains=gone["id"],
                        )
                    )
            if events:
                world.say(*events)
            published = _released(world, version)
            if published is None:
                continue
            moved = 0
            for reference, split in placed(published).items():
                before = home.get((version, reference))
                if before is not None and before != split:
                    assert split == "audit"
                    moved += 1
                home[version, reference] = split
            assert published.manifest["moved_to_audit"]["inputs"] == moved
            assert _audited(published) <= audited


def _released(world: World, version: str | None) -> Any:
    try:
        return world.release(model_version=version, name=None if version is None else f"only-{version}")
    except NothingToRelease:
        return None


def _audited(published: Any) -> set[str]:
    table = pq.read_table(Path(published.place) / "audit.parquet")
    return set(table["input"].to_pylist())
