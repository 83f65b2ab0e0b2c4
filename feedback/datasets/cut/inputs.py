"""Inputs of released predictions, from the log: they are too large for the views.

The log is read once, in its own order, block by block, and only the blocks that are needed. The inputs found
are put in a scratch file, from which they are handed out in the order of the rows. What an input looks
like in the release is left to `columns`.
"""

from __future__ import annotations

import mmap
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from msgspec import UNSET

from schemas.catalog import CATALOG, Catalog
from schemas.normal_json import normal_json
from streams.log.block import read_block
from streams.log.port import Log

_READ_BLOCKS = 64
_NONE = -1
# Only a fraction or an exponent can make a whole number look like another.
_FRACTION = re.compile(rb"(?:^|[\[:,\s])-?[0-9]+[.eE]").search


class _Data(msgspec.Struct, gc=False):
    input: Any = UNSET


class _Item(msgspec.Struct, gc=False):
    data: _Data


_decode_items = msgspec.json.Decoder(list[_Item]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


def _text(value: Any) -> bytes:
    """A JSON value as canonical JSON text."""
    text = _encode(value)
    return text if _FRACTION(text) is None else normal_json(value).encode()


class Inputs:
    """The inputs of a sequence of rows, on disk. `all_strings` and `found` are known after `read`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._starts = np.zeros(0, dtype=np.int64)
        self._ends = np.zeros(0, dtype=np.int64)
        self._bytes: Any = b""
        self.all_strings = True
        self.found = 0

    def read(
        self,
        log: Log,
        partitions: np.ndarray[Any, Any],
        offsets: np.ndarray[Any, Any],
        places: np.ndarray[Any, Any],
        progress: Callable[[int, int], None],
        catalog: Catalog = CATALOG,
    ) -> None:
        """Find the inputs of the predictions at these places of the log, one for each row, in any order."""
        order = np.lexsort((places, offsets, partitions))
        self._starts = np.full(len(order), _NONE, dtype=np.int64)
        self._ends = np.full(len(order), _NONE, dtype=np.int64)
        wanted = _blocks(partitions[order], offsets[order])
        written = done = 0
        with self._path.open("wb") as file:
            for (partition, offset), record in _records(log, wanted):
                rows = order[slice(*wanted[partition, offset])]
                inputs = _inputs(record, catalog)
                done += len(rows)
                progress(done, len(order))
                if inputs.count(UNSET) == len(inputs):
                    continue
                for row, place in zip(rows.tolist(), places[rows].tolist(), strict=True):
                    value = inputs[place]
                    if value is UNSET:
                        continue
                    text = _text(value)
                    if self.all_strings and type(value) is not str:
                        self.all_strings = False
                    file.write(text)
                    self._starts[row] = written
                    written += len(text)
                    self._ends[row] = written
                    self.found += 1
        if written:
            with self._path.open("rb") as file:
                self._bytes = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    @property
    def rows(self) -> int:
        """How many rows were asked for."""
        return len(self._starts)

    def texts(self, start: int, end: int) -> list[bytes | None]:
        """The JSON texts of the inputs of rows from `start` up to `end`; None where there is none."""
        content = self._bytes
        return [
            None if first < 0 else content[first:last]
            for first, last in zip(
                self._starts[start:end].tolist(), self._ends[start:end].tolist(), strict=True
            )
        ]

    def close(self) -> None:
        """Let go of the scratch file."""
        if self._bytes:
            self._bytes.close()


_Blocks = dict[tuple[int, int], tuple[int, int]]


def _blocks(partitions: np.ndarray[Any, Any], offsets: np.ndarray[Any, Any]) -> _Blocks:
    """For each block, in the log's order, the range of the sorted rows that lie in it."""
    if not len(offsets):
        return {}
    changes = (np.diff(partitions) != 0) | (np.diff(offsets) != 0)
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))
    ends = np.concatenate((starts[1:], [len(offsets)]))
    keys = zip(partitions[starts].tolist(), offsets[starts].tolist(), strict=True)
    return dict(zip(keys, zip(starts.tolist(), ends.tolist(), strict=True), strict=True))


def _records(log: Log, wanted: _Blocks) -> Iterator[tuple[tuple[int, int], bytes]]:
    """The records of the wanted blocks; neighbours are read together."""
    keys = list(wanted)
    at = 0
    while at < len(keys):
        partition, first = keys[at]
        end = at + 1
        while end < len(keys) and keys[end][0] == partition and keys[end][1] - first < _READ_BLOCKS:
            end += 1
        records = log.read(partition, first, keys[end - 1][1] - first + 1)
        for key in keys[at:end]:
            yield key, records[key[1] - first]
        at = end


def _inputs(record: bytes, catalog: Catalog) -> list[Any]:
    """For each item of a block, its input, or UNSET."""
    header, body = read_block(record)
    if catalog.types.issuperset(header.types):
        return [item.data.input for item in _decode_items(body)]
    return [getattr(event.data, "input", UNSET) for event in catalog.read(body, header.types)]
