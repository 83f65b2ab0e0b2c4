"""The map of the code shows the folders that are there, and the files that it names exist."""

from __future__ import annotations

import re

from tests.architecture.source import ROOMS, ROOT
from tests.architecture.tracked import files

PAGE = ROOT / "docs" / "explanation" / "code-map.md"
CLIENT = "clients/python/loopline"
MOST_LINES = 60
"""The tree fits on one screen."""


def tree() -> list[str]:
    """The folders of the page's tree, in its order."""
    block = re.search(r"```text\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block is not None
    found: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in block[1].splitlines():
        name = line.split()[0].rstrip("/")
        depth = len(line) - len(line.lstrip())
        parents = [each for each in parents if each[0] < depth]
        parents.append((depth, name))
        found.append("/".join(part for _, part in parents))
    return found


def folders() -> list[str]:
    """Every package of the product."""
    inside = (path.relative_to(ROOT).as_posix() for path in files(ROOT))
    packages = (name.removesuffix("/__init__.py") for name in inside if name.endswith("/__init__.py"))
    return sorted(name for name in packages if name.split("/")[0] in ROOMS or name.startswith(CLIENT))


def test_the_tree_shows_every_folder_once() -> None:
    """Who adds a folder says in a line what it is for; none is shown that is gone."""
    assert sorted(tree()) == folders()
    assert len(tree()) < MOST_LINES


def test_rooms_come_from_the_ground_up() -> None:
    """The tree's order is that of the floors."""
    assert [name for name in tree() if "/" not in name] == list(ROOMS)


def test_every_file_that_is_named_is_there() -> None:
    """The way of an event through the code is followed file by file."""
    named = re.findall(r"`((?:schemas|models|streams|feedback)/[a-z_0-9/]+(?:\.py)?)`", PAGE.read_text())
    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []
