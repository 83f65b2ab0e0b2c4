"""Where dataset releases are found: a folder, an object store, or a server. Each gives a manifest and files.

What comes from elsewhere is taken no further than it was said to go: a list ends, a manifest has a bound, and
of a file not a byte more is taken than its manifest states. What is in the files, and whether they are whole,
is looked at in :mod:`loopline.datasets`.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Protocol
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from loopline.datasets.content import need
from loopline.delivery.answers import loopline_problem
from loopline.delivery.transport import Answer, Transport
from loopline.errors import DatasetError, NotLoopline, ReleaseDamaged, RequestRefused, Unreachable

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}").fullmatch
_VERSION = re.compile(r"[1-9][0-9]{0,8}").fullmatch
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch

MOST_MANIFEST_BYTES = 16 * 1024 * 1024
"""A manifest lists 200 labels and 1,000 ties at most: that fits, whatever they are."""

_PIECE = 1024 * 1024

_decode = msgspec.json.Decoder().decode


class Place(Protocol):
    """A place with releases. A dataset is a model's, or ``MODEL.NAME``."""

    name: str
    remote: bool

    def versions(self, dataset: str) -> list[int]:
        """The versions of a dataset, in rising order."""

    def manifest(self, dataset: str, version: int) -> dict[str, Any]:
        """What a release says about itself."""

    def file(self, dataset: str, version: int, name: str, size: int) -> AbstractContextManager[Path]:
        """One file of a release, as a local one, of no more than ``size`` bytes while it is read."""


class Folder:
    """Releases in ``FOLDER/MODEL/N/``."""

    remote = False

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self.name = str(self._folder)

    def versions(self, dataset: str) -> list[int]:
        """Folders with a manifest; one without is not published."""
        folder = self._folder / dataset
        if not folder.is_dir():
            return []
        found = (each.name for each in folder.iterdir() if (each / "manifest.json").is_file())
        return sorted(int(name) for name in found if _VERSION(name))

    def manifest(self, dataset: str, version: int) -> dict[str, Any]:
        """The release's ``manifest.json``."""
        path = self._folder / dataset / str(version) / "manifest.json"
        try:
            body = path.read_bytes()
        except OSError as error:
            raise ReleaseDamaged(f"{path} cannot be read: {error}") from error
        return _as_manifest(body, f"{dataset}@{version} in {self.name}")

    @contextlib.contextmanager
    def file(self, dataset: str, version: int, name: str, size: int) -> Iterator[Path]:
        """The file itself."""
        path = self._folder / dataset / str(version) / _safe(name)
        if not path.is_file():
            raise ReleaseDamaged(f"{path} is missing")
        yield path


class Objects:
    """Releases on an object store, at a URI that pyarrow knows; its credentials come from the environment."""

    remote = True

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        self._uri = uri
        self._opened: tuple[Any, str] | None = None

    def versions(self, dataset: str) -> list[int]:
        """Prefixes with a manifest; one without is not published."""
        fs = need("pyarrow.fs")

        def look(files: Any, base: str) -> list[int]:
            found = files.get_file_info(fs.FileSelector(f"{base}/{dataset}", allow_not_found=True))
            numbers = [int(each.base_name) for each in found if _VERSION(each.base_name)]
            there = files.get_file_info([f"{base}/{dataset}/{each}/manifest.json" for each in numbers])
            return sorted(number for number, entry in zip(numbers, there, strict=True) if entry.size)

        numbers: list[int] = self._ask(look)
        return numbers

    def manifest(self, dataset: str, version: int) -> dict[str, Any]:
        """The release's ``manifest.json``."""
        body = bytearray()
        self._copy(dataset, version, "manifest.json", MOST_MANIFEST_BYTES, body.extend)
        return _as_manifest(bytes(body), f"{dataset}@{version} in {self.name}")

    @contextlib.contextmanager
    def file(self, dataset: str, version: int, name: str, size: int) -> Iterator[Path]:
        """An object of the release, copied."""
        with _temporary(self.name, name, size) as (path, take):
            self._copy(dataset, version, _safe(name), size, take)
            yield path

    def _copy(
        self, dataset: str, version: int, name: str, size: int, take: Callable[[bytes], object]
    ) -> None:
        def look(files: Any, base: str) -> None:
            path = f"{base}/{dataset}/{version}/{name}"
            try:
                with files.open_input_file(path) as file:
                    if file.size() > size:
                        raise _too_large(name, self.name, size)
                    while piece := file.read(_PIECE):
                        take(piece)
            except FileNotFoundError as error:
                raise ReleaseDamaged(f"{self.name}/{dataset}/{version} lacks {name}") from error

        self._ask(look)

    def _ask(self, look: Callable[[Any, str], Any]) -> Any:
        fs = need("pyarrow.fs")
        try:
            if self._opened is None:
                files, base = fs.FileSystem.from_uri(self._uri)
                self._opened = files, base.rstrip("/")
            return look(*self._opened)
        except OSError as error:
            raise Unreachable(f"the datasets at {self.name} cannot be read: {error}") from error
        # What pyarrow cannot read as an address.
        except ValueError as error:
            raise DatasetError(f"{self.name} is no address of an object store: {error}") from error


class _Item(msgspec.Struct):
    model: str
    version: int
    dataset: str | None = None


class _Page(msgspec.Struct):
    items: list[_Item]
    next: str | None = None


class Server:
    """Releases behind ``/v1/datasets`` of a Loopline server.

    An answer that takes longer than ``timeout_s`` and comes slower than ``slowest``, in bytes a second, is
    given up; so is a list of over ``most_pages`` pages, and a manifest of over ``manifest_bytes``.
    """

    remote = True

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 60.0,
        slowest: float = 16 * 1024,
        most_pages: int = 1_000,
        manifest_bytes: int = MOST_MANIFEST_BYTES,
    ) -> None:
        self._timeout_s, self._slowest, self._most_pages = timeout_s, slowest, most_pages
        self._connect: Callable[[], Transport] = lambda: Transport(
            url, timeout_s, largest=manifest_bytes, headers=headers
        )
        self.name = self._connect().url

    def versions(self, dataset: str) -> list[int]:
        """All pages of the server's list, as far as they are about this dataset."""
        found: list[int] = []
        seen: set[str] = set()
        following: str | None = None
        end = time.monotonic() + 2 * self._timeout_s
        while True:
            path = f"/v1/datasets?{urlencode({'next': following})}" if following else "/v1/datasets"
            answer = self._get(path)
            try:
                page = msgspec.json.decode(answer.body, type=_Page)
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise NotLoopline(self.name, "lists its datasets") from None
            found += [each.version for each in page.items if (each.dataset or each.model) == dataset]
            following = page.next
            if not following:
                return sorted(found)
            if following in seen or len(seen) == self._most_pages or time.monotonic() > end:
                raise NotLoopline(self.name, "lists its datasets without an end")
            seen.add(following)

    def manifest(self, dataset: str, version: int) -> dict[str, Any]:
        """The release's manifest, as the server hands it out."""
        answer = self._get(f"/v1/datasets/{quote(dataset)}/{version}")
        return _as_manifest(answer.body, f"{dataset}@{version} at {self.name}")

    @contextlib.contextmanager
    def file(self, dataset: str, version: int, name: str, size: int) -> Iterator[Path]:
        """A file of the release, copied as it comes in."""
        with _temporary(self.name, name, size) as (path, take):
            self._get(f"/v1/datasets/{quote(dataset)}/{version}/files/{_safe(name)}", take)
            yield path

    def _get(self, path: str, into: Callable[[bytes], object] | None = None) -> Answer:
        transport = self._connect()
        try:
            answer = transport.request("GET", path, within=self._timeout_s, slowest=self._slowest, into=into)
        finally:
            transport.close()
        if answer.status == 200:
            return answer
        problem = loopline_problem(answer.headers, answer.body)
        # A redirect too: nobody else is asked than who was named.
        if problem is None:
            raise NotLoopline(self.name, f"answered {answer.status}")
        raise RequestRefused(answer.status, problem)


@contextlib.contextmanager
def _temporary(where: str, name: str, size: int) -> Iterator[tuple[Path, Callable[[bytes], object]]]:
    """A temporary file, gone at the end, and a function that appends to it: ``size`` bytes, and no more."""
    with tempfile.TemporaryDirectory(prefix="loopline-dataset-") as folder:
        free = shutil.disk_usage(folder).free
        if size > free:
            raise DatasetError(
                f"{name} has {size:,} bytes, and {folder} has room for {free:,}: set TMPDIR to a larger disk"
            )
        path = Path(folder) / "file"
        with path.open("wb") as file:
            yield path, _Bounded(file, name, where, size)


class _Bounded:
    """Appends to a file; raises ReleaseDamaged for the first byte too many."""

    def __init__(self, file: IO[bytes], name: str, where: str, size: int) -> None:
        self._file = file
        self._left = size
        self._failure = _too_large(name, where, size)

    def __call__(self, piece: bytes) -> None:
        self._left -= len(piece)
        if self._left < 0:
            raise self._failure
        self._file.write(piece)
        # Whoever reads it opens it again.
        self._file.flush()


def _too_large(name: str, where: str, size: int) -> ReleaseDamaged:
    return ReleaseDamaged(f"{name} at {where} is not what was released: it has over {size:,} bytes")


def places(
    home: str | os.PathLike[str] | None,
    url: str | None,
    shelf: str | os.PathLike[str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> list[Place]:
    """Where to look, in order: what the caller names, else what the environment names, else ``.loopline``."""
    if home is None and url is None and shelf is None:
        shelf = os.environ.get("LOOPLINE_DATASETS")
        home, url = os.environ.get("LOOPLINE_HOME"), os.environ.get("LOOPLINE_URL")
    if home is None and url is None and shelf is None:
        home = ".loopline"
    named: list[Place] = []
    if shelf is not None:
        named.append(_shelf(shelf))
    if home is not None:
        named.append(Folder(Path(home) / "datasets"))
    if url is not None:
        named.append(Server(url, headers))
    return named


def _shelf(where: str | os.PathLike[str]) -> Place:
    """A folder by its path or ``file://`` address, or an object store by its URI."""
    if isinstance(where, str) and "://" in where:
        parts = urlsplit(where)
        return Folder(unquote(parts.path)) if parts.scheme == "file" else Objects(where)
    return Folder(where)


def check_name(model: str) -> str:
    """The model's name as it may stand in paths, or :class:`~loopline.errors.DatasetError`."""
    if not _NAME(model):
        raise DatasetError(f"{model!r} is no model's name: letters, digits, '.', '_' and '-', at most 128")
    return model


def _safe(name: str) -> str:
    if not _FILE(name):
        raise ReleaseDamaged(f"the manifest names a file {name!r}, which no release has")
    return name


def _as_manifest(body: bytes, what: str) -> dict[str, Any]:
    try:
        manifest = _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ReleaseDamaged(f"the manifest of {what} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ReleaseDamaged(f"the manifest of {what} lists no files")
    return manifest
