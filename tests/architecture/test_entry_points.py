"""What one package takes from another is written down where a reader of either looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture.entry_points import check_entry_points, imported, listed
from tests.architecture.source import Module, parse, read

LIST = '"""Streams.\n\n- `streams.log`: `Log`, one\n  or the other, `DEAD`\n- `streams.old.one`: `x`\n"""'


def test_the_lists_are_what_others_import() -> None:
    """Importing one more name from another package is a decision, taken in the list of that package."""
    modules = read()
    assert len(imported(modules)) > 100
    assert check_entry_points(modules) == []


def small(importer: str, points: str = LIST) -> dict[str, Module]:
    """A room with a list, a module in it, and one module of another room."""
    return {
        "streams": parse("streams", points, Path("streams/__init__.py")),
        "streams.log": parse("streams.log", "DEAD = 1\nclass Log: ...\nclass Hidden: ..."),
        "streams.old": parse("streams.old", "", Path("streams/old/__init__.py")),
        "feedback.a": parse("feedback.a", importer),
    }


def test_an_item_may_have_several_lines() -> None:
    """Its names are those in backquotes, wherever they stand in its text."""
    assert listed(small(""))["streams.log"] == {"Log", "DEAD"}


@pytest.mark.parametrize(
    "importer, wrong",
    [
        ("from streams.log import Log, Hidden, DEAD", "feedback.a:1 imports Hidden from streams.log"),
        ("from streams import log", "feedback.a:1 imports log from streams"),
        ("import streams.log", "feedback.a:1 imports log from streams"),
        ("from streams.log import Log", "nobody imports DEAD of streams.log"),
        ("", "streams.old.one is listed and is no module"),
    ],
)
def test_each_mistake_is_found(importer: str, wrong: str) -> None:
    """A name, a module, what nobody asks for any more, and a module that is gone."""
    assert any(each.startswith(wrong) for each in check_entry_points(small(importer)))


def test_a_listed_name_that_is_not_there_is_found() -> None:
    """A list that outlives a rename misleads."""
    modules = small("from streams.log import Gone", '"""- `streams.log`: `Gone`"""')
    assert check_entry_points(modules) == ["streams.log has no Gone, which is listed"]


def test_a_package_imports_from_itself_as_it_likes() -> None:
    """The list is for others."""
    modules = small("")
    modules["streams.b"] = parse("streams.b", "from streams.log import Hidden")
    assert imported(modules) == {}
