"""The recipes of CONTRIBUTING.md, each carried out and checked in a copy of the tree as the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.tracked import files
from tests.docs.pages import ROOT, Block, blocks

PAGE = ROOT / "CONTRIBUTING.md"
ROOMS = ("schemas", "models", "streams", "feedback", "clients", "tests")
"""What a recipe may change, beside the pages."""

_FILE = re.compile(r"# (?P<path>[\w./-]+)(?:, (?P<how>before|instead of): (?P<text>.+))?\n")


def recipes() -> dict[str, list[Block]]:
    """The blocks of each recipe, by its heading."""
    part = PAGE.read_text().partition("\n## Recipes\n")[2].partition("\n## ")[0]
    sections = (section.partition("\n") for section in part.split("\n### ")[1:])
    return {title: list(blocks(text)) for title, _, text in sections}


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A copy of the sources, to be changed."""
    root = tmp_path / "tree"
    for path in files(ROOT):
        inside = path.relative_to(ROOT)
        if inside.parts[0] in ROOMS or inside.parts[0] == "docs" or len(inside.parts) == 1:
            (root / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / inside)
    yield root
    shutil.rmtree(root)


def follow(block: Block, tree: Path) -> None:
    """Do in the tree what a block says."""
    if block.language == "bash":
        _run(block.text, tree)
        return
    named = _FILE.match(block.text)
    assert named is not None, f"{PAGE.name}: a block of a recipe begins with its file: {block.text}"
    path, text = tree / named["path"], block.text[named.end() :]
    if named["how"] is None:
        assert not path.exists(), f"{named['path']} is there already"
        path.write_text(text)
        return
    place = named["text"] if named["how"] == "instead of" else f"\n{named['text']}"
    before = path.read_text()
    assert before.count(place) == 1, f"{named['path']} has not once: {named['text']}"
    if named["how"] == "instead of":
        after = text.removesuffix("\n")
    else:
        between = "\n\n" if named["text"].startswith("class ") else ""
        after = f"\n{text}{between}{named['text']}"
    path.write_text(before.replace(place, after))


def _run(text: str, tree: Path) -> None:
    """Run commands in the tree, whose rooms and client come before those that are installed."""
    tools = tree.parent / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tools / "python").chmod(0o755)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "LOOPLINE_"))
    }
    ran = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", text],
        cwd=tree,
        env={
            **kept,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": f"{tree}{os.pathsep}{tree / 'clients' / 'python'}",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, f"{text}\n{ran.stdout}\n{ran.stderr}"


@pytest.mark.parametrize("title", recipes())
def test_a_recipe_leads_where_it_says(title: str, tree: Path) -> None:
    """Who does what the page says, and nothing else, has what the page promises."""
    for block in recipes()[title]:
        follow(block, tree)


def test_there_is_a_recipe_for_every_kind_of_thing() -> None:
    """What the house is built to take in has a recipe, and every recipe ends with a check."""
    wanted = {"An event type", "A view", "A metric", "A command", "A store adapter", "A decider"}
    assert recipes().keys() == wanted
    assert [title for title, steps in recipes().items() if steps[-1].language != "bash"] == []


def test_a_recipe_that_no_longer_fits_is_found(tree: Path) -> None:
    """A place in a file that is gone fails, and so does a command."""
    gone = Block("python", "# streams/metrics.py, before: class Gone\nclass Here: ...\n", 1)
    with pytest.raises(AssertionError, match="has not once"):
        follow(gone, tree)
    with pytest.raises(AssertionError):
        follow(Block("bash", "python -c 'raise SystemExit(1)'\n", 1), tree)
    own = (
        "import streams, loopline; assert all(each.__file__.startswith(CWD) for each in (streams, loopline))"
    )
    follow(Block("bash", f"python -c 'import os; CWD = os.getcwd(); {own}'\n", 1), tree)
