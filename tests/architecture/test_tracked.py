"""The repository names no machine and no registry, and the checks find it when it does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.architecture import tracked
from tests.architecture.source import ROOT


def test_no_file_names_a_machine_or_a_registry() -> None:
    """Every file of the repository is free of machine paths and registry hosts."""
    paths = tracked.files(ROOT)
    assert ROOT / "pyproject.toml" in paths
    assert tracked.check_files(ROOT, paths) == []


# Put together here, so that this file does not say what it forbids.
@pytest.mark.parametrize(
    "line",
    [
        "see " + "/ro" + "ot/notes",
        "open('/ho" + "me/ann/x')",
        "'/wo" + "rk/main'",
        "https://pypi." + "org/simple",
        "registry.npmjs." + "org",
    ],
)
def test_a_machine_or_a_registry_is_found(line: str) -> None:
    """A line that names either is found with its number."""
    assert [each.split()[0] for each in tracked.check_text("a.md", f"fine\n{line}\n")] == ["a.md:2"]


@pytest.mark.parametrize(
    "line",
    ["/v1/events", "docs/wo" + "rk/notes", "/scratch/x", "source: /shop/name-matcher", "./ho" + "me/x"],
)
def test_what_only_looks_like_one_is_not(line: str) -> None:
    """Routes, sources and relative paths are nobody's machine."""
    assert tracked.check_text("a.md", line) == []


def test_the_files_are_those_of_git(tmp_path: Path) -> None:
    """Tracked and new files are looked at; ignored ones, deleted ones and what is not text are not."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    (tmp_path / ".gitignore").write_text("ignored\n")
    for name in ("new.md", "ignored"):
        (tmp_path / name).write_text("/ro" + "ot/x\n")
    (tmp_path / "binary").write_bytes(b"\xff/ro" + b"ot/x")
    assert {path.name for path in tracked.files(tmp_path)} == {".gitignore", "new.md", "binary"}
    assert len(tracked.check_files(tmp_path, tracked.files(tmp_path))) == 1


def test_without_git_it_says_so(tmp_path: Path) -> None:
    """A folder that is no checkout is an error, not an empty list that passes."""
    with pytest.raises(tracked.NotARepositoryError):
        tracked.files(tmp_path)
