"""Lineage, asked both ways: from a feedback event to its releases, and from a model to the events behind it.

A release's `lineage.parquet` is sorted by a checksum of the event's id, so one small part of it is read per
release. How it is written is in `lineage_file`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import msgspec

from feedback.datasets.catalogue import parse_name, show, versions
from streams.store.port import Snapshot
from streams.store.tables import MODEL_EVENTS

_DATA = MODEL_EVENTS.columns.index("data")


class Behind(NamedTuple):
    """An event behind a row of a release, and what it did: `prediction`, `for` or `against` the label."""

    prediction_id: str
    source: str
    id: str
    role: str


def versions_with(folder: Path, model: str, source: str, event_id: str) -> list[int]:
    """The versions of a model's dataset that rest on this event, rising."""
    return [
        version
        for version in versions(folder, model)
        if _holds(folder / model / str(version) / "lineage.parquet", source, event_id)
    ]


def events_behind(folder: Path, name: str) -> Iterator[Behind]:
    """Every event behind a release, given as `MODEL@N`. Raises BadRequest and ReleaseMissing."""
    import pyarrow.parquet as pq

    said = show(folder, name)
    path = folder / said["model"] / str(said["version"]) / "lineage.parquet"
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(columns=["prediction_id", "source", "id", "role"]):
            columns = [batch.column(name).to_pylist() for name in Behind._fields]
            yield from map(Behind, *columns)


def trained_on(snapshot: Snapshot, model: str, model_version: str) -> list[str]:
    """The releases, as `MODEL@N`, that the deployments of a model version name."""
    names: dict[str, None] = {}
    for row in snapshot.scan(MODEL_EVENTS, {"model": model, "kind": "model.deployed"}):
        data = msgspec.json.decode(row[_DATA])
        if data["model_version"] == model_version:
            names.update(dict.fromkeys(data.get("datasets", ())))
    return sorted(names, key=lambda name: (parse_name(name)[0], parse_name(name)[1] or 0))


class _Index(NamedTuple):
    """A lineage file's metadata, and the first and last bucket of each of its row groups."""

    metadata: Any
    bounds: list[tuple[int, int]]


@lru_cache(maxsize=256)
def _index(path: Path, written: int) -> _Index:
    """The index of a lineage file. `written` is when, in case another release takes the path."""
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    column = metadata.schema.names.index("bucket")
    groups = (metadata.row_group(group).column(column).statistics for group in range(metadata.num_row_groups))
    return _Index(metadata, [(group.min, group.max) for group in groups])


def _holds(path: Path, source: str, event_id: str) -> bool:
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    bucket = crc32(event_id.encode())
    try:
        metadata, bounds = _index(path, path.stat().st_mtime_ns)
    except FileNotFoundError:
        # A release that somebody has taken apart must not hide what the others know.
        return False
    groups = [group for group, (low, high) in enumerate(bounds) if low <= bucket <= high]
    if not groups:
        return False
    with pq.ParquetFile(path, metadata=metadata) as file:
        table = file.read_row_groups(groups, columns=["id", "source"])
    same = pc.and_(pc.equal(table["id"], event_id), pc.equal(table["source"], source))
    return bool(pc.any(same, min_count=0).as_py())
