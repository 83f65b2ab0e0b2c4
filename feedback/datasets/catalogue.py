"""What has been released: the folders of `datasets`, read without anything heavy.

A release is there when its folder has a manifest: folders appear whole. Cutting one is left to `release`,
comparing two to `diff`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from feedback.datasets.errors import BadRequest, ReleaseMissing

MANIFEST = "manifest.json"
FAILED = "failed"
FILES = (
    "train.parquet",
    "validation.parquet",
    "test.parquet",
    "audit.parquet",
    "lineage.parquet",
    MANIFEST,
    "croissant.json",
    "README.md",
    "gate.json",
)

Manifest = dict[str, Any]

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})@([1-9][0-9]{0,8}|latest)")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def check_model(model: str) -> str:
    """The model's name, or BadRequest where it is none: it becomes a folder's name."""
    if not _MODEL.fullmatch(model):
        raise BadRequest(
            f"{model[:140]!r} is no model's name: letters, digits, '.', '_' and '-', at most 128,"
            " the first one a letter or digit"
        )
    return model


def parse_name(name: str) -> tuple[str, int | None]:
    """The model and version of `MODEL@N`; the version is None for `MODEL@latest`. Raises BadRequest."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadRequest(f"{name[:150]!r} is no dataset's name: write MODEL@N, as in name-matcher@3")
    return match[1], None if match[2] == "latest" else int(match[2])


def models(folder: Path) -> list[str]:
    """The models with a release, in order of their names."""
    if not folder.is_dir():
        return []
    return sorted(
        entry.name
        for entry in folder.iterdir()
        if _MODEL.fullmatch(entry.name) and versions(folder, entry.name)
    )


def versions(folder: Path, model: str) -> list[int]:
    """The versions of a model's dataset, rising."""
    place = folder / check_model(model)
    if not place.is_dir():
        return []
    return sorted(
        int(entry.name)
        for entry in place.iterdir()
        if _VERSION.fullmatch(entry.name) and (entry / MANIFEST).is_file()
    )


def manifest(folder: Path, model: str, version: int) -> Manifest:
    """What a release says about itself. Raises ReleaseMissing."""
    try:
        body = (folder / check_model(model) / str(version) / MANIFEST).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        there = [f"{model}@{each}" for each in versions(folder, model)]
        raise ReleaseMissing(f"{model}@{version}", there) from None
    content: Manifest = msgspec.json.decode(body)
    return content


def show(folder: Path, name: str) -> Manifest:
    """The manifest of `MODEL@N` or `MODEL@latest`. Raises BadRequest and ReleaseMissing."""
    model, version = parse_name(name)
    if version is None:
        there = versions(folder, model)
        if not there:
            raise ReleaseMissing(name, [])
        version = there[-1]
    return manifest(folder, model, version)


def list_releases(folder: Path, model: str | None = None) -> list[dict[str, Any]]:
    """One item a release, by model and version: what a list of them shows."""
    found: list[dict[str, Any]] = []
    for each in [check_model(model)] if model is not None else models(folder):
        found.extend(summary(manifest(folder, each, version)) for version in versions(folder, each))
    return found


def summary(content: Mapping[str, Any]) -> dict[str, Any]:
    """A release in a few fields, from its manifest."""
    return {
        name: content[name]
        for name in ("name", "model", "version", "content_hash", "as_of", "released_at", "rows", "parents")
    } | {"splits": {split: said["rows"] for split, said in content["splits"].items()}}


def file_path(folder: Path, model: str, version: int, name: str) -> Path:
    """The path of a file of a release. Raises ReleaseMissing, also for a name that no release has."""
    if name not in FILES:
        raise ReleaseMissing(f"{model}@{version}/{name}", list(FILES))
    manifest(folder, model, version)
    return folder / model / str(version) / name
