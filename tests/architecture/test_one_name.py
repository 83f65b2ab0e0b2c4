"""A class has a name of its own: no two rooms have one of the same name."""

from __future__ import annotations

import ast
from collections import defaultdict

from tests.architecture.source import ROOMS, ROOT
from tests.architecture.tracked import files

DOUBLES = {
    "Batch",
    "Stage",
    "Tally",
    "View",
}
"""Names from before the rule, which still mean two things. Take out what was renamed; add none."""


def doubles() -> dict[str, list[str]]:
    """The public names of classes that several folders of the platform have, and those folders."""
    folders: defaultdict[str, set[str]] = defaultdict(set)
    for path in files(ROOT):
        inside = path.relative_to(ROOT)
        if inside.parts[0] not in ROOMS or path.suffix != ".py":
            continue
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                folders[node.name].add(inside.parent.as_posix())
    return {name: sorted(where) for name, where in folders.items() if len(where) > 1}


def test_two_rooms_have_no_class_of_one_name() -> None:
    """A word has one meaning in the house: a new class takes a name that no other folder has."""
    assert set(doubles()) == DOUBLES
