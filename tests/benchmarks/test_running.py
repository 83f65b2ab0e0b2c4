"""The benchmarks as commands: a quick run prints every row, a trial compares what came out."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import GROUPS

_ROWS = {
    "append",
    "http-batches",
    "http-single",
    "worker",
    "worker-store",
    "hot",
    "growth",
    "growth-memory",
    "replay",
    "release",
    "help",
    "client",
    "visible",
    "visible-p99",
}


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


@pytest.mark.peer
@pytest.mark.timeout(300)
def test_a_quick_run_measures_every_row(tmp_path: Path) -> None:
    """Every promise of the table has a row with a number and a verdict; which one is not judged here."""
    # The distributed rows need a broker: `test_cluster` runs them.
    groups = [name for name in GROUPS if not name.startswith("cluster-")]
    only = [word for name in groups for word in ("--only", name)]
    done = _run("--quick", "--json", "--dir", str(tmp_path), *only)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {row["name"] for row in report["rows"]} == _ROWS
    assert all(row["reached"] is not None for row in report["rows"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(300)
def test_one_row_is_printed_as_a_table(tmp_path: Path) -> None:
    """`--only` measures that row alone, and says where and on how much."""
    done = _run("--quick", "--only", "help", "--dir", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Python" in done.stdout
    assert "loopline --help" in done.stdout
    assert "0.30 s" in done.stdout
    assert "append" not in done.stdout


def test_what_is_not_there_is_a_usage_error() -> None:
    """A row or trial that does not exist is named, with those that do."""
    assert _run("--only", "speed").returncode == 2
    done = _run("trial", "speed")
    assert done.returncode == 2
    assert "sgd_confirm" in done.stderr


def test_without_data_a_trial_says_so() -> None:
    """Trials need data that the project does not ship; without it they say which."""
    done = _run("trial", "sgd_confirm")
    assert done.returncode == 0
    assert "LOOPLINE_DATA" in done.stdout


@pytest.mark.timeout(300)
def test_a_trial_compares_the_views_with_the_data(tmp_path: Path) -> None:
    """Confirmations and corrections go through the real server, and come out as the data says."""
    folder = tmp_path / "sgd_confirm"
    folder.mkdir()
    with (folder / "sgd_confirm.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "dialogue_id", "turn", "service", "proposed", "answer", "correction"])
        for turn in range(30):
            no = turn % 3 == 0
            proposed = json.dumps({"time": ["11:30 am"], "seats": [str(turn)]})
            right = json.dumps({"time": "noon"} if no else {})
            writer.writerow(["dev", "1_0", turn, "Restaurants_2", proposed, "no" if no else "yes", right])
    done = _run("trial", "sgd_confirm", LOOPLINE_DATA=str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "everything is as the data says" in done.stdout
    assert "identical" in done.stdout


def test_groups_are_rows() -> None:
    """Every name that `--only` takes is a row of the table; `test_cluster` has the others."""
    assert {name for name in GROUPS if not name.startswith("cluster-")} <= _ROWS
