"""The folder of one model's releases: versions without gaps, each visible whole or not at all.

A release is made in a hidden folder and renamed into place, under a lock, in these steps:

1. the lock of the model is taken, and what a killed release left behind is removed;
2. the files are written in a hidden folder and brought to disk;
3. the folder is renamed to its version, and the rename is brought to disk: it is published.

What is in the files is left to others.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from feedback.datasets.catalogue import FAILED, check_model, versions
from streams.sentinels import reached

# No model has such a name.
_LOCKS = ".locks"
_BUILDING = ".building"


class Shelf:
    """Where a model's releases are put. Use under `locked`."""

    def __init__(self, folder: Path, model: str) -> None:
        self._folder = folder
        self._model = check_model(model)
        self._place = folder / model

    @contextlib.contextmanager
    def locked(self, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
        """The right to release: another process that has it is waited for, after a call of `waiting`."""
        locks = self._folder / _LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(locks / self._model, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            reached("release.1")
            shutil.rmtree(self._place / _BUILDING, ignore_errors=True)
            yield
        finally:
            os.close(descriptor)

    def next_version(self) -> int:
        """The version that comes next."""
        return max(versions(self._folder, self._model), default=0) + 1

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """A hidden folder for the files, removed at the end unless it was renamed."""
        hidden = self._place / _BUILDING
        hidden.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=hidden))
        # Private by default; a release is read by others as the home is.
        path.chmod(0o755)
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            # A model of which nothing could be released leaves no folder either.
            with contextlib.suppress(OSError):
                hidden.rmdir()
                self._place.rmdir()

    def publish(self, built: Path, version: int) -> Path:
        """Make what was built the release of this version."""
        _sync(built)
        reached("release.2")
        place = self._place / str(version)
        os.rename(built, place)
        _sync_folder(self._place)
        reached("release.3")
        return place

    def set_aside(self, built: Path, name: str) -> Path:
        """Keep what was built, but did not pass, under a name; what had the name before gives way."""
        failed = self._place / FAILED
        failed.mkdir(exist_ok=True)
        place = failed / name
        shutil.rmtree(place, ignore_errors=True)
        os.rename(built, place)
        return place


def _sync(folder: Path) -> None:
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
