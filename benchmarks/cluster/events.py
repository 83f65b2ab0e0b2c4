"""The same events as records for each of those who read them: one a record, or blocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from benchmarks.workload import BATCH, START_NS, TYPES, Workload
from schemas.identity import partition_of, prediction_key
from streams.log.block import write_block

Record = tuple[int, bytes | None, bytes]
"""Partition, key, value."""


class _Data(msgspec.Struct):
    prediction_id: str


class _Event(msgspec.Struct):
    data: _Data


_decode = msgspec.json.Decoder(_Event).decode


def about(item: bytes) -> str:
    """The id of the prediction that an event is about."""
    return _decode(item).data.prediction_id


def singles(items: Sequence[bytes]) -> list[Record]:
    """One JSON event a record, with the prediction's id as the key, as the peers read them."""
    return [(0, about(item).encode(), item) for item in items]


def declarations() -> list[Record]:
    """What all models may answer, so that no label waits: one block."""
    return [(0, None, record) for _, record in Workload().declared()]


def blocks(items: Sequence[bytes], size: int = BATCH, partitions: int = 1) -> Iterator[Record]:
    """Blocks of so many events; an event's partition is that of its prediction, as a collector finds it."""
    filling: list[list[bytes]] = [[] for _ in range(partitions)]
    for item in items:
        partition = partition_of(prediction_key(about(item)), partitions) if partitions > 1 else 0
        filling[partition].append(item)
        if len(filling[partition]) == size:
            yield partition, None, _block(filling[partition])
            filling[partition] = []
    for partition, rest in enumerate(filling):
        if rest:
            yield partition, None, _block(rest)


def _block(items: list[bytes]) -> bytes:
    # Received a moment after the last of the workload's instants.
    return write_block(TYPES, [(START_NS + 86_400 * 10**9, len(items))], items)
