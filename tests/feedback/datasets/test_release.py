"""A release: immutable, reproducible, whole or not at all, judged, announced."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq
import pytest

from feedback.datasets.announce import announce
from feedback.datasets.as_of import Polling
from feedback.datasets.catalogue import versions
from feedback.datasets.errors import (
    AsOfRefused,
    BadRequest,
    GateFailed,
    NotAnnounced,
    NotCaughtUp,
    NothingToRelease,
)
from feedback.datasets.names import FILES, PAGE
from feedback.datasets.shelf.folder import FolderShelf
from loopline.datasets.content import content_hash
from schemas.catalog import CATALOG
from streams.log.port import LogIdentity
from streams.projection.apply import AnotherLog
from streams.store.memory import MemoryStore
from tests.feedback.datasets.world import MODEL, World, manifest_of, no_wait, rows, tables

ungated = pytest.mark.usefixtures("ungated")


def names(world: World) -> list[str]:
    """What lies in the model's folder beside its page, hidden things included; nothing without a folder."""
    folder = world.folder / MODEL
    return sorted({entry.name for entry in folder.iterdir()} - {PAGE}) if folder.exists() else []


# ------------------------------------------------------------------------------------------------- content


def test_a_release_passes_the_real_gate_and_holds_all_its_files(world: World) -> None:
    """Every file of the contract is there, and the manifest vouches for each with size and SHA-256."""
    world.labelled(range(40))
    published = world.release()
    assert {path.name for path in Path(published.place).iterdir()} == set(FILES)
    said = manifest_of(published)
    assert said == msgspec.json.decode(msgspec.json.encode(published.manifest))
    assert set(said["files"]) == set(FILES) - {"manifest.json"}
    for name, described in said["files"].items():
        body = (Path(published.place) / name).read_bytes()
        assert (len(body), hashlib.sha256(body).hexdigest()) == (described["bytes"], described["sha256"])
        if name.endswith(".parquet"):
            assert pq.read_metadata(Path(published.place) / name).num_rows == described["rows"]
    assert said["gate"]["passed"]
    assert sum(split["rows"] for split in said["splits"].values()) == said["rows"] == 40


@ungated
def test_the_content_hash_is_that_of_the_rows(world: World) -> None:
    """Whoever reads the files back computes the hash that the manifest states."""
    world.labelled(range(60))
    published = world.release()
    assert content_hash(tables(published)) == published.manifest["content_hash"]


@ungated
def test_the_same_as_of_gives_the_same_content_later(world: World) -> None:
    """After more labels, votes changed and inputs audited, the old vector still gives the old rows."""
    world.labelled(range(50))
    first = world.release()
    world.labelled(range(50, 80), "8")
    world.say(*(world.corrected(number, "8") for number in range(20)))
    world.say(*(world.predicted(100 + n, input=f"form {n}", audit=True) for n in range(30)))
    second = world.release()
    again = world.release(as_of=first.manifest["as_of"])
    assert again.version == 3
    assert again.manifest["content_hash"] == first.manifest["content_hash"]
    assert again.manifest["content_hash"] != second.manifest["content_hash"]
    assert rows(again) == rows(first)
    assert again.manifest["parents"] == [first.name]
    assert again.manifest["audited_later"] == 30


@ungated
@pytest.mark.parametrize("partitions", [1, 3])
def test_any_machine_gives_the_same_content(tmp_path: Path, partitions: int) -> None:
    """Another home, other partitions and blocks, the same events: the same content hash."""
    hashes = set()
    for name, count in (("here", 1), ("there", partitions)):
        world = World(tmp_path / name, partitions=count)
        world.say(world.declared(["3", "5", "8"]))
        events = [world.predicted(number) for number in range(30)]
        events += [world.corrected(number, "5") for number in range(30)]
        size = 7 if name == "here" else 13
        for start in range(0, len(events), size):
            world.say(*events[start : start + size])
        hashes.add(world.release().manifest["content_hash"])
    assert len(hashes) == 1


@ungated
def test_a_release_never_changes(world: World) -> None:
    """Later releases leave every file of an earlier one as it was, byte for byte."""
    world.labelled(range(20))
    first = world.release()
    before = {path.name: path.read_bytes() for path in Path(first.place).iterdir()}
    world.labelled(range(20, 40))
    world.release()
    assert {path.name: path.read_bytes() for path in Path(first.place).iterdir()} == before


@ungated
def test_parents_and_the_recipe_are_stated(world: World) -> None:
    """A release names what it descends from, and how it was cut."""
    world.labelled(range(20))
    first = world.release()
    second = world.release()
    assert first.manifest["parents"] == []
    assert second.manifest["parents"] == ["reader@1"]
    recipe = world.release(segment=None, model_version="1").manifest["recipe"]
    assert recipe["filters"] == {"env": "prod", "since": None, "model_version": "1", "segment": None}
    assert recipe["splits"]["fractions"] == {"train": 0.8, "validation": 0.1, "test": 0.1}
    assert recipe["views_version"] == world.store.views_version
    assert second.manifest["log"] == {"id": "log-1", "epoch": 1, "partitions": 2}


# --------------------------------------------------------------------------------------------------- as of


@ungated
def test_without_a_vector_it_is_the_logs_end(world: World) -> None:
    """What was acknowledged before the call is in the release; refused items do not matter."""
    world.labelled(range(20))
    end = world.position()
    assert world.release().manifest["as_of"] == end
    assert world.release(as_of=f"{end},dead:7").manifest["as_of"] == end


@ungated
def test_a_release_waits_for_the_worker(world: World) -> None:
    """The views are behind when it is asked, and there when it is cut."""
    world.labelled(range(20))
    catch_up, world.catch_up = world.catch_up, lambda: None  # type: ignore[method-assign]
    world.labelled(range(20, 40))
    threading.Timer(0.2, catch_up).start()
    published = world.release(emit=lambda event: None)
    assert published.manifest["rows"] == 40


@ungated
def test_views_that_stay_behind_are_an_error(world: World) -> None:
    """It names both positions, and the vector that can be released without waiting."""
    world.labelled(range(20))
    world.store = MemoryStore(world.log.identity)
    with pytest.raises(NotCaughtUp, match="--as-of 0:0,1:0"):
        world.release(wait=Polling(lambda: world.store, world.log, within_s=0.05))


@pytest.mark.parametrize(
    "as_of, complaint",
    [
        ("0:999,1:0", "beyond the log's end"),
        ("0:1,1:1,2:0", "beyond the log's end"),
        ("0:1", "partition 1"),
        ("nonsense", "PARTITION:OFFSET"),
        ({0: 1}, "partition 1"),
    ],
)
def test_a_vector_of_another_log_is_refused(world: World, as_of: Any, complaint: str) -> None:
    """Too far, incomplete or malformed: refused before anything is written, with what the end is."""
    world.labelled(range(5))
    with pytest.raises(AsOfRefused, match=complaint):
        world.release(as_of=as_of)
    assert versions(world.shelf, MODEL) == []


@pytest.mark.parametrize("as_of", [None, "0:1,1:0"])
def test_views_of_another_log_are_refused(world: World, as_of: str | None) -> None:
    """Rows of one log and inputs of another would make a dataset of nothing."""
    world.labelled(range(5))
    world.store = MemoryStore(LogIdentity("log-2", 1, 2))
    with pytest.raises(AnotherLog):
        world.release(as_of=as_of, wait=no_wait)
    assert names(world) == []


@ungated
def test_a_vector_ahead_of_the_views_is_folded_aside(world: World) -> None:
    """What the worker has not reached yet can be released, without waiting for it."""
    world.labelled(range(20))
    expected = world.release(emit=lambda event: None).manifest
    world.store = MemoryStore(world.log.identity)
    ahead = world.release(as_of=expected["as_of"], emit=lambda event: None)
    assert ahead.manifest["content_hash"] == expected["content_hash"]


# ------------------------------------------------------------------------------------------- whole or none


def test_nothing_labelled_is_refused(world: World) -> None:
    """There is no empty release, and no folder of one."""
    with pytest.raises(NothingToRelease, match="no labels"):
        world.release()
    assert names(world) == []


@pytest.mark.parametrize("model", ["", "../up", "a/b", ".hidden", "x" * 129])
def test_a_name_that_is_no_models_is_refused(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would become a path."""
    monkeypatch.setattr("tests.feedback.datasets.world.MODEL", model)
    with pytest.raises(BadRequest, match="no model's name"):
        world.release()


def test_only_a_label_shift_may_be_allowed(world: World) -> None:
    """A leak is no matter of taste."""
    with pytest.raises(BadRequest, match="label_shift"):
        world.release(allow=["split_leakage"])


def test_what_fails_the_gate_is_kept_aside(world: World) -> None:
    """Not published, not announced, kept with its report; the same with --allow is the next version."""
    world.labelled(range(60), "3")
    world.release()
    world.say(*(world.corrected(number, "8") for number in range(60)))
    with pytest.raises(GateFailed, match="--allow label_shift") as refusal:
        world.release()
    (failure,) = refusal.value.failures
    assert failure["check"] == "label_shift"
    assert versions(world.shelf, MODEL) == [1]
    assert [event["data"]["version"] for event in world.emitted] == [1]
    kept = Path(refusal.value.place)
    assert kept.parent == world.folder / MODEL / "failed"
    report = msgspec.json.decode((kept / "gate.json").read_bytes())
    assert not report["passed"]
    assert pq.read_table(kept / "train.parquet").num_rows
    with pytest.raises(GateFailed):
        world.release()
    assert len(list(kept.parent.iterdir())) == 1
    allowed = world.release(allow=["label_shift"])
    assert allowed.version == 2
    assert allowed.manifest["allowed"] == ["label_shift"]
    assert allowed.manifest["gate"]["checks"]["label_shift"] == "allowed"
    assert "label_shift" in (Path(allowed.place) / "README.md").read_text()


@ungated
@pytest.mark.parametrize("broken", ["cut", "judge", "card", "croissant", "announce"])
def test_an_error_on_the_way_leaves_nothing_half(
    world: World, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    """Before the rename there is nothing, after it the whole release; the next one is not disturbed."""
    world.labelled(range(20))

    def fail(*args: Any, **kwargs: Any) -> None:
        raise OSError("no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(f"feedback.datasets.release.{broken}", fail)
        with pytest.raises(OSError, match="no space"):
            world.release()
    whole = broken == "announce"
    assert names(world) == (["1"] if whole else [])
    assert world.release().version == (2 if whole else 1)


@ungated
def test_leftovers_of_a_killed_release_are_removed(world: World) -> None:
    """What was being built when the power went is not seen by anybody, and gone after the next release."""
    hidden = world.folder / MODEL / ".building" / "x"
    hidden.mkdir(parents=True)
    (hidden / "manifest.json").write_text("{}")
    assert versions(world.shelf, MODEL) == []
    world.labelled(range(20))
    world.release()
    assert names(world) == ["1"]


@ungated
def test_releases_at_the_same_time_get_versions_without_gaps(world: World) -> None:
    """One after the other, in some order."""
    world.labelled(range(20))
    made: list[int] = []
    lock = threading.Lock()

    def run() -> None:
        published = world.release(emit=lambda event: None)
        with lock:
            made.append(published.version)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == versions(world.shelf, MODEL) == [1, 2, 3, 4]


def test_the_shelf_is_held_by_one_release_at_a_time(tmp_path: Path) -> None:
    """The other one waits, and says so; the lock is the file system's, so it holds between processes."""
    shelf, told, inside = FolderShelf(tmp_path), threading.Event(), threading.Event()

    def enter() -> None:
        with FolderShelf(tmp_path).releasing(MODEL, told.set):
            inside.set()

    with shelf.releasing(MODEL):
        other = threading.Thread(target=enter)
        other.start()
        assert told.wait(5)
        assert not inside.wait(0.1)
    other.join()
    assert inside.is_set()


# ------------------------------------------------------------------------------------------------ announced


@ungated
def test_the_event_in_the_log_is_the_release(world: World) -> None:
    """A valid `dataset.released` with the version, hash, vector, rows and parents; the views have it."""
    world.labelled(range(20))
    world.release()
    published = world.release()
    event = world.emitted[-1]
    assert event["source"] == "/loopline/datasets"
    (read,) = CATALOG.read(b"[" + msgspec.json.encode(event) + b"]", [event["type"]])
    assert read.kind == "dataset.released"
    assert event["data"] == {
        "model": MODEL,
        "version": 2,
        "content_hash": published.manifest["content_hash"],
        "as_of": published.manifest["as_of"],
        "rows": 20,
        "parents": ["reader@1"],
    }
    assert announce(world.store, world.shelf, world.emit) == []


@ungated
def test_a_release_whose_event_is_missing_is_announced_later(world: World) -> None:
    """Killed between publishing and announcing, or the server was away: the next release or list sends it."""
    world.labelled(range(20))

    def away(event: Any) -> None:
        raise ConnectionError("nobody listens")

    with pytest.raises(NotAnnounced, match="reader@1 is published"):
        world.release(emit=away)
    assert versions(world.shelf, MODEL) == [1]
    assert announce(world.store, world.shelf, world.emit) == ["reader@1"]
    assert announce(world.store, world.shelf, world.emit) == []


@ungated
def test_announcing_twice_is_announcing_once(world: World) -> None:
    """The event is the same one whenever it is made, so a second copy changes nothing."""
    world.labelled(range(20))
    world.release()
    first = world.emitted[0]
    announce(MemoryStore(world.log.identity), world.shelf, world.emit)
    assert world.emitted == [first, first]
    assert world.release(wait=no_wait).version == 2
