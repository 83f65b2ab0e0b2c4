"""What releases of datasets are called: `MODEL@N`, and `MODEL.NAME@N` where filters chose the rows.

`MODEL` and `MODEL.NAME` are datasets: each has versions, and a latest one, of its own. A name has no dot, so
what is behind the last dot of a dataset may be a name; whether it is one, a release's event or manifest says,
for the names of models may have dots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def dataset_of(model: str, name: str | None) -> str:
    """The dataset of a model's releases, or of those of a name."""
    return model if name is None else f"{model}.{name}"


def release_of(data: Mapping[str, Any]) -> str:
    """What the release of a `dataset.released` is called, from the event's data."""
    return f"{dataset_of(data['model'], data.get('name'))}@{data['version']}"
