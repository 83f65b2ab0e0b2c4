"""Files and folders: brought to disk, so that a crash of the machine takes none back, and kept to oneself."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from feedback.ownership import ANYBODY, distrusted
from feedback.place import PlaceRefused


class NotOurs(PlaceRefused):
    """A folder that others can change; the message says what to do."""


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
