"""Files and folders: brought to disk, so that a crash of the machine takes none back, and kept to oneself.

And room for work aside: a folder that goes away afterwards, and a disk that is full told by its folder.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from feedback.installation.port import PlaceRefused
from feedback.ownership import ANYBODY, distrusted


class NotOurs(PlaceRefused):
    """A folder that others can change; the message says what to do."""


class DiskFull(PlaceRefused):
    """No space is left on a disk; the message names the folder, and says what to do."""


def keep_to_oneself() -> None:
    """From now on this process, and those that it starts, make files that nobody else can read or write."""
    os.umask(0o077)


def must_be_ours(folder: Path) -> None:
    """Raises NotOurs for a folder of another user's, or one in which everybody can write.

    Whoever can write there can put another log, another release or another address in its place. A folder
    that a group shares is let pass, and told by `loopline doctor`.
    """
    if (why := distrusted(folder, ANYBODY, superuser=True)) is not None:
        raise NotOurs(why)


def sync_folder(path: Path) -> None:
    """Bring a folder's names to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Bring a folder, with all files and folders in it, to disk."""
    for entry in sorted(path.rglob("*")):
        if entry.is_file():
            with entry.open("rb") as file:
                os.fsync(file.fileno())
        elif entry.is_dir():
            sync_folder(entry)
    sync_folder(path)


def replace_file(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all, and on disk when this returns."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


# --------------------------------------------------------------------------------------- room for work aside

SCRATCH_PREFIX = "loopline-scratch-"
_LOCK = "in-use"
_UNLOCKED_S = 3600.0


@contextlib.contextmanager
def temporary_scratch() -> Iterator[Path]:
    """A folder for work aside, where the system keeps such (TMPDIR), removed at the end. Raises DiskFull.

    What killed processes left there goes first: on a data volume nobody else takes it away.
    """
    root = Path(tempfile.gettempdir())
    sweep_scratch(root)
    folder = Path(tempfile.mkdtemp(prefix=SCRATCH_PREFIX, dir=root))
    work = folder / "work"
    try:
        # A lock and no process id: containers that share a volume number their processes each for itself.
        with (folder / _LOCK).open("wb") as lock, telling_full_disk(root, "name a larger one in TMPDIR"):
            fcntl.flock(lock, fcntl.LOCK_EX)
            work.mkdir()
            yield work
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_scratch(root: Path) -> None:
    """Remove the folders for work aside whose process is gone; others' are left alone."""
    for folder in root.glob(f"{SCRATCH_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    try:
        with (folder / _LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        # Just made, and about to be locked; or its process died in between.
        return time.time() - folder.stat().st_mtime > _UNLOCKED_S
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def telling_full_disk(folder: Path, instead: str) -> Iterator[None]:
    """Tell a full disk by the folder on it, and what to do other than to make room. Raises DiskFull."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:
        if not _says_full(error):
            raise
        free = shutil.disk_usage(folder).free / 1024**2
        raise DiskFull(
            f"no space left in {folder} ({free:,.0f} MiB free after what was written): make room there, or"
            f" {instead}"
        ) from error


def _says_full(error: BaseException | None) -> bool:
    """Whether a failure, or what it came from, is that a disk or a quota is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.Error) and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
            return True
        error = error.__cause__ or error.__context__
    return False
