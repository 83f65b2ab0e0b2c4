"""A version is made by one command, from one number, or refused before anything is written."""

from __future__ import annotations

import datetime
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from tests.architecture.source import ROOT

TODAY = datetime.date(2026, 12, 1)
GOOD, BAD = [sys.executable, "-c", ""], [sys.executable, "-c", "raise SystemExit(1)"]


@pytest.fixture(name="tool", scope="module")
def load_tool() -> ModuleType:
    """The script, which lies in no package."""
    spec = importlib.util.spec_from_file_location("release", ROOT / ".ci" / "release.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def git(root: Path, *words: str) -> str:
    """What a git command prints."""
    named = ["-c", "user.name=a", "-c", "user.email=a@example.com"]
    return subprocess.run(
        ["git", *named, *words], cwd=root, capture_output=True, text=True, check=True
    ).stdout


@pytest.fixture(name="repository")
def make_repository(tmp_path: Path, tool: ModuleType) -> Path:
    """A repository with the files that a release writes to, as they are here."""
    for name in (tool.VERSION_FILE, tool.CHANGELOG, *tool.images(ROOT)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "schemas" / "json", tmp_path / "schemas" / "json")
    text = "# Changelog\n\n## Unreleased\n\n- Something is new.\n\n## 0.0.1, 2026-01-01\n\n- Old.\n"
    (tmp_path / tool.CHANGELOG).write_text(text)
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "a")
    git(tmp_path, "config", "user.email", "a@example.com")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "All")
    return tmp_path


def test_a_release_writes_the_number_everywhere_it_is(repository: Path, tool: ModuleType) -> None:
    """The number, the images' tags, the frozen schemas and the changelog are one commit with a tag."""
    tool.release(repository, "7.8.9", GOOD, TODAY, dry=False)
    assert tool.current(repository) == "7.8.9"
    for name in tool.images(repository):
        text = (repository / name).read_text()
        assert set(re.findall(r"loopline-platform:([0-9.]+)", text)) <= {"7.8.9"}
    frozen, now = repository / "schemas" / "released" / "v7.8.9", repository / "schemas" / "json"
    assert sorted(path.name for path in frozen.iterdir()) == sorted(path.name for path in now.iterdir())
    changelog = (repository / tool.CHANGELOG).read_text()
    assert "## Unreleased\n\n## 7.8.9, 2026-12-01\n\n- Something is new.\n\n## 0.0.1" in changelog
    assert git(repository, "status", "--porcelain") == ""
    assert git(repository, "tag", "--points-at", "HEAD") == "v7.8.9\n"


def test_a_dry_run_writes_nothing(repository: Path, tool: ModuleType) -> None:
    """It says what would be done, and the gate is not asked."""
    head = git(repository, "rev-parse", "HEAD")
    done = tool.release(repository, "7.8.9", BAD, TODAY, dry=True)
    assert any("7.8.9" in line for line in done)
    assert (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")) == ("", head)
    assert git(repository, "tag") == ""


def uncommitted(root: Path) -> None:
    """Somebody is at work."""
    (root / "new.txt").write_text("new")


def tagged(root: Path) -> None:
    """The version was made before."""
    git(root, "tag", "v7.8.9")


def frozen(root: Path) -> None:
    """The version was made before, and this clone has no tags."""
    shutil.copytree(root / "schemas" / "json", root / "schemas" / "released" / "v7.8.9")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Frozen")


def nothing_new(root: Path) -> None:
    """The changelog's section is empty."""
    (root / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.0.1, 2026-01-01\n\n- Old.\n")
    git(root, "commit", "--all", "--quiet", "--message", "Nothing")


def as_it_is(root: Path) -> None:
    """Nothing is wrong with the repository."""


@pytest.mark.parametrize(
    "prepare, version, gate, reason",
    [
        (uncommitted, "7.8.9", GOOD, "not committed"),
        (tagged, "7.8.9", GOOD, "already"),
        (frozen, "7.8.9", GOOD, "is there already"),
        (nothing_new, "7.8.9", GOOD, "nothing under Unreleased"),
        (as_it_is, "7.8.9", BAD, "fails: mend that first"),
        (as_it_is, "0.0.1", GOOD, "not newer"),
        (as_it_is, "HERE", GOOD, "not newer"),
        (as_it_is, "v7.8", GOOD, "no version"),
        (as_it_is, "07.8.9", GOOD, "no version"),
    ],
)
def test_a_release_is_refused_before_anything_is_written(
    repository: Path,
    tool: ModuleType,
    prepare: Callable[[Path], None],
    version: str,
    gate: list[str],
    reason: str,
) -> None:
    """The reason says what to do first."""
    prepare(repository)
    version = tool.current(repository) if version == "HERE" else version
    before = git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")
    with pytest.raises(tool.Refused, match=reason):
        tool.release(repository, version, gate, TODAY, dry=False)
    assert (git(repository, "status", "--porcelain"), git(repository, "rev-parse", "HEAD")) == before


def test_the_version_is_kept_in_one_place(tool: ModuleType) -> None:
    """Both distributions read it there, and the images' tags are the same."""
    version = tool.current(ROOT)
    for folder in (ROOT, ROOT / "clients" / "python"):
        settings = tomllib.loads((folder / "pyproject.toml").read_text())
        assert "version" not in settings["project"]
        assert (folder / settings["tool"]["hatch"]["version"]["path"]).samefile(ROOT / tool.VERSION_FILE)
    for name in tool.images(ROOT):
        assert set(re.findall(r"loopline-platform:([0-9.]+)", (ROOT / name).read_text())) <= {version}


def test_a_commit_is_checked_by_what_the_gate_runs() -> None:
    """The hook before a commit and the gate run lint by one command, so that they cannot differ."""
    hooks = [
        hook
        for repo in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
        for hook in repo["hooks"]
    ]
    assert [(hook["entry"], hook["pass_filenames"], hook["always_run"]) for hook in hooks] == [
        ("make lint", False, True)
    ]
    assert re.search(r"^begin lint$", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
