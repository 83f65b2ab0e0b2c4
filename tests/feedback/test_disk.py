"""Files and their names come to disk, or leave what was there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from feedback.datasets.folder import FolderShelf
from feedback.disk import NotOurs, must_be_ours, replace_file, sync_tree
from feedback.home import Home
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
