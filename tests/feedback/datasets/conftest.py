"""Fixtures of the dataset tests."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from feedback.datasets.gate import Evidence, Report
from tests.feedback.datasets.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world whose model answers digits, with two partitions."""
    made = World(tmp_path / "datasets", partitions=2)
    made.say(made.declared(["3", "5", "8"]))
    return made


def open_gate(evidence: Evidence, allow: Collection[str] = ()) -> Report:
    """A gate that lets everything pass, for tests of what is not the gate."""
    return {"passed": True, "allowed": [], "rows": evidence.rows().num_rows, "checks": []}


@pytest.fixture
def ungated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases are not judged: loading Great Expectations takes seconds."""
    monkeypatch.setattr("feedback.datasets.release.judge", open_gate)
