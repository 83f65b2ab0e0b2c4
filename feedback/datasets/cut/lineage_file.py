"""The lineage of a release as a file: a row for each event behind each row, to be searched by event.

Rows are sorted by `bucket`, a CRC-32 of the event's id, in small row groups with statistics: whoever
looks for one event reads one row group, whatever the ids look like. Looking is in `lineage`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal
from zlib import crc32

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feedback.datasets.cut.scratch import BatchFile, Gathered

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
_PART_SHIFT = np.uint32(28)
# Ids hardly repeat within a row group, and only buckets are searched for.
_SETTINGS: dict[str, Any] = {
    "compression": "zstd",
    "version": "2.6",
    "use_dictionary": ["source", "role"],
    "write_statistics": ["bucket"],
    "column_encoding": {"id": "DELTA_LENGTH_BYTE_ARRAY", "prediction_id": "DELTA_LENGTH_BYTE_ARRAY"},
}


class _Event(msgspec.Struct, gc=False):
    id: str
    source: str


class _Voted(msgspec.Struct, gc=False):
    """A candidate, as far as it is looked at where it has no rival."""

    events: list[_Event]


class _Candidate(_Voted, gc=False):
    label: str


_decode_voted = msgspec.json.Decoder(list[list[_Voted]]).decode
_decode_rivals = msgspec.json.Decoder(list[_Candidate]).decode


def _order(buckets: np.ndarray[Any, Any]) -> Any:
    """The order that sorts buckets, equal ones as they came. Sorting words is quicker than arguments."""
    keyed = buckets.astype(np.uint64) << np.uint64(32) | np.arange(len(buckets), dtype=np.uint64)
    keyed.sort()
    return pa.array(keyed.astype(np.uint32))


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
        self._take(prediction_ids, ids, sources, pa.repeat(PREDICTION, len(ids)))
        given = _decode_voted("[" + ",".join(candidates) + "]")
        votes = [
            (row, event.id, event.source)
            for row, voted in enumerate(given)
            for candidate in voted
            for event in candidate.events
        ]
        rows, vote_ids, vote_sources = zip(*votes, strict=True) if votes else ((), (), ())
        self._take(
            prediction_ids.take(pa.array(rows, pa.int32())),
            vote_ids,
            vote_sources,
            self._roles(given, labels, candidates, len(votes)),
        )

    def _roles(
        self, given: Sequence[list[_Voted]], labels: Sequence[str], candidates: Sequence[str], votes: int
    ) -> Any:
        """The roles of a chunk's votes, in order. Most labels have no rival, and all votes are for them."""
        if max(map(len, given), default=0) <= 1:
            return pa.repeat(FOR, votes)
        roles: list[str] = []
        for voted, label, text in zip(given, labels, candidates, strict=True):
            if len(voted) == 1:
                roles += [FOR] * len(voted[0].events)
                continue
            for candidate in _decode_rivals(text):
                roles += [FOR if candidate.label == label else AGAINST] * len(candidate.events)
        return pa.array(roles, pa.string())

    def _take(self, prediction_ids: Any, ids: Sequence[str], sources: Sequence[str], roles: Any) -> None:
        buckets = pa.array([crc32(text) for text in map(str.encode, ids)], pa.uint32())
        columns = [prediction_ids, pa.array(ids, pa.string()), pa.array(sources, pa.string()), roles, buckets]
        self._put(self._gathered.add(pa.RecordBatch.from_arrays(columns, schema=LINEAGE)))

    def _put(self, batch: Any) -> None:
        """Write a batch into the parts that its rows belong to."""
        if batch is None:
            return
        parts = (batch.column("bucket").to_numpy() >> _PART_SHIFT).astype(np.uint8)
        order = np.argsort(parts, kind="stable")
        batch = batch.take(pa.array(order))
        bounds = np.searchsorted(parts[order], range(_PARTS + 1))
        for part, (start, end) in enumerate(pairwise(bounds)):
            if end > start:
                self._parts[part].append(self._file.write(batch.slice(start, end - start)))

    def write(self, path: Path) -> int:
        """Write the file, sorted; gives its number of rows."""
        self._put(self._gathered.rest())
        self._file.finish()
        total = 0
        with pq.ParquetWriter(path, LINEAGE, **_SETTINGS) as writer:
            for numbers in self._parts:
                if numbers:
                    batch = pa.concat_batches([self._file.read(number) for number in numbers])
                    table = pa.Table.from_batches([batch.take(_order(batch.column("bucket").to_numpy()))])
                    writer.write_table(table, row_group_size=ROWS_A_GROUP)
                    total += table.num_rows
        self._file.close()
        return total
