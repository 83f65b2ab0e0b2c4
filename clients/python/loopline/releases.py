"""Where dataset releases are found: a folder, an object store, or a server. Each gives a manifest and files.

What is in the files and whether they are whole is looked at in :mod:`loopline.datasets`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, unquote, urlencode, urlsplit

import msgspec

from loopline.answers import read_problem
from loopline.content import need
from loopline.errors import DatasetError, Refused, ReleaseDamaged, Unreachable
from loopline.transport import Answer, Transport

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}").fullmatch
_VERSION = re.compile(r"[1-9][0-9]{0,8}").fullmatch
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*").fullmatch

_decode = msgspec.json.Decoder().decode


class Place(Protocol):
    """A place with releases."""

    name: str

    def versions(self, model: str) -> list[int]:
        """The versions of a model's dataset, in rising order."""

    def manifest(self, model: str, version: int) -> dict[str, Any]:
        """What a release says about itself."""

    def file(self, model: str, version: int, name: str) -> bytes:
        """One whole file of a release."""


class Folder:
    """Releases in ``FOLDER/MODEL/N/``."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder)
        self.name = str(self._folder)

    def versions(self, model: str) -> list[int]:
        """Folders with a manifest; one without is not published."""
        folder = self._folder / model
        if not folder.is_dir():
            return []
        found = (each.name for each in folder.iterdir() if (each / "manifest.json").is_file())
        return sorted(int(name) for name in found if _VERSION(name))

    def manifest(self, model: str, version: int) -> dict[str, Any]:
        """The release's ``manifest.json``."""
        return _as_manifest(self.file(model, version, "manifest.json"), f"{model}@{version} in {self.name}")

    def file(self, model: str, version: int, name: str) -> bytes:
        """A file of the release's folder."""
        path = self._folder / model / str(version) / _safe(name)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ReleaseDamaged(f"{path} cannot be read: {error}") from error


class Objects:
    """Releases on an object store, at a URI that pyarrow knows; its credentials come from the environment."""

    def __init__(self, uri: str) -> None:
        parts = urlsplit(uri)
        self.name = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")
        self._uri = uri
        self._opened: tuple[Any, str] | None = None

    def versions(self, model: str) -> list[int]:
        """Prefixes with a manifest; one without is not published."""
        fs = need("pyarrow.fs")

        def look(files: Any, base: str) -> list[int]:
            found = files.get_file_info(fs.FileSelector(f"{base}/{model}", allow_not_found=True))
            numbers = [int(each.base_name) for each in found if _VERSION(each.base_name)]
            there = files.get_file_info([f"{base}/{model}/{each}/manifest.json" for each in numbers])
            return sorted(number for number, entry in zip(numbers, there, strict=True) if entry.size)

        numbers: list[int] = self._ask(look)
        return numbers

    def manifest(self, model: str, version: int) -> dict[str, Any]:
        """The release's ``manifest.json``."""
        return _as_manifest(self.file(model, version, "manifest.json"), f"{model}@{version} in {self.name}")

    def file(self, model: str, version: int, name: str) -> bytes:
        """An object of the release."""

        def look(files: Any, base: str) -> bytes:
            path = f"{base}/{model}/{version}/{_safe(name)}"
            try:
                with files.open_input_file(path) as file:
                    body: bytes = file.read()
            except FileNotFoundError as error:
                raise ReleaseDamaged(f"{self.name}/{model}/{version} lacks {name}") from error
            return body

        body: bytes = self._ask(look)
        return body

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


class Server:
    """Releases behind ``/v1/datasets`` of a Loopline server."""

    def __init__(self, url: str, timeout: float = 60.0) -> None:
        self.name = url
        self._connect: Callable[[], Transport] = lambda: Transport(url, timeout, largest=2**40)

    def versions(self, model: str) -> list[int]:
        """All pages of the server's list, as far as they are about this model."""
        found: list[int] = []
        following: str | None = None
        while True:
            path = f"/v1/datasets?{urlencode({'next': following})}" if following else "/v1/datasets"
            page = _decode(self._get(path).body)
            items = page["items"]
            found += [
                int(each["version"]) for each in items if each.get("dataset", each.get("model")) == model
            ]
            following = page.get("next")
            if not following:
                return sorted(found)

    def manifest(self, model: str, version: int) -> dict[str, Any]:
        """The release's manifest, as the server hands it out."""
        return _as_manifest(self._get(f"/v1/datasets/{quote(model)}/{version}").body, f"{model}@{version}")

    def file(self, model: str, version: int, name: str) -> bytes:
        """A file of the release."""
        return self._get(f"/v1/datasets/{quote(model)}/{version}/files/{_safe(name)}").body

    def _get(self, path: str) -> Answer:
        transport = self._connect()
        try:
            answer = transport.request("GET", path)
        finally:
            transport.close()
        if answer.status != 200:
            raise Refused(answer.status, read_problem(answer.status, answer.body))
        return answer


def places(
    home: str | os.PathLike[str] | None, url: str | None, shelf: str | os.PathLike[str] | None = None
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
        named.append(Server(url))
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
    except msgspec.DecodeError as error:
        raise ReleaseDamaged(f"the manifest of {what} is not JSON: {error}") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise ReleaseDamaged(f"the manifest of {what} lists no files")
    return manifest
