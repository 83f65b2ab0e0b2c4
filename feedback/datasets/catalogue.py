"""What has been released: the names on a shelf, read without anything heavy.

A release is there when it has a manifest: releases appear whole. Where they lie is left to `shelf`, cutting
one to `release`, comparing two to `diff`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from feedback.datasets.errors import BadRequest, ReleaseMissing

if TYPE_CHECKING:
    from feedback.datasets.shelf import Shelf

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


def is_model(name: str) -> bool:
    """Whether this is a model's name, and so may become a folder's."""
    return _MODEL.fullmatch(name) is not None


def is_version(name: str) -> bool:
    """Whether a folder of this name may be a release."""
    return _VERSION.fullmatch(name) is not None


def check_model(model: str) -> str:
    """The model's name, or BadRequest where it is none: it becomes a folder's name."""
    if not is_model(model):
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


def models(shelf: Shelf) -> list[str]:
    """The models with a release, in order of their names."""
    return [model for model in shelf.models() if shelf.versions(model)]


def versions(shelf: Shelf, model: str) -> list[int]:
    """The versions of a model's dataset, rising."""
    return shelf.versions(check_model(model))


def manifest(shelf: Shelf, model: str, version: int) -> Manifest:
    """What a release says about itself. Raises ReleaseMissing."""
    try:
        body = shelf.read(check_model(model), version, MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        there = [f"{model}@{each}" for each in shelf.versions(model)]
        raise ReleaseMissing(f"{model}@{version}", there) from None
    content: Manifest = msgspec.json.decode(body)
    return content


def show(shelf: Shelf, name: str) -> Manifest:
    """The manifest of `MODEL@N` or `MODEL@latest`. Raises BadRequest and ReleaseMissing."""
    model, version = parse_name(name)
    if version is None:
        there = versions(shelf, model)
        if not there:
            raise ReleaseMissing(name, [])
        version = there[-1]
    return manifest(shelf, model, version)


def list_releases(shelf: Shelf, model: str | None = None) -> list[dict[str, Any]]:
    """One item a release, by model and version: what a list of them shows."""
    found: list[dict[str, Any]] = []
    for each in [check_model(model)] if model is not None else models(shelf):
        found.extend(summary(manifest(shelf, each, version)) for version in versions(shelf, each))
    return found


def summary(content: Mapping[str, Any]) -> dict[str, Any]:
    """A release in a few fields, from its manifest."""
    return {
        name: content[name]
        for name in ("name", "model", "version", "content_hash", "as_of", "released_at", "rows", "parents")
    } | {"splits": {split: said["rows"] for split, said in content["splits"].items()}}
