"""Releases on a local folder.

A release is made in a hidden folder and renamed into place, under a lock, in these steps:

1. the lock of the model is taken, and what a killed release left behind is removed;
2. the files are written in a hidden folder and brought to disk;
3. the folder is renamed to its version, and the rename is brought to disk: it is published.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from feedback.datasets.names import FAILED, MANIFEST, PAGE, is_model, is_version
from feedback.datasets.shelf.port import Bench, FileBody
from feedback.disk import must_be_ours, replace_file, sync_folder, sync_tree, telling_full_disk
from streams.crash_points import reached

# No model has such a name.
_LOCKS = ".locks"
_BUILDING = ".building"


class FolderShelf:
    """Releases in `folder/MODEL/N/`. The folder need not exist yet."""

    look_every_s = 1.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = str(folder)

    def models(self) -> list[str]:
        """The folders with a model's name."""
        if not self.folder.is_dir():
            return []
        return sorted(
            entry.name for entry in self.folder.iterdir() if is_model(entry.name) and entry.is_dir()
        )

    def versions(self, model: str) -> list[int]:
        """The folders with a version's name and a manifest."""
        place = self.folder / model
        if not place.is_dir():
            return []
        return sorted(
            int(entry.name)
            for entry in place.iterdir()
            if is_version(entry.name) and (entry / MANIFEST).is_file()
        )

    def read(self, model: str, version: int, name: str) -> bytes:
        """The file's bytes."""
        return self._file(model, version, name).read_bytes()

    @contextlib.contextmanager
    def opened(self, model: str, version: int, name: str) -> Iterator[Any]:
        """The file's path."""
        yield self._file(model, version, name)

    def body(self, model: str, version: int, name: str) -> FileBody:
        """A plain file, of a folder with a manifest: no link, nothing else."""
        path = self._file(model, version, name)
        if not (path.parent / MANIFEST).is_file() or path.is_symlink() or not path.is_file():
            raise FileNotFoundError(path)
        return FileBody(path.stat().st_size, iter(()), path)

    def stamp(self, model: str, version: int, name: str) -> int:
        """When it was written (ns): somebody may take a release apart and put another one there."""
        return self._file(model, version, name).stat().st_mtime_ns

    def place(self, model: str, version: int) -> str:
        """The release's folder."""
        return str(self.folder / model / str(version))

    def page(self, model: str | None) -> str | None:
        """The text of the page."""
        path = self._page(model)
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None

    def put_page(self, model: str | None, text: str) -> None:
        """Replace the file."""
        replace_file(self._page(model), text.encode())

    def _page(self, model: str | None) -> Path:
        return (self.folder if model is None else self.folder / model) / PAGE

    def _file(self, model: str, version: int, name: str) -> Path:
        return self.folder / model / str(version) / name

    @contextlib.contextmanager
    def releasing(self, model: str, waiting: Callable[[], None] = lambda: None) -> Iterator[Bench]:
        """The making of a release, under the model's lock: another process that has it is waited for."""
        locks = self.folder / _LOCKS
        locks.mkdir(parents=True, exist_ok=True)
        must_be_ours(self.folder)
        descriptor = os.open(locks / model, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            reached("release.1")
            shutil.rmtree(self.folder / model / _BUILDING, ignore_errors=True)
            yield _FolderBench(self, model)
        finally:
            os.close(descriptor)


class _FolderBench:
    """The making of a release in a folder, whose lock is held."""

    def __init__(self, shelf: FolderShelf, model: str) -> None:
        self._shelf = shelf
        self._model = model
        self._place = shelf.folder / model

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """A hidden folder beside the versions, removed at the end unless it was renamed. Raises DiskFull."""
        hidden = self._place / _BUILDING
        hidden.mkdir(parents=True, exist_ok=True)
        path = Path(tempfile.mkdtemp(dir=hidden))
        try:
            with telling_full_disk(self._shelf.folder, "name a larger one with --datasets"):
                yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            # A model of which nothing could be released leaves no folder either.
            with contextlib.suppress(OSError):
                hidden.rmdir()
                self._place.rmdir()

    @contextlib.contextmanager
    def numbered(self) -> Iterator[int]:
        """The version that comes next: the lock keeps it free."""
        yield max(self._shelf.versions(self._model), default=0) + 1

    def publish(self, built: Path, version: int) -> str:
        """Rename the folder to its version."""
        sync_tree(built)
        reached("release.2")
        place = self._place / str(version)
        os.rename(built, place)
        sync_folder(self._place)
        reached("release.3")
        return str(place)

    def set_aside(self, built: Path, name: str) -> str:
        """Rename the folder; what had the name before gives way."""
        failed = self._place / FAILED
        failed.mkdir(exist_ok=True)
        place = failed / name
        shutil.rmtree(place, ignore_errors=True)
        os.rename(built, place)
        return str(place)
