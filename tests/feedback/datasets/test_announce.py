"""Which releases of a shelf are announced, in which log, and what is passed over."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from feedback.datasets.announce import ReleaseAnnouncer, announce, event_of, unannounced
from feedback.datasets.errors import ShelfUnreachable
from feedback.datasets.names import MANIFEST
from feedback.datasets.shelf.folder import FolderShelf
from feedback.doctor.finding import releases
from streams.deciders.reconcile import reconcile
from tests.feedback.datasets.world import MODEL, World

MANIFEST_OF_M = {
    "name": "m@1",
    "model": "m",
    "version": 1,
    "content_hash": "sha256:0",
    "as_of": "0:1",
    "rows": 1,
    "log": {"id": "log-1", "epoch": 1, "partitions": 1},
    "released_at": "2026-01-01T00:00:00Z",
    "parents": [],
    "recipe": {"filters": {"env": "prod"}},
}


def silent(event: dict[str, Any]) -> None:
    """Loses what it is to send."""


@pytest.fixture
def unsaid(world: World, ungated: None) -> World:
    """A release on the shelf whose event was lost."""
    world.labelled(range(20))
    world.release(emit=silent)
    return world


def damaged(world: World, change: Callable[[dict[str, Any]], Any]) -> Path:
    """A second release beside the first, with another manifest."""
    there = world.folder / MODEL / "2"
    shutil.copytree(world.folder / MODEL / "1", there)
    manifest = msgspec.json.decode((there / MANIFEST).read_bytes())
    manifest |= {"name": f"{MODEL}@2", "version": 2}
    (there / MANIFEST).write_bytes(msgspec.json.encode(change(manifest)))
    return there / MANIFEST


def test_the_event_of_a_release_is_the_one_it_always_was() -> None:
    """Id, source, time and data: with any other, what is announced already would be announced again."""
    assert event_of(MANIFEST_OF_M) == {
        "specversion": "1.0",
        "id": "5d6d975d-161a-5f2a-8f65-1e1cc449c52b",
        "source": "/loopline/datasets",
        "type": "loopline.dataset.released.v1",
        "time": "2026-01-01T00:00:00Z",
        "data": {"model": "m", "version": 1, "content_hash": "sha256:0", "as_of": "0:1", "rows": 1},
    }
    named = MANIFEST_OF_M | {
        "name": "m.web@1",
        "release_name": "web",
        "parents": ["m@1"],
        "recipe": {"filters": {"env": "test"}},
    }
    assert event_of(named)["data"] == {
        **event_of(MANIFEST_OF_M)["data"],
        "name": "web",
        "parents": ["m@1"],
        "env": "test",
    }


def test_only_what_was_cut_from_this_log_is_announced(unsaid: World) -> None:
    """A shelf that was copied, or that two clusters share: each log hears of its own releases."""
    other = World(unsaid.where, log_id="log-2")
    assert unannounced(other.store, other.shelf) == []
    assert announce(other.store, other.shelf, other.emit) == []
    assert unannounced(unsaid.store, unsaid.shelf) == [f"{MODEL}@1"]
    assert announce(unsaid.store, unsaid.shelf, unsaid.emit) == [f"{MODEL}@1"]


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: {**manifest, "rows": "many"},
        lambda manifest: {key: value for key, value in manifest.items() if key != "content_hash"},
        lambda manifest: {**manifest, "name": f"{MODEL}@7", "version": 7},
        lambda manifest: [manifest],
    ],
    ids=["a value", "a field", "another name", "no object"],
)
def test_a_damaged_release_is_told_once_and_keeps_no_other_back(
    unsaid: World, change: Callable[[dict[str, Any]], Any]
) -> None:
    """It is looked at again when its manifest was mended."""
    path = damaged(unsaid, change)
    announcer = ReleaseAnnouncer(unsaid.shelf)
    with capture_logs() as lines:
        for _ in range(3):
            reconcile(announcer, unsaid.store, unsaid.emit)
    assert [event["data"]["version"] for event in unsaid.emitted] == [1]
    assert [(line["event"], line["release"]) for line in lines] == [
        ("a release is damaged and is not announced", f"{MODEL}@2")
    ]
    path.unlink()
    shutil.rmtree(path.parent)
    damaged(unsaid, lambda manifest: manifest)
    reconcile(announcer, unsaid.store, unsaid.emit)
    assert [event["data"]["version"] for event in unsaid.emitted] == [1, 2]


def test_the_doctor_names_what_is_not_announced_and_what_is_damaged(unsaid: World) -> None:
    """Each with what to do; nothing is sent by looking, and nothing is said where all is well."""
    path = damaged(unsaid, lambda manifest: [manifest])
    missing, broken = releases(unsaid.store, unsaid.shelf)
    assert (missing.state, missing.said) == ("warn", f"1 release not in the log yet: {MODEL}@1")
    assert "`loopline dataset list` sends them now" in missing.do
    assert broken.said.startswith(f"{MODEL}@2 is damaged and is not announced: ")
    assert unsaid.emitted == []
    path.unlink()
    announce(unsaid.store, unsaid.shelf, unsaid.emit)
    assert list(releases(unsaid.store, unsaid.shelf)) == []


def test_a_manifest_of_another_log_is_read_once(unsaid: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look each second at a shelf full of others' releases costs no more than a listing."""
    other = World(unsaid.where, log_id="log-2")
    announcer = ReleaseAnnouncer(other.shelf)
    read, reads = FolderShelf.read, []

    def counted(self: FolderShelf, *which: Any) -> bytes:
        reads.append(which)
        return read(self, *which)

    monkeypatch.setattr(FolderShelf, "read", counted)
    for _ in range(3):
        assert announcer.read(other.store).releases == []
    assert len(reads) == 1


def test_a_shelf_that_is_away_is_an_error_and_no_empty_shelf(
    unsaid: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever runs the decider is told, and tries again."""

    def away(*_: Any) -> bytes:
        raise ShelfUnreachable("the store does not answer")

    monkeypatch.setattr(FolderShelf, "read", away)
    with pytest.raises(ShelfUnreachable):
        reconcile(ReleaseAnnouncer(unsaid.shelf), unsaid.store, unsaid.emit)


def test_a_shelf_that_is_not_there_yet_has_no_releases(world: World) -> None:
    """A home without releases has no folder of them either."""
    assert announce(world.store, world.shelf, world.emit) == []
