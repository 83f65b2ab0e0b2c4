"""The demo as a whole, with real processes, on a smaller exam: `make demo` plays the full one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.feedback.running import told

# A busy machine plays the two side by side in minutes; alone it takes half a minute.
pytestmark = pytest.mark.timeout(300)

PLAY = """
import sys
from feedback.demo import OnHome, run
from feedback.demo.exam import Size
from feedback.installation.home import Home
run(OnHome(Home(sys.argv[1]), port=0), serve=False, as_json=sys.argv[2] == "json", size=Size(40, 160, 200))
"""
PATIENCE_S = 280


class Played(NamedTuple):
    """One run: its home, and what it said."""

    home: Path
    said: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Played, Played]:
    """Two runs at the same time on fresh homes, whatever the environment names; the second one in JSON."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "random",
        "LOOPLINE_URL": "http://127.0.0.1:9",
        "LOOPLINE_HOME": str(elsewhere),
    }
    started = []
    for way in ("prose", "json"):
        home = tmp_path_factory.mktemp(way) / "home"
        command = [sys.executable, "-P", "-c", PLAY, str(home), way]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        started.append((home, process))
    played = []
    try:
        for home, process in started:
            out, err = process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 0, err
            played.append(Played(home, out if "json" not in home.parts[-2] else out + "\0" + err))
    finally:
        for _, process in started:
            process.kill()
            process.wait()
    assert list(elsewhere.iterdir()) == []
    return played[0], played[1]


def _numbers(said: str, home: Path) -> list[str]:
    """The lines of a story without where it happened."""
    return [
        line.replace(str(home), "HOME")
        for line in said.splitlines()
        if line.strip() and not line.startswith("   server  ")
    ]


def test_two_runs_say_the_same(runs: tuple[Played, Played]) -> None:
    """Every line but home and address is the same on every run; with --json it goes to standard error."""
    prose, as_json = runs
    beside = _numbers(as_json.said.partition("\0")[2], as_json.home)
    lines = _numbers(prose.said, prose.home)
    assert len(lines) > 100
    assert [line for line in lines if line not in beside] == []


def test_the_document_holds_the_figures(runs: tuple[Played, Played]) -> None:
    """With --json one document on standard output says what happened."""
    figures: Any = json.loads(runs[1].said.partition("\0")[0])
    assert figures["waiting"] == {"prediction": 2}
    assert figures["verified"]["identical"]
    assert figures["timeline"] == ["received", "joined", "in_effect", "in_dataset", "in_model", "deployed"]
    assert figures["after"]["right"] > figures["before"]["right"]
    assert sum(figures["dataset"]["splits"].values()) <= figures["labels"]["labelled"]
    for kind, (sent, kept, counted) in figures["counts"].items():
        assert sent >= kept >= counted > 0, kind


def test_everything_refused_has_its_reason(runs: tuple[Played, Played]) -> None:
    """The dead letters are of every code that the demo provokes."""
    figures: Any = json.loads(runs[1].said.partition("\0")[0])
    assert set(figures["dead_letters"]) == {
        "declaration_conflict",
        "duplicate_key",
        "id_conflict",
        "invalid_json",
        "invalid_value",
        "label_invalid",
        "model_mismatch",
        "not_utf8",
        "prediction_conflict",
        "too_deep",
        "unknown_field",
        "unknown_type",
    }


def test_what_is_left_verifies(runs: tuple[Played, Played]) -> None:
    """The home of a demo that has ended holds views that are identical to its log, and its dataset."""
    home = runs[0].home
    assert told("verify", "--home", home)["identical"]
    listed = told("dataset", "list", "--home", home)
    assert [item["name"] for item in listed["items"]] == ["digit-reader@1"]


def test_a_line_of_the_story_is_a_line(runs: tuple[Played, Played]) -> None:
    """What the demo says is laid out for people: nothing in it is escaped."""
    for played in runs:
        assert "\\n" not in played.said.partition("\0")[2 if "\0" in played.said else 0]
    assert "Loopline: the whole loop" in runs[0].said.splitlines()[0]
