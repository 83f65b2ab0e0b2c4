"""Releases on an object store.

An object store has no rename and no lock, and `pyarrow.fs` has no conditional write. What there is: an object
appears whole, and whoever lists after a write sees it. A release is published on that alone, in these steps:

1. it is cut in a local folder, which nobody else sees;
2. a number is claimed (`claims`): nobody else writes under it from then on, whatever happens to this process;
3. the files are written to `MODEL/N/`, all but the manifest, by which readers go: nobody sees them yet;
4. the manifest is written, as one object: the release is there, whole;
5. the claim is taken back. The release itself keeps the number.

A release that is killed on the way leaves its claim, and perhaps files that nobody sees; its number stays
unused. What is published never changes, so it is remembered; what is listed is not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from feedback.datasets.errors import ClaimTooOld, PublishingUnsure, ShelfUnreachable
from feedback.datasets.names import FAILED, MANIFEST, PAGE, is_model, is_version
from feedback.datasets.shelf.bucket import PIECE, Objects
from feedback.datasets.shelf.claims import TIMES, Claims, ClaimTimes
from feedback.datasets.shelf.port import Bench, FileBody
from feedback.disk import temporary_scratch
from streams.crash_points import reached

# So many versions are looked at one by one; more are listed with all their files, a hundred in one request.
_ONE_BY_ONE = 16


class ObjectShelf:
    """Releases as objects `MODEL/N/FILE` below a prefix. `times`: how long claims of numbers are good."""

    # A look is a request, and one for each dataset.
    look_every_s = 300.0

    def __init__(self, objects: Objects, times: ClaimTimes = TIMES) -> None:
        self.times = times
        self.name = objects.name
        self.objects = objects
        self._published: dict[str, set[int]] = {}

    def models(self) -> list[str]:
        """What has objects below it, directly below the prefix, as far as it has a model's name."""
        return sorted(
            entry.base_name
            for entry in self.objects.listed("")
            if is_model(entry.base_name) and not entry.is_file
        )

    def versions(self, model: str) -> list[int]:
        """What lies below the model and has a manifest. One that was seen once is not looked for again."""
        there = {int(each.base_name) for each in self.objects.listed(model) if is_version(each.base_name)}
        known = self._published.setdefault(model, set())
        unknown = sorted(there - known)
        if len(unknown) > _ONE_BY_ONE:
            entries = self.objects.listed(model, deep=True)
        else:
            entries = self.objects.described([f"{model}/{each}/{MANIFEST}" for each in unknown])
        for entry in entries:
            _, *last = entry.path.rsplit("/", 3)
            if last[::2] == [model, MANIFEST] and is_version(last[1]) and entry.size:
                known.add(int(last[1]))
        return sorted(there & known)

    def published(self, model: str, version: int) -> bool:
        """Whether a version has a manifest."""
        known = self._published.setdefault(model, set())
        if version not in known and self.objects.described([f"{model}/{version}/{MANIFEST}"])[0].size:
            known.add(version)
        return version in known

    def read(self, model: str, version: int, name: str) -> bytes:
        """The object's bytes; manifests are remembered."""
        return _manifest(self, model, version) if name == MANIFEST else self._read(model, version, name)

    def _read(self, model: str, version: int, name: str) -> bytes:
        with self.opened(model, version, name) as file:
            content: bytes = file.read()
        return content

    @contextlib.contextmanager
    def opened(self, model: str, version: int, name: str) -> Iterator[Any]:
        """The object, read in ranges."""
        with self.objects.opened(f"{model}/{version}/{name}") as file:
            yield file

    def body(self, model: str, version: int, name: str) -> FileBody:
        """An object of a published release, read piece by piece as it is handed out."""
        if not self.published(model, version):
            raise FileNotFoundError(f"{self.name}/{model}/{version}/{name}")
        stack = contextlib.ExitStack()
        file = stack.enter_context(self.opened(model, version, name))

        def pieces() -> Iterator[bytes]:
            with stack:
                while piece := file.read(PIECE):
                    yield piece

        return FileBody(file.size(), pieces())

    def stamp(self, model: str, version: int, name: str) -> int:
        """Always the same: no other release takes the place of one that was published."""
        return 0

    def place(self, model: str, version: int) -> str:
        """The address of the release, without what belongs to the connection."""
        return f"{self.name}/{model}/{version}"

    def page(self, model: str | None) -> str | None:
        """The text of the object."""
        try:
            with self.objects.opened(_page(model)) as file:
                content: bytes = file.read()
        except FileNotFoundError:
            return None
        return content.decode(errors="replace")

    def put_page(self, model: str | None, text: str) -> None:
        """Replace the object."""
        self.objects.write(_page(model), text.encode())

    @contextlib.contextmanager
    def releasing(self, model: str, waiting: Callable[[], None] = lambda: None) -> Iterator[Bench]:
        """The making of a release. Nobody is waited for: two at a time get two numbers."""
        yield _ObjectBench(self, model)


def _page(model: str | None) -> str:
    return PAGE if model is None else f"{model}/{PAGE}"


@lru_cache(maxsize=256)
def _manifest(shelf: ObjectShelf, model: str, version: int) -> bytes:
    return shelf._read(model, version, MANIFEST)


class _ObjectBench:
    """The making of a release in a local folder, and its way to the store."""

    def __init__(self, shelf: ObjectShelf, model: str) -> None:
        self._shelf = shelf
        self._model = model
        self._claims = Claims(shelf, model, shelf.times)
        # Whether the number is ours for good: something may be written under it.
        self._used = False

    @contextlib.contextmanager
    def building(self) -> Iterator[Path]:
        """A folder for temporary files (TMPDIR says where), removed at the end. Raises DiskFull."""
        with temporary_scratch() as folder:
            yield folder

    @contextlib.contextmanager
    def numbered(self) -> Iterator[int]:
        """A claimed number. It is given back as long as nothing was written under it."""
        version = self._claims.take()
        reached("objects.2")
        try:
            yield version
        finally:
            # A write that failed here may still arrive there: what was once written to stays ours.
            if not self._used:
                with contextlib.suppress(ShelfUnreachable):
                    self._claims.give_back()

    def publish(self, built: Path, version: int) -> str:
        """Write the files, then the manifest."""
        objects, below = self._shelf.objects, f"{self._model}/{version}"
        self._used = True
        sizes = {}
        for path in sorted(built.iterdir()):
            if path.name != MANIFEST:
                objects.upload(path, f"{below}/{path.name}")
                sizes[path.name] = path.stat().st_size
                reached("objects.3")
        there = {each.base_name: each.size for each in objects.listed(below)}
        if there != sizes:
            raise ShelfUnreachable(
                f"{self._shelf.name}/{below} holds {there} after {sizes} was written there"
            )
        if self._claims.too_old():
            raise ClaimTooOld(f"{self._model}@{version}")
        self._show(below, version, (built / MANIFEST).read_bytes())
        reached("objects.4")
        # Were it left, the next release would take it away.
        with contextlib.suppress(ShelfUnreachable):
            self._claims.give_back()
        reached("objects.5")
        return self._shelf.place(self._model, version)

    def _show(self, below: str, version: int, manifest: bytes) -> None:
        """Write the manifest; a lost answer is asked for again. Raises PublishingUnsure."""
        try:
            self._shelf.objects.write(f"{below}/{MANIFEST}", manifest)
        except ShelfUnreachable as error:
            with contextlib.suppress(ShelfUnreachable):
                if self._shelf.published(self._model, version):
                    return
            raise PublishingUnsure(f"{self._model}@{version}", error) from error

    def set_aside(self, built: Path, name: str) -> str:
        """Write the files under the name; they are no version, so nobody takes them for one."""
        below = f"{self._model}/{FAILED}/{name}"
        for path in sorted(built.iterdir()):
            self._shelf.objects.upload(path, f"{below}/{path.name}")
        return f"{self._shelf.name}/{below}"
