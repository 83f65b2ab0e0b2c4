"""What has been released: the names on a shelf, read without anything heavy.

A dataset is what has versions: a model's releases, or those of one name (`schemas.releases`). It is the name
of a folder, so a model `zip.web` and the releases `web` of a model `zip` cannot both be there: each release
says whose it is.

A release is there when it has a manifest: releases appear whole. Where they lie is left to `shelf`, cutting
one to `release`, comparing two to `diff`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from feedback.datasets.errors import ReleaseMissing
from feedback.datasets.names import MANIFEST, check_model, parse_name
from feedback.datasets.shelf.port import Shelf

Manifest = dict[str, Any]


def datasets(shelf: Shelf) -> list[str]:
    """The datasets with a release, in order of their names."""
    return [dataset for dataset in shelf.models() if shelf.versions(dataset)]


def datasets_of(shelf: Shelf, model: str) -> list[str]:
    """The datasets of a model's releases: the plain ones, and those of each name."""
    start = f"{check_model(model)}."
    found = [each for each in shelf.models() if each == model or each.startswith(start)]
    return [each for each in found if (whose := owner(shelf, each)) is not None and whose[0] == model]


def owner(shelf: Shelf, dataset: str) -> tuple[str, str | None] | None:
    """The model whose releases these are, and their name; None where there is no release."""
    there = versions(shelf, dataset)
    if not there:
        return None
    said = manifest(shelf, dataset, there[-1])
    return said.get("model", dataset), said.get("release_name")


def dataset_in(said: Mapping[str, Any]) -> str:
    """The dataset that a manifest's release is a version of."""
    dataset: str = said["name"].rpartition("@")[0]
    return dataset


def versions(shelf: Shelf, dataset: str) -> list[int]:
    """The versions of a dataset, rising."""
    return shelf.versions(check_model(dataset))


def manifest(shelf: Shelf, dataset: str, version: int) -> Manifest:
    """What a release says about itself. Raises ReleaseMissing."""
    try:
        body = shelf.read(check_model(dataset), version, MANIFEST)
    except (FileNotFoundError, NotADirectoryError):
        there = [f"{dataset}@{each}" for each in shelf.versions(dataset)]
        raise ReleaseMissing(f"{dataset}@{version}", there) from None
    content: Manifest = msgspec.json.decode(body)
    return content


def show(shelf: Shelf, name: str) -> Manifest:
    """The manifest of `MODEL@N` or `MODEL@latest`. Raises BadRequest and ReleaseMissing."""
    dataset, version = parse_name(name)
    if version is None:
        there = versions(shelf, dataset)
        if not there:
            raise ReleaseMissing(name, [])
        version = there[-1]
    return manifest(shelf, dataset, version)


def list_releases(shelf: Shelf, model: str | None = None) -> list[dict[str, Any]]:
    """One item a release, by dataset and version: of a model, or of a dataset as in `MODEL.NAME`, or all."""
    if model is None:
        chosen = datasets(shelf)
    else:
        chosen = sorted({*datasets_of(shelf, model), check_model(model)})
    return [
        summary(manifest(shelf, dataset, version))
        for dataset in chosen
        for version in versions(shelf, dataset)
    ]


def summary(content: Mapping[str, Any]) -> dict[str, Any]:
    """A release in a few fields, from its manifest."""
    return (
        {"dataset": dataset_in(content), "release_name": content.get("release_name")}
        | {
            name: content[name]
            for name in (
                "name",
                "model",
                "version",
                "content_hash",
                "as_of",
                "released_at",
                "rows",
                "parents",
            )
        }
        | {"splits": {split: said["rows"] for split, said in content["splits"].items()}}
    )
