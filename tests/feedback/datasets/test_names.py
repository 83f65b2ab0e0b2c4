"""Releases under a name: what was chosen by filters has versions, a latest and parents of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.datasets.announce import announce
from feedback.datasets.catalogue import datasets_of, list_releases, owner, show
from feedback.datasets.diff import diff
from feedback.datasets.errors import BadRequest, GateFailed
from feedback.datasets.lineage import events_behind, releases_with
from feedback.datasets.names import check_dataset, parse_name
from feedback.datasets.release import release, wanted
from loopline import datasets as client
from schemas.catalog import CATALOG
from schemas.releases import release_of
from tests.feedback.datasets.world import MODEL, SOURCE, World, memory_scratch, no_wait, placed

ungated = pytest.mark.usefixtures("ungated")


@pytest.fixture
def two_segments(world: World) -> World:
    """Forty labels of the web, all 3, and forty of the app, all 8."""
    world.labelled(range(40), "3", segment="web")
    world.labelled(range(40, 80), "8", segment="app")
    return world


@ungated
def test_a_named_release_is_never_the_latest_of_the_plain_ones(two_segments: World) -> None:
    """Each name counts its versions and has its own latest and parents."""
    world = two_segments
    first = world.release()
    web = world.release(segment="web", name="web")
    assert (first.name, web.name, web.version) == ("reader@1", "reader.web@1", 1)
    assert (web.manifest["parents"], web.manifest["rows"]) == ([], 40)
    second, again = world.release(), world.release(segment="web", name="web")
    assert (second.name, second.manifest["parents"]) == ("reader@2", ["reader@1"])
    assert (again.name, again.manifest["parents"]) == ("reader.web@2", ["reader.web@1"])
    assert show(world.shelf, "reader@latest")["name"] == "reader@2"
    assert show(world.shelf, "reader.web@latest")["name"] == "reader.web@2"
    assert datasets_of(world.shelf, MODEL) == ["reader", "reader.web"]
    listed = [each["name"] for each in list_releases(world.shelf, MODEL)]
    assert listed == ["reader@1", "reader@2", "reader.web@1", "reader.web@2"]
    assert [each["name"] for each in list_releases(world.shelf, "reader.web")] == listed[2:]
    found = diff(world.shelf, "reader@2", "reader.web@2")
    assert (found.added, found.removed) == (0, 40)
    assert len(list(events_behind(world.shelf, "reader.web@1"))) == 80


def test_the_gate_compares_with_the_last_of_the_same_name(two_segments: World) -> None:
    """After a release of one segment the ordinary one is not refused for other labels; a shift still is."""
    world = two_segments
    world.release()
    world.release(segment="web", name="web")
    world.labelled(range(100, 105), "5")
    assert world.release().name == "reader@2"
    world.labelled(range(200, 260), "5", segment="web")
    with pytest.raises(GateFailed, match=r"reader\.web@2 was not published"):
        world.release(segment="web", name="web")


@ungated
def test_an_input_is_in_the_same_split_under_every_name(two_segments: World) -> None:
    """Nobody tests on what the plain release trains on."""
    plain, web = placed(two_segments.release()), placed(two_segments.release(segment="web", name="web"))
    assert web.items() <= plain.items()


@pytest.mark.parametrize(
    "filters", [{"since": "2026-01-01"}, {"model_version": "1"}, {"segment": "web"}, {"env": "staging"}]
)
def test_filters_need_a_name(filters: dict[str, Any]) -> None:
    """The message says which option is missing, before anything is opened."""
    with pytest.raises(BadRequest, match=r"--name web for reader\.web@1"):
        wanted(MODEL, **filters)
    assert wanted(MODEL, "web", **filters).dataset == "reader.web"


@pytest.mark.parametrize("name", ["", "a.b", "-a", "_a", "a b", "ü", "a/b", "a@1", "a" * 65])
def test_what_can_be_no_name_is_refused(name: str) -> None:
    """No dot above all: what stands behind the last dot is the name."""
    with pytest.raises(BadRequest, match="a name has letters"):
        check_dataset(MODEL, name)


@given(
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True).filter(
        lambda name: name != "README.md"
    ),
    st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", fullmatch=True),
    st.integers(1, 10**9 - 1),
)
def test_a_named_release_is_called_as_any_other(model: str, name: str, version: int) -> None:
    """`MODEL.NAME@N` is taken wherever `MODEL@N` is: by commands, in paths and in events."""
    called = release_of({"model": model, "name": name, "version": version})
    assert parse_name(called) == (check_dataset(model, name), version)


@ungated
def test_two_things_never_have_one_name(two_segments: World) -> None:
    """The names of models may have dots: whoever comes second needs another name, in both orders."""
    world = two_segments
    world.release(segment="web", name="web")
    later: dict[str, Any] = {"emit": world.emit, "scratch": memory_scratch, "wait": no_wait}
    declared = world.event(
        "model.declared", model="reader.app", model_version="1", output_shape={"text": True}
    )
    world.say(declared)
    with pytest.raises(BadRequest, match=r"there is a model reader\.app"):
        world.release(segment="app", name="app")
    with pytest.raises(BadRequest, match=r"reader\.web is already the name of the releases web of the model"):
        release(world.log, lambda: world.store, world.shelf, "reader.web", **later)
    assert owner(world.shelf, "reader.web") == (MODEL, "web")
    assert datasets_of(world.shelf, "reader.web") == []


@ungated
def test_an_event_says_the_name(two_segments: World) -> None:
    """`dataset.released` has the model, the name and the version; whoever finds it missing sends it."""
    world = two_segments
    world.release()
    world.release(segment="web", name="web", emit=lambda event: None)
    assert announce(world.store, world.shelf, world.emit, MODEL) == ["reader.web@1"]
    event = world.emitted[-1]
    assert (event["data"]["model"], event["data"]["name"], event["data"]["version"]) == (MODEL, "web", 1)
    assert "name" not in world.emitted[0]["data"]
    assert len({event["id"] for event in world.emitted}) == 2
    (read,) = CATALOG.read(b"[" + msgspec.json.encode(event) + b"]", [event["type"]])
    data: Any = read.data
    assert data.name == "web"
    assert announce(world.store, world.shelf, world.emit) == []


@ungated
def test_an_event_knows_its_releases_under_every_name(two_segments: World) -> None:
    """Also where a dataset of another model begins with the same words."""
    world = two_segments
    correction = world.corrected(1, "5")
    world.say(correction)
    world.release()
    world.release(segment="web", name="web")
    world.release(segment="app", name="app")
    other = world.folder / "reader.other" / "1"
    other.mkdir(parents=True)
    (other / "manifest.json").write_text('{"name": "reader.other@1", "model": "reader.other", "version": 1}')
    assert releases_with(world.shelf, MODEL, SOURCE, correction["id"]) == ["reader@1", "reader.web@1"]


@ungated
def test_nothing_new_makes_no_version(two_segments: World) -> None:
    """The same content as the last of the name is said to be there; --force publishes it all the same."""
    world = two_segments
    first = world.release(force=False)
    world.say(world.predicted(500))
    again = world.release(force=False)
    assert (first.new, again.new, again.name, again.place) == (True, False, "reader@1", first.place)
    assert again.manifest == json.loads((Path(first.place) / "manifest.json").read_bytes())
    assert world.release(force=False, name="all").name == "reader.all@1"
    assert world.release(force=True).name == "reader@2"
    world.labelled(range(90, 91))
    assert world.release(force=False).new
    assert len(list_releases(world.shelf)) == 4


@ungated
def test_nothing_new_still_announces_what_was_not(two_segments: World) -> None:
    """A release that was killed before its event is announced by the next one, new or not."""
    world = two_segments
    world.release(emit=lambda event: None)
    world.release(force=False)
    assert [event["data"]["version"] for event in world.emitted] == [1]


@ungated
def test_releases_from_before_names_stay_readable(two_segments: World) -> None:
    """Their manifests say neither dataset nor name: they are the plain ones of their model, and parents."""
    world = two_segments
    first = world.release()
    path = Path(first.place) / "manifest.json"
    said = json.loads(path.read_bytes())
    for entry in ("dataset", "release_name"):
        del said[entry]
    path.write_text(json.dumps(said))
    assert owner(world.shelf, MODEL) == (MODEL, None)
    assert world.release(force=False).new is False
    world.labelled(range(90, 95))
    assert world.release().manifest["parents"] == ["reader@1"]
    assert [each["name"] for each in list_releases(world.shelf)] == ["reader@1", "reader@2"]
    assert client.load(MODEL, 1, home=world.folder.parent).num_rows


@ungated
def test_a_notebook_loads_it_by_name(two_segments: World) -> None:
    """As `MODEL.NAME`, `MODEL.NAME@N`, or with name=; the latest is the latest of the name."""
    world = two_segments
    world.release()
    world.release(segment="web", name="web")
    home = world.folder.parent
    table = client.load("reader.web", home=home)
    assert set(table["label"].to_pylist()) == {"3"}
    for other in (client.load("reader.web@1", home=home), client.load("reader", name="web", home=home)):
        assert other.equals(table)
    assert client.load("reader", home=home).num_rows == 2 * table.num_rows
