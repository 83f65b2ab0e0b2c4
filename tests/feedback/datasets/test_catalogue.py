"""The catalogue: what was released, and what changed between two versions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from feedback.datasets.catalogue import datasets, list_releases, show, versions
from feedback.datasets.diff import Relabelled, diff
from feedback.datasets.errors import BadRequest, ReleaseMissing
from feedback.datasets.names import parse_name
from feedback.datasets.shelf.address import shelf_of
from tests.feedback.datasets.world import MODEL, World

ungated = pytest.mark.usefixtures("ungated")


@ungated
def test_releases_are_listed_by_model_and_version(world: World) -> None:
    """In order of their numbers, the tenth after the ninth; other things in the folder are no releases."""
    world.labelled(range(10))
    for _ in range(10):
        world.release()
    for other in ("notes", "failed/3-abc", "007", "11"):
        (world.folder / MODEL / other).mkdir(parents=True)
    (world.folder / "README.txt").write_text("mine")
    assert datasets(world.shelf) == [MODEL]
    assert versions(world.shelf, MODEL) == list(range(1, 11))
    listed = list_releases(world.shelf)
    assert [each["name"] for each in listed] == [f"{MODEL}@{n}" for n in range(1, 11)]
    assert list_releases(world.shelf, MODEL) == listed
    assert list_releases(world.shelf, "another") == []
    assert sum(listed[0]["splits"].values()) == listed[0]["rows"] == 10


def test_without_a_folder_there_is_nothing(tmp_path: Path) -> None:
    """Nothing was released yet: that is no error."""
    assert datasets(shelf_of(tmp_path / "datasets")) == []
    assert list_releases(shelf_of(tmp_path / "datasets")) == []


@ungated
def test_a_release_is_shown_by_name(world: World) -> None:
    """By version, or the latest; what is not there is named, with what is."""
    world.labelled(range(10))
    first, second = world.release(), world.release()
    assert show(world.shelf, "reader@1") == msgspec.json.decode(msgspec.json.encode(first.manifest))
    assert show(world.shelf, "reader@latest")["name"] == second.name
    with pytest.raises(ReleaseMissing, match="reader@3; releases: reader@1, reader@2"):
        show(world.shelf, "reader@3")
    with pytest.raises(ReleaseMissing, match="none yet"):
        show(world.shelf, "writer@latest")


@pytest.mark.parametrize("name", ["reader", "reader@", "reader@0", "a@01", "@1", "../x@1", "a@1@2"])
def test_what_is_no_name_is_refused(name: str) -> None:
    """It says what a name looks like."""
    with pytest.raises(BadRequest, match="MODEL@N"):
        parse_name(name)


@ungated
def test_a_diff_counts_what_changed(world: World) -> None:
    """Rows added, removed, relabelled and moved to another split, with examples and both distributions."""
    world.labelled(range(20), "3")
    gone = world.corrected(21, "3")
    world.say(world.predicted(21), gone)
    first = world.release()
    world.say(world.event("feedback.retraction", prediction_id="p-21", person="u-1", explains=gone["id"]))
    world.say(world.corrected(4, "8"), world.predicted(30), world.corrected(30, "5"))
    world.say(world.predicted(31, input="form 5", audit=True))
    second = world.release()
    found = diff(world.shelf, first.name, second.name)
    assert (found.added, found.removed, found.relabelled, found.moved) == (1, 1, 1, 1)
    assert (found.examples_added, found.examples_removed) == (["p-30"], ["p-21"])
    assert found.examples_relabelled == [Relabelled("p-4", '"3"', '"8"')]
    assert found.labels == {'"3"': (21, 19), '"5"': (0, 1), '"8"': (0, 1)}
    assert not found.same_content
    assert not found.shift.shifted
    assert second.manifest["moved_to_audit"]["inputs"] == 1
    document = msgspec.json.decode(msgspec.json.encode(found.document()))
    assert document["labels"][0] == {"label": '"3"', "before": 21, "after": 19}
    assert any('p-4: "3" -> "8"' in line for line in found.lines())


@ungated
def test_a_diff_of_the_same_content(world: World) -> None:
    """Two versions with the same rows differ in nothing."""
    world.labelled(range(10))
    world.release()
    world.release()
    found = diff(world.shelf, "reader@1", "reader@latest")
    assert found.same_content
    assert (found.added, found.removed, found.relabelled, found.moved) == (0, 0, 0, 0)
    assert found.lines() == ["reader@1 and reader@2 hold the same 10 rows."]


@ungated
def test_a_diff_reads_both_encodings(tmp_path: Path) -> None:
    """A label that was a plain string and is now one of several kinds is the same label."""
    world = World(tmp_path / "datasets")
    world.say(world.declared(json_schema={}))
    world.labelled(range(10), "3")
    world.release()
    world.labelled(range(10, 11), 7)
    world.release()
    found = diff(world.shelf, "reader@1", "reader@2")
    assert (found.added, found.removed, found.relabelled) == (1, 0, 0)


def test_looking_needs_nothing_heavy() -> None:
    """Lists and manifests are read without pyarrow, pandas or Great Expectations: a command line is quick."""
    code = (
        "import sys, feedback.datasets.catalogue, feedback.datasets.announce, feedback.datasets.lineage,"
        " feedback.datasets.errors, feedback.datasets.diff;"
        "print({'pyarrow', 'pandas', 'numpy', 'great_expectations', 'scipy'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"
