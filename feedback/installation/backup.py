"""Taking a home's log, views and datasets away and bringing them back, while its server runs.

A backup is these steps, so that its log is never older than its views:

1. the store is copied, from one snapshot;
2. the log is copied, from one snapshot;
3. the published datasets are copied;
4. a manifest with sizes and SHA-256 sums is written, everything is synced, and the folder gets its name.

Until step 4 is done there is no folder of that name. Restoring goes the same way: files are checked and
copied aside first, and the log comes last, for a home is there when its log is.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from feedback.disk import replace_file, sync_folder, sync_tree, telling_full_disk
from feedback.installation.home import Home, HomeRefused, remove_database
from streams.log.port import DEAD, format_positions, parse_positions
from streams.log.sqlite import SqliteLog
from streams.projection.apply import OtherViews, check
from streams.sqlite.connections import translated
from streams.store.sqlite.store import SqliteStore

FORMAT = 1
MANIFEST = "backup.json"
LOG, STORE, DATASETS = "log.sqlite", "views.sqlite", "datasets"
PAGES_AT_ONCE = 4096
"""What is copied of a database before who writes to it has a turn; 4 KiB each."""
_CHUNK = 1024 * 1024

Progress = Callable[[str, int, int], None]
"""Called with (what is copied, how much of it is done, how much it is)."""


class CopiedFile(msgspec.Struct):
    """A file of a backup."""

    path: str
    size: int
    sha256: str


class Manifest(msgspec.Struct):
    """What a backup says about itself. `log_at` and `views_at` are vectors of positions."""

    format: int
    log_id: str
    epoch: int
    partitions: int
    log_at: str
    views_at: str | None
    views_version: int | None
    files: list[CopiedFile]


class BackupRefused(HomeRefused):
    """A backup cannot be taken or brought back as asked; the message says what to do."""


# ------------------------------------------------------------------------------------------------ taking


def back_up(home: Home, target: Path, progress: Progress, *, pages_at_once: int = PAGES_AT_ONCE) -> Manifest:
    """Copy a home into `target`, which must not be there or be empty. Raises BackupRefused."""
    home.must_exist()
    target = target.absolute()
    _must_be_free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f".{target.name}.partial-", dir=target.parent))
    try:
        with telling_full_disk(target.parent, "name a folder on a larger disk"):
            views = _copy_store(home, partial, progress, pages_at_once)
            log = home.log_path, partial / LOG
            _copy_database(*log, lambda done, total: progress("log", done, total), pages_at_once)
            _copy_datasets(home.datasets, partial / DATASETS, progress)
            manifest = _describe(partial, views, progress)
            replace_file(partial / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2))
            sync_tree(partial)
            os.rename(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync_folder(target.parent)
    return manifest


def _must_be_free(target: Path) -> None:
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BackupRefused(f"{target} is there and not empty: name a new folder, one for each backup")


def _copy_store(home: Home, partial: Path, progress: Progress, pages_at_once: int) -> tuple[str, int] | None:
    """Copy the store that is read; returns where it stands, and its version of the views."""
    source = home.current_path()
    if source is None or not source.exists():
        return None
    copy = partial / STORE
    _copy_database(source, copy, lambda done, total: progress("views", done, total), pages_at_once)
    with contextlib.closing(SqliteStore(copy)) as store, store.snapshot() as snapshot:
        at = {partition: applied.offset for partition, applied in snapshot.positions().items()}
        return format_positions(at), store.views_version


def _copy_database(
    source: Path, target: Path, report: Callable[[int, int], None], pages_at_once: int
) -> None:
    """Copy an SQLite file that others write to, as it is at one moment."""
    with translated(BackupRefused), contextlib.ExitStack() as opened:
        reading = sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=10.0)
        opened.callback(reading.close)
        writing = sqlite3.connect(target, isolation_level=None)
        opened.callback(writing.close)
        # The read transaction holds one state; without it every commit would begin the copy anew.
        reading.execute("BEGIN")
        reading.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        writing.execute("PRAGMA synchronous=FULL")
        reading.backup(
            writing,
            pages=pages_at_once,
            progress=lambda _, left, total: report(total - left, total),
            sleep=0,
        )
        # One file, without a write-ahead log beside it.
        writing.execute("PRAGMA journal_mode=DELETE")


def _copy_datasets(source: Path, target: Path, progress: Progress) -> None:
    """Copy the published releases: they never change. What is still being made has no manifest."""
    if not source.is_dir():
        return
    releases = sorted(path.parent for path in source.glob("*/*/manifest.json") if path.parent.name.isdigit())
    for number, release in enumerate(releases, 1):
        folder = target / release.relative_to(source)
        shutil.copytree(release, folder)
        progress("datasets", number, len(releases))


def _describe(partial: Path, views: tuple[str, int] | None, progress: Progress) -> Manifest:
    with contextlib.closing(SqliteLog(partial / LOG)) as log:
        identity, ends = log.identity, log.ends()
    for side in ("-wal", "-shm"):
        for name in (LOG, STORE):
            (partial / f"{name}{side}").unlink(missing_ok=True)
    paths = sorted(path for path in partial.rglob("*") if path.is_file())
    files = []
    for number, path in enumerate(paths, 1):
        files.append(CopiedFile(path.relative_to(partial).as_posix(), path.stat().st_size, _sha256(path)))
        progress("checksums", number, len(paths))
    views_at, views_version = views or (None, None)
    return Manifest(FORMAT, *identity[:3], format_positions(ends), views_at, views_version, files)


def _sha256(path: Path) -> str:
    hashed = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hashed.update(chunk)
    return hashed.hexdigest()


# ------------------------------------------------------------------------------------------ bringing back


def restore(home: Home, source: Path, progress: Progress) -> Manifest:
    """Bring a backup back into a home that holds no events. Raises BackupRefused, or Locked."""
    manifest = read_manifest(source)
    home.path.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = home.lock("restores a backup")
    try:
        _must_hold_nothing(home)
        home.sweep()
        with home.scratch() as aside:
            _copy_checked(source, aside, manifest, progress)
            _check_pair(aside, manifest)
            sync_tree(aside)
            _put_in_place(home, aside, manifest)
        _put_pages(home)
    finally:
        lock.release()
    return manifest


def _put_pages(home: Home) -> None:
    """Name the latest releases in the folders above them: that is no part of a release, nor of a backup."""
    from feedback.datasets.catalogue import datasets
    from feedback.datasets.pages import put_pages
    from feedback.datasets.shelf.address import shelf_of

    shelf = shelf_of(home.datasets)
    for dataset in datasets(shelf):
        put_pages(shelf, dataset)


def read_manifest(source: Path) -> Manifest:
    """What a backup says about itself. Raises BackupRefused when it is none."""
    try:
        manifest = msgspec.json.decode((source / MANIFEST).read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise BackupRefused(f"{source} is no backup of Loopline's: it has no {MANIFEST}") from None
    except msgspec.MsgspecError as error:
        raise BackupRefused(f"{source / MANIFEST} is damaged: {error}") from None
    if manifest.format != FORMAT:
        raise BackupRefused(
            f"the backup has format {manifest.format} and this version reads {FORMAT}: use the newer version"
        )
    return manifest


def _must_hold_nothing(home: Home) -> None:
    if home.exists():
        with contextlib.closing(home.open_log()) as log:
            blocks = sum(log.ends().values())
        if blocks:
            raise BackupRefused(
                f"{home.path} holds a log with {blocks} blocks, and restoring over it would lose accepted"
                " feedback. Restore into another --home; or move this one away first."
            )
    if home.datasets.is_dir() and any(home.datasets.glob("*/*/manifest.json")):
        raise BackupRefused(f"{home.datasets} holds releases: restore into another --home, or move them away")


def _copy_checked(source: Path, aside: Path, manifest: Manifest, progress: Progress) -> None:
    for number, file in enumerate(manifest.files, 1):
        copy = aside / file.path
        if not copy.resolve().is_relative_to(aside.resolve()):
            raise BackupRefused(f"the backup names a file outside of itself: {file.path}")
        copy.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source / file.path, copy)
        except FileNotFoundError:
            raise BackupRefused(f"the backup is not whole: {file.path} is missing") from None
        if copy.stat().st_size != file.size or _sha256(copy) != file.sha256:
            raise BackupRefused(f"the backup is damaged: {file.path} is not the file that was taken")
        progress("files", number, len(manifest.files))


def _check_pair(aside: Path, manifest: Manifest) -> None:
    """Raises StoreRefused when log and views do not belong together."""
    with contextlib.closing(SqliteLog(aside / LOG)) as log:
        if log.identity.id != manifest.log_id or log.ends() != _ends(manifest.log_at):
            raise BackupRefused("the backup's log is not the one that its manifest describes")
        if (aside / STORE).exists():
            # Views of another version are rebuilt when the server starts.
            with contextlib.closing(SqliteStore(aside / STORE)) as store, contextlib.suppress(OtherViews):
                check(log, store)


def _ends(text: str) -> dict[int, int]:
    return {DEAD: 0, **parse_positions(text)}


def _put_in_place(home: Home, aside: Path, manifest: Manifest) -> None:
    """Move checked files into the home. The log is the last: with it the home is there."""
    remove_database(home.log_path)
    if home.stores.exists():
        shutil.rmtree(home.stores)
    for name in (LOG, STORE):
        for side in ("-wal", "-shm"):
            (aside / f"{name}{side}").unlink(missing_ok=True)
    if (aside / STORE).exists():
        home.stores.mkdir(mode=0o700)
        name = f"views-{manifest.views_version}-1.sqlite"
        os.rename(aside / STORE, home.stores / name)
        replace_file(home.stores / "CURRENT", name.encode() + b"\n")
    if (aside / DATASETS).is_dir():
        for release in sorted((aside / DATASETS).glob("*/*")):
            there = home.datasets / release.relative_to(aside / DATASETS)
            there.parent.mkdir(parents=True, exist_ok=True)
            os.rename(release, there)
        sync_tree(home.datasets)
    os.rename(aside / LOG, home.log_path)
    sync_folder(home.path)


def sizes(manifest: Manifest) -> Iterator[tuple[str, Any]]:
    """The manifest's main entries, for people."""
    yield "log", f"{manifest.log_id} at {manifest.log_at}"
    yield "views", "none" if manifest.views_at is None else f"at {manifest.views_at or 'the beginning'}"
    yield "files", len(manifest.files)
    yield "bytes", sum(file.size for file in manifest.files)
