"""The content hash of a dataset release: the same rows give the same hash, on any machine and in any file.

Rows are hashed by column, as values: how they lie in files, in row groups or in memory does not matter, only
their order, their columns and what they say. A release is hashed while it streams by (:class:`SplitHash`) and
checked when it is loaded (:func:`content_hash`). What the columns mean is left to the manifest.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from typing import Any

from msgspec import json

from loopline.errors import DependencyMissing

CONTENT_SPLITS = ("train", "validation", "test", "audit")
"""The splits that the content hash is taken over, in this order; lineage has only its file's SHA-256."""


def need(module: str) -> Any:
    """A module that only datasets need. Raises :class:`~loopline.errors.DependencyMissing`."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise DependencyMissing(
            f"datasets need {library}, which is not installed: pip install 'loopline[datasets]', or with"
            " Loopline's sources pip install './clients/python[datasets]'"
        ) from error


def _parts(column: Any) -> tuple[str, list[memoryview]]:
    """The kind of an Arrow array, and its values as bytes: which are there, and what they are."""
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    there = memoryview(pc.cast(pc.is_valid(column), pa.uint8()).buffers()[1])[: len(column)]
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        column = pc.fill_null(pc.cast(column, pa.large_string()), "")
        lengths = pc.binary_length(column)
        _, offsets, data = column.buffers()
        at = memoryview(offsets).cast("q")
        start, end = at[column.offset], at[column.offset + len(column)]
        return "text", [there, _values(lengths), memoryview(data or b"")[start:end]]
    if pa.types.is_integer(kind):
        return "integer", [there, _values(pc.fill_null(pc.cast(column, pa.int64()), 0))]
    if pa.types.is_floating(kind):
        return "number", [there, _values(pc.fill_null(pc.cast(column, pa.float64()), 0.0))]
    if pa.types.is_timestamp(kind):
        instants = pc.cast(pc.cast(column, pa.timestamp("ns", tz="UTC")), pa.int64())
        return "instant", [there, _values(pc.fill_null(instants, 0))]
    raise TypeError(f"a release has no columns of type {kind}")


def _values(column: Any) -> memoryview:
    """The buffer of a column of 8-byte values without nulls, cut to the column's part of it."""
    start = 8 * column.offset
    return memoryview(column.buffers()[1])[start : start + 8 * len(column)].cast("B")


class SplitHash:
    """The hash of one split's rows, fed in order, in pieces of any size.

    ``rows`` counts them. A split without rows has a hash of its own, whatever its columns.
    """

    def __init__(self) -> None:
        self.rows = 0
        self._columns: dict[str, tuple[str, list[Any]]] = {}

    def update(self, rows: Any) -> None:
        """Add the rows of a pyarrow RecordBatch or Table."""
        batches = rows.to_batches() if hasattr(rows, "to_batches") else [rows]
        for batch in batches:
            if not batch.num_rows:
                continue
            if self._columns and list(self._columns) != batch.schema.names:
                raise TypeError(f"columns {batch.schema.names} after {list(self._columns)}")
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                kind, parts = _parts(column)
                known, hashes = self._columns.setdefault(name, (kind, [hashlib.sha256() for _ in parts]))
                if known != kind:
                    raise TypeError(f"column {name} is {kind} here and {known} before")
                for running, part in zip(hashes, parts, strict=True):
                    running.update(part)
            self.rows += batch.num_rows

    def digest(self) -> str:
        """The hash of the rows so far, as ``sha256:`` and 64 hex digits."""
        columns = [
            [name, kind, *(running.hexdigest() for running in hashes)]
            for name, (kind, hashes) in self._columns.items()
        ]
        return _sha256([self.rows, columns])


def split_hash(table: Any) -> str:
    """The hash of one split's rows, given as a pyarrow Table."""
    running = SplitHash()
    running.update(table)
    return running.digest()


def combined_hash(splits: Mapping[str, str]) -> str:
    """The content hash of a release, from the hashes of its splits by name."""
    return _sha256([[name, splits[name]] for name in CONTENT_SPLITS])


def content_hash(tables: Mapping[str, Any]) -> str:
    """The content hash of a release, given the pyarrow Tables of all its splits by name."""
    return combined_hash({name: split_hash(tables[name]) for name in CONTENT_SPLITS})


def _sha256(content: object) -> str:
    return "sha256:" + hashlib.sha256(json.encode(content)).hexdigest()
