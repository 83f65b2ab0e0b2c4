"""What has been released: the names on a shelf, read without anything heavy.

A release is there when it has a manifest: releases appear whole. Where they lie is left to `shelf`, cutting
one to `release`, comparing two to `diff`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from feedback.datasets.errors import ReleaseMissing
from feedback.datasets.names import MANIFEST, check_model, parse_name
from feedback.datasets.shelf import Shelf

Manifest = dict[str, Any]


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
