"""Files and their names come to disk, or leave what was there."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from pathlib import Path

import pytest

from feedback.datasets.shelf.folder import FolderShelf
from feedback.disk import (
    SCRATCH_PREFIX,
    DiskFull,
    NotOurs,
    must_be_ours,
    replace_file,
    sync_tree,
    telling_full_disk,
    temporary_scratch,
)
from feedback.installation.home import Home
from tests.feedback.running import lines, loopline, prediction, server_on


def test_a_small_file_is_replaced_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failing write leaves the old content and nothing beside it."""
    path = tmp_path / "CURRENT"
    replace_file(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_tree_comes_to_disk_with_every_name_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file and each folder, at any depth, is synced once."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("one", "a/two", "a/b/three"):
        (tmp_path / name).write_bytes(b"x")
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_ino))
    sync_tree(tmp_path)
    assert sorted(synced) == sorted(path.stat().st_ino for path in (tmp_path, *tmp_path.rglob("*")))


def test_everybody_may_not_write_where_we_do(tmp_path: Path) -> None:
    """Whoever can write there can put another log in its place: a home and a shelf are refused alike."""
    for folder in (tmp_path / "home", tmp_path / "shelf"):
        folder.mkdir()
        folder.chmod(0o777)
        with pytest.raises(NotOurs, match="chmod go-w"):
            must_be_ours(folder)
    with pytest.raises(NotOurs):
        Home(tmp_path / "home").lock("a test")
    with pytest.raises(NotOurs), FolderShelf(tmp_path / "shelf").releasing("m"):
        pass
    (tmp_path / "home").chmod(0o770)
    Home(tmp_path / "home").lock("a test").release()


def test_another_users_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But not to the superuser, who may use anyone's."""
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(tmp_path).st_uid + 1)
    with pytest.raises(NotOurs, match="belongs to another user"):
        must_be_ours(tmp_path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    must_be_ours(tmp_path)


def test_what_a_server_and_commands_write_is_nobody_elses(tmp_path: Path) -> None:
    """Whatever the mask that they were started with: log, views, releases, backups."""
    home = tmp_path / "home"
    before = os.umask(0)
    try:
        with server_on(home) as running:
            sent = loopline("send", "-", "--url", running.url, stdin=lines(prediction(1)))
            assert sent.exit_code == 0
        os.umask(0)
        assert loopline("backup", tmp_path / "copy", "--home", home).exit_code == 0
    finally:
        os.umask(before)
    written = [entry for folder in (home, tmp_path / "copy") for entry in (folder, *folder.rglob("*"))]
    assert len(written) > 6
    assert [entry for entry in written if entry.stat().st_mode & 0o077] == []


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this process keeps what is temporary, as TMPDIR would say it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_scratch_of_killed_processes_goes_and_that_of_others_stays(temporary: Path) -> None:
    """Whoever begins takes away what nobody holds any more, in whichever container its process ran."""
    left = temporary / f"{SCRATCH_PREFIX}left"
    left.mkdir()
    (left / "in-use").touch()
    (left / "views.sqlite").touch()
    just_made = temporary / f"{SCRATCH_PREFIX}just-made"
    just_made.mkdir()
    with temporary_scratch() as first, temporary_scratch() as second:
        assert not left.exists()
        assert first.exists()
        assert second.exists()
    assert list(temporary.iterdir()) == [just_made]


def test_a_full_disk_is_told_by_its_folder(temporary: Path) -> None:
    """Whoever ran out of room, SQLite or a file, the message has the folder and what to change."""
    with pytest.raises(DiskFull, match=rf"{temporary} .* TMPDIR"), temporary_scratch() as folder:
        raise OSError(28, "No space left on device", str(folder / "rows.arrow"))
    home = Home(temporary / "home")
    home.path.mkdir()
    with (
        pytest.raises(DiskFull, match=rf"{home.path} .*--home"),
        home.scratch() as folder,
        sqlite3.connect(folder / "views.sqlite") as store,
    ):
        store.executescript("PRAGMA max_page_count=1; CREATE TABLE a (x)")


def test_only_a_full_disk_is_told_as_one(tmp_path: Path) -> None:
    """Another failure stays what it is, and the innermost folder is the one that is named."""
    with pytest.raises(ZeroDivisionError), telling_full_disk(tmp_path, "nothing"):
        raise ZeroDivisionError
    with (
        pytest.raises(DiskFull, match="inner"),
        telling_full_disk(tmp_path, "outer"),
        telling_full_disk(tmp_path, "inner"),
    ):
        raise OSError(122, "Disk quota exceeded")
