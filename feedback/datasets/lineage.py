"""Lineage, asked both ways: from a feedback event to its releases, and from a model to the events behind it.

A release's `lineage.parquet` is sorted by a checksum of the event's id, so one small part of it is read per
release. How it is written is in `lineage_file`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from feedback.datasets.catalogue import dataset_in, datasets_of, show, versions
from feedback.datasets.names import parse_name
from feedback.datasets.shelf.port import Shelf
from schemas import kinds
from streams.store.port import Snapshot
from streams.store.tables import MODEL_EVENTS

FILE = "lineage.parquet"

_data = MODEL_EVENTS.column("data")


class Behind(NamedTuple):
    """An event behind a row of a release, and what it did: `prediction`, `for` or `against` the label."""

    prediction_id: str
    source: str
    id: str
    role: str


def releases_with(shelf: Shelf, model: str, source: str, event_id: str) -> list[str]:
    """The releases of a model, as `MODEL@N`, that rest on this event: the plain ones first, each rising."""
    return [
        f"{dataset}@{version}"
        for dataset in datasets_of(shelf, model)
        for version in versions(shelf, dataset)
        if _holds(shelf, dataset, version, source, event_id)
    ]


def events_behind(shelf: Shelf, name: str) -> Iterator[Behind]:
    """Every event behind a release, given as `MODEL@N`. Raises BadRequest and ReleaseMissing."""
    import pyarrow.parquet as pq

    said = show(shelf, name)
    with shelf.opened(dataset_in(said), said["version"], FILE) as opened, pq.ParquetFile(opened) as file:
        for batch in file.iter_batches(columns=["prediction_id", "source", "id", "role"]):
            columns = [batch.column(name).to_pylist() for name in Behind._fields]
            yield from map(Behind, *columns)


def trained_on(snapshot: Snapshot, model: str, model_version: str) -> list[str]:
    """The releases, as `MODEL@N`, that the deployments of a model version name."""
    names: dict[str, None] = {}
    for row in snapshot.scan(MODEL_EVENTS, {"model": model, "kind": kinds.MODEL_DEPLOYED.name}):
        data = msgspec.json.decode(_data(row))
        if data["model_version"] == model_version:
            names.update(dict.fromkeys(data.get("datasets", ())))
    return sorted(names, key=lambda name: (parse_name(name)[0], parse_name(name)[1] or 0))


class _Index(NamedTuple):
    """A lineage file's metadata, and the first and last bucket of each of its row groups."""

    metadata: Any
    bounds: list[tuple[int, int]]


@lru_cache(maxsize=256)
def _index(shelf: Shelf, model: str, version: int, stamp: int) -> _Index:
    """The index of a lineage file. `stamp` is another one when another release has taken the place."""
    import pyarrow.parquet as pq

    with shelf.opened(model, version, FILE) as file:
        metadata = pq.read_metadata(file)
    column = metadata.schema.names.index("bucket")
    groups = (metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups))
    return _Index(metadata, [(group.min, group.max) for group in groups])


def _holds(shelf: Shelf, model: str, version: int, source: str, event_id: str) -> bool:
    try:
        return _looked_up(shelf, model, version, shelf.stamp(model, version, FILE), source, event_id)
    except FileNotFoundError:
        # A release that somebody has taken apart must not hide what the others know.
        return False


@lru_cache(maxsize=16_384)
def _looked_up(shelf: Shelf, model: str, version: int, stamp: int, source: str, event_id: str) -> bool:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    bucket = crc32(event_id.encode())
    metadata, bounds = _index(shelf, model, version, stamp)
    groups = [group for group, (low, high) in enumerate(bounds) if low <= bucket <= high]
    if not groups:
        return False
    with shelf.opened(model, version, FILE) as opened, pq.ParquetFile(opened, metadata=metadata) as file:
        table = file.read_row_groups(groups, columns=["id", "source"])
    same = pc.and_(pc.equal(table["id"], event_id), pc.equal(table["source"], source))
    return bool(pc.any(same, min_count=0).as_py())
