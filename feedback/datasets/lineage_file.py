"""The lineage of a release as a file: a row for each event behind each row, to be searched by event.

Rows are sorted by `bucket`, a CRC-32 of the event's id, in small row groups with statistics: whoever
looks for one event reads one row group, whatever the ids look like. Looking is in `lineage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, repeat
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feedback.datasets.scratch import BatchFile, Gathered

Role = Literal["prediction", "for", "against"]
"""The prediction itself, a vote for the label that was released, or a vote for another one."""

PREDICTION, FOR, AGAINST = "prediction", "for", "against"
LINEAGE = pa.schema(
    [
        pa.field("prediction_id", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("bucket", pa.uint32(), nullable=False),
    ]
)
ROWS_A_GROUP = 16_384

# Rows are sorted part by part, each of them in memory: a sixteenth of the buckets.
_PARTS = 16
_PART_BOUNDS = np.arange(_PARTS + 1, dtype=np.uint64) << np.uint64(28)


class _Event(msgspec.Struct, gc=False):
    id: str
    source: str


class _Candidate(msgspec.Struct, gc=False):
    label: str
    events: list[_Event]


_decode = msgspec.json.Decoder(list[list[_Candidate]]).decode


def bucket(event_id: str) -> int:
    """Where an event's rows are in the order of the file."""
    return crc32(event_id.encode())


class LineageStage:
    """Collects lineage in a scratch file, then writes it sorted."""

    def __init__(self, path: Path) -> None:
        self._file = BatchFile(path, LINEAGE)
        self._gathered = Gathered()
        self._parts: list[list[int]] = [[] for _ in range(_PARTS)]

    def add(
        self,
        prediction_ids: Any,
        ids: Sequence[str],
        sources: Sequence[str],
        labels: Sequence[str],
        candidates: Sequence[str],
    ) -> None:
        """Add a chunk of rows: their prediction events, and the votes in their candidates' JSON."""
        decoded = _decode("[" + ",".join(candidates) + "]")
        votes = [
            (row, event.id, event.source, FOR if candidate.label == label else AGAINST)
            for row, (label, given) in enumerate(zip(labels, decoded, strict=True))
            for candidate in given
            for event in candidate.events
        ]
        vote_rows, vote_ids, vote_sources, vote_roles = zip(*votes, strict=True) if votes else ((),) * 4
        rows = (*range(len(ids)), *vote_rows)
        event_ids, event_sources = (*ids, *vote_ids), (*sources, *vote_sources)
        roles = (*repeat(PREDICTION, len(ids)), *vote_roles)
        buckets = np.fromiter(map(bucket, event_ids), dtype=np.uint32, count=len(event_ids))
        batch = pa.record_batch(
            [
                prediction_ids.take(pa.array(rows, pa.int32())),
                pa.array(event_ids, pa.string()),
                pa.array(event_sources, pa.string()),
                pa.array(roles, pa.string()),
                pa.array(buckets),
            ],
            schema=LINEAGE,
        )
        self._put(self._gathered.add(batch))

    def _put(self, batch: Any) -> None:
        if batch is None:
            return
        buckets = batch.column("bucket").to_numpy()
        order = np.argsort(buckets, kind="stable")
        batch = batch.take(pa.array(order))
        bounds = np.searchsorted(buckets[order], _PART_BOUNDS)
        for part, (start, end) in enumerate(pairwise(bounds)):
            if end > start:
                self._parts[part].append(self._file.write(batch.slice(start, end - start)))

    def write(self, path: Path) -> int:
        """Write the file, sorted; gives its number of rows."""
        self._put(self._gathered.rest())
        self._file.finish()
        total = 0
        with pq.ParquetWriter(path, LINEAGE, compression="zstd") as writer:
            for numbers in self._parts:
                if numbers:
                    table = pa.Table.from_batches([self._file.read(number) for number in numbers])
                    order = np.argsort(table["bucket"].to_numpy(), kind="stable")
                    writer.write_table(table.take(pa.array(order)), row_group_size=ROWS_A_GROUP)
                    total += table.num_rows
        self._file.close()
        return total


def events_of(table: Any) -> list[tuple[str, str]]:
    """The (source, id) of the rows of a lineage table."""
    return list(zip(table["source"].to_pylist(), table["id"].to_pylist(), strict=True))


__all__ = ["LINEAGE", "LineageStage", "Role", "bucket", "events_of"]
