"""Generated files: up to date, the same every time, and stale ones are named."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from schemas.describe import generate

ROOT = Path(__file__).parents[3]


def test_the_checked_in_files_are_up_to_date() -> None:
    """Whoever changes a type runs `python -m schemas.describe.generate`."""
    assert generate.stale(generate.ROOT, generate.generated()) == []


def test_the_command_checks_them() -> None:
    """`make lint` runs the check as a process, in which the hash seed is another one."""
    done = subprocess.run(
        [sys.executable, "-m", "schemas.describe.generate", "--check"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    """The first time everything is written, the second time nothing is."""
    files = generate.generated()
    assert generate.write(tmp_path, files) == sorted(files)
    assert generate.write(tmp_path, files) == []


def test_stale_files_are_named_and_the_status_is_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that differs, one that is missing, and one whose type is gone."""
    assert generate.main([], tmp_path) == 0
    assert generate.main(["--check"], tmp_path) == 0
    schemas = tmp_path / "schemas"
    (schemas / "json" / "feedback.thumb.v1.json").write_text("{}")
    (schemas / "openapi.json").unlink()
    (schemas / "json" / "feedback.smile.v1.json").write_text("{}")
    (tmp_path / "clients/python/loopline/rules.py").write_text("")
    capsys.readouterr()
    assert generate.main(["--check"], tmp_path) == 1
    named = capsys.readouterr().err
    for name in ("json/feedback.thumb.v1.json", "openapi.json", "json/feedback.smile.v1.json"):
        assert f"schemas/{name} is stale" in named
    assert "clients/python/loopline/rules.py is stale" in named
    assert not (schemas / "openapi.json").exists()
    assert generate.main([], tmp_path) == 0
    assert not (schemas / "json" / "feedback.smile.v1.json").exists()
    assert generate.main(["--check"], tmp_path) == 0


def test_another_argument_is_a_mistake(tmp_path: Path) -> None:
    """Status 2, and nothing is written."""
    assert generate.main(["--chek"], tmp_path) == 2
    assert list(tmp_path.iterdir()) == []
