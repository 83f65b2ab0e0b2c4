"""The names of models, versions and files of releases: what may become a folder's or an object's name."""

from __future__ import annotations

import re

from feedback.datasets.errors import BadRequest
from schemas.releases import dataset_of

MANIFEST = "manifest.json"
PAGE = "README.md"
FAILED = "failed"
FILES = (
    "train.parquet",
    "validation.parquet",
    "test.parquet",
    "audit.parquet",
    "lineage.parquet",
    MANIFEST,
    "croissant.json",
    PAGE,
    "gate.json",
)

_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,127})@([1-9][0-9]{0,8}|latest)")
_RELEASE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def is_model(name: str) -> bool:
    """Whether this is a model's name, and so may become a folder's."""
    return _MODEL.fullmatch(name) is not None


def is_version(name: str) -> bool:
    """Whether a folder of this name may be a release."""
    return _VERSION.fullmatch(name) is not None


def check_dataset(model: str, name: str | None) -> str:
    """The dataset of a model's releases of a name, or of its plain ones; BadRequest where it cannot be."""
    check_model(model)
    if name is not None and _RELEASE_NAME.fullmatch(name) is None:
        raise BadRequest(
            f"--name {name[:80]!r}: a name has letters, digits, '_' and '-', at most 64, the first one a"
            " letter or digit; no dot, for it stands behind one, as in MODEL.NAME@1"
        )
    dataset = dataset_of(model, name)
    if not is_model(dataset):
        raise BadRequest(f"{dataset} is longer than the 128 characters that a dataset's name may have")
    return dataset


def check_model(model: str) -> str:
    """The name of a model, or of a dataset, or BadRequest where it is none: it becomes a folder's name."""
    if not is_model(model) or model == PAGE:
        raise BadRequest(
            f"{model[:140]!r} is no model's name: letters, digits, '.', '_' and '-', at most 128,"
            f" the first one a letter or digit, and not {PAGE}"
        )
    return model


def parse_name(name: str) -> tuple[str, int | None]:
    """The dataset and version of `MODEL@N` or `MODEL.NAME@N`; None for `@latest`. Raises BadRequest."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise BadRequest(
            f"{name[:150]!r} is no dataset's name: write MODEL@N, as in name-matcher@3, or MODEL.NAME@N"
        )
    return match[1], None if match[2] == "latest" else int(match[2])
