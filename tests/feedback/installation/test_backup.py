"""Backups: of one moment, whole or not there, never over something that was accepted."""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import closing
from pathlib import Path

import pytest

from feedback.installation.backup import MANIFEST, BackupRefused, back_up, read_manifest, restore
from feedback.installation.home import Home, Locked
from feedback.installation.rebuild import ready_store, verify_views
from streams.log.block import write_block
from streams.log.port import DEAD, parse_positions
from streams.projection.apply import advance
from tests.feedback.running import event, lines, loopline, prediction, told


def quiet(label: str, done: int, total: int) -> None:
    """Shows no progress."""


def unseen(done: int, total: int) -> None:
    """Shows no progress."""


def block(number: int) -> bytes:
    """A block of one prediction."""
    return write_block(
        ["loopline.prediction.made.v1"], [(number, 1)], [json.dumps(prediction(number)).encode()]
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home with events in log and views, and a release."""
    made = Home(tmp_path / "home")
    made.create(2)
    thumb = event("feedback.thumb", 1, prediction_id="p-1", value="down")
    unknown = event("feedback.applause", 2)
    loopline("--home", made.path, "send", "-", stdin=lines(*map(prediction, range(1, 9)), thumb, unknown))
    release = made.datasets / "m" / "1"
    release.mkdir(parents=True)
    (release / "manifest.json").write_text("{}")
    (release / "train.parquet").write_bytes(b"rows")
    half = made.datasets / "m" / ".building-x"
    half.mkdir()
    (half / "manifest.json").write_text("{}")
    return made


def test_what_is_brought_back_is_what_was_taken(home: Home, tmp_path: Path) -> None:
    """Log, views and published datasets; the restored pair verifies, and nothing else is there."""
    taken = told("--home", home.path, "backup", tmp_path / "copy")
    assert (taken["log_at"], taken["views_at"]) == ("0:1,1:1,dead:1", "0:1,1:1,dead:1")
    assert sorted(each["path"] for each in taken["files"]) == [
        "datasets/m/1/manifest.json",
        "datasets/m/1/train.parquet",
        "log.sqlite",
        "views.sqlite",
    ]
    there = tmp_path / "there"
    assert told("--home", there, "restore", tmp_path / "copy")["log_id"] == taken["log_id"]
    assert told("--home", there, "verify")["identical"] is True
    assert (there / "datasets/m/1/train.parquet").read_bytes() == b"rows"
    with closing(home.open_log()) as mine, closing(Home(there).open_log()) as copy:
        assert copy.identity == mine.identity
        assert copy.ends() == mine.ends()
        for partition, end in mine.ends().items():
            assert copy.read(partition, 0, end) == mine.read(partition, 0, end)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy", "home", "there"]
    assert list(there.glob("scratch-*")) == []


def test_a_copy_of_a_busy_home_is_of_one_moment(tmp_path: Path) -> None:
    """While it is written to: the log is never older than the views, and the restored pair verifies."""
    home = Home(tmp_path / "home")
    home.create(1)
    log = home.open_log(writable=True)
    store = ready_store(home, log)
    stop = threading.Event()
    written = 0

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            log.append([(0, block(written))])
            written += 1
            advance(log, store)

    writer = threading.Thread(target=write)
    writer.start()
    moments = []
    try:
        for number in range(4):
            seen = written
            while written < seen + 20:
                stop.wait(0.001)
            # Small steps, so that many commits fall into one copy.
            moments.append(back_up(home, tmp_path / f"copy-{number}", quiet, pages_at_once=2))
    finally:
        stop.set()
        writer.join()
        home.close()
        log.close()
    for number, manifest in enumerate(moments):
        views, ends = parse_positions(manifest.views_at or ""), parse_positions(manifest.log_at)
        assert 0 < views[0] <= ends[0] <= written
        there = Home(tmp_path / f"there-{number}")
        restore(there, tmp_path / f"copy-{number}", quiet)
        result = verify_views(there, unseen, 5)
        assert (result.differences, result.events) == ([], views[0])
    assert moments[0].log_at != moments[-1].log_at


def test_a_home_without_views_is_backed_up_too(tmp_path: Path) -> None:
    """The log alone is enough: views are made from it."""
    home = Home(tmp_path / "home")
    home.create(1)
    with closing(home.open_log(writable=True)) as log:
        log.append([(0, block(1)), (DEAD, b"x")])
    manifest = back_up(home, tmp_path / "copy", quiet)
    assert (manifest.views_at, manifest.log_at) == (None, "0:1,dead:1")
    restore(Home(tmp_path / "there"), tmp_path / "copy", quiet)
    with closing(Home(tmp_path / "there").open_log()) as log:
        assert log.ends() == {0: 1, DEAD: 1}


def test_a_folder_with_something_in_it_is_not_written_to(home: Home, tmp_path: Path) -> None:
    """Exit status 1; what is there stays."""
    target = tmp_path / "copy"
    target.mkdir()
    assert loopline("--home", home.path, "backup", target).exit_code == 0
    before = (target / MANIFEST).read_bytes()
    result = loopline("--home", home.path, "backup", target)
    assert result.exit_code == 1
    assert "not empty" in result.stderr
    assert (target / MANIFEST).read_bytes() == before


def test_a_backup_that_fails_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk in the middle: no folder that looks like a backup, and no remains."""

    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copytree", full)
    result = loopline("--home", home.path, "backup", tmp_path / "copy")
    assert result.exit_code == 1
    assert f"no space left in {tmp_path}" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
@pytest.mark.parametrize("name", ["log.sqlite", "views.sqlite", "datasets/m/1/train.parquet"])
def test_a_damaged_backup_is_not_brought_back(home: Home, tmp_path: Path, name: str, damage: str) -> None:
    """Checksums are looked at before anything is put in place."""
    back_up(home, tmp_path / "copy", quiet)
    path = tmp_path / "copy" / name
    content = bytearray(path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif damage == "cut":
        path.write_bytes(content[:-1])
    else:
        path.unlink()
    there = Home(tmp_path / "there")
    with pytest.raises(BackupRefused, match=name):
        restore(there, tmp_path / "copy", quiet)
    assert not there.exists()
    assert not there.stores.exists()
    assert not there.datasets.exists()


def test_accepted_feedback_is_never_overwritten(home: Home, tmp_path: Path) -> None:
    """A home with events is refused; one with an empty log is taken."""
    back_up(home, tmp_path / "copy", quiet)
    result = loopline("--home", home.path, "restore", tmp_path / "copy")
    assert result.exit_code == 1
    assert "would lose accepted feedback" in result.stderr
    fresh = Home(tmp_path / "fresh")
    fresh.create(1)
    assert loopline("--home", fresh.path, "restore", tmp_path / "copy").exit_code == 0
    assert told("--home", fresh.path, "verify")["identical"] is True


def test_a_held_home_is_not_restored_into(home: Home, tmp_path: Path) -> None:
    """A running server keeps its home."""
    back_up(home, tmp_path / "copy", quiet)
    fresh = Home(tmp_path / "fresh")
    fresh.create(1)
    lock = fresh.lock("serves")
    with pytest.raises(Locked):
        restore(fresh, tmp_path / "copy", quiet)
    lock.release()


def test_what_is_no_backup_is_told(home: Home, tmp_path: Path) -> None:
    """A folder without a manifest, a damaged one, a newer format, a path that leads outside."""
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(BackupRefused, match="no backup"):
        read_manifest(empty)
    (empty / MANIFEST).write_text("{")
    with pytest.raises(BackupRefused, match="damaged"):
        read_manifest(empty)
    back_up(home, tmp_path / "copy", quiet)
    path = tmp_path / "copy" / MANIFEST
    said = json.loads(path.read_text())
    path.write_text(json.dumps({**said, "format": 2}))
    with pytest.raises(BackupRefused, match="newer"):
        read_manifest(tmp_path / "copy")
    outside = {"path": "../../outside", "size": 0, "sha256": ""}
    path.write_text(json.dumps({**said, "files": [outside]}))
    with pytest.raises(BackupRefused, match="outside"):
        restore(Home(tmp_path / "there"), tmp_path / "copy", quiet)
