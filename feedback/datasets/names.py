"""The names of models, versions and files of releases: what may become a folder's or an object's name."""

from __future__ import annotations

import re

from feedback.datasets.errors import BadRequest

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
