"""Where dataset releases are found: a home's folder, or a server. Both give a manifest and files as bytes.

What is in the files and whether they are whole is looked at in :mod:`loopline.datasets`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec

from loopline.answers import read_problem
from loopline.errors import DatasetError, Refused, ReleaseDamaged
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


class Home:
    """Releases in ``HOME/datasets/MODEL/N/``."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._folder = Path(folder) / "datasets"
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
            found += [int(item["version"]) for item in page["items"] if item.get("model") == model]
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


def places(home: str | os.PathLike[str] | None, url: str | None) -> list[Place]:
    """Where to look, in order: what the caller names, else what the environment names, else ``.loopline``."""
    if home is None and url is None:
        home, url = os.environ.get("LOOPLINE_HOME"), os.environ.get("LOOPLINE_URL")
    if home is None and url is None:
        home = ".loopline"
    named: list[Place] = []
    if home is not None:
        named.append(Home(home))
    if url is not None:
        named.append(Server(url))
    return named


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
