"""Reading one Parquet file of a release, within what its manifest says of it.

A file of twenty kilobytes can say that it holds gigabytes. It is read batch by batch, and no further than the
manifest states: not more rows, and not more bytes once they are decoded. Where the file comes from and
whether its bytes are the right ones was settled before (:mod:`loopline.datasets.releases`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from loopline.datasets.content import SplitHash, need

_MOST_BATCH_ROWS = 65_536
_BATCH_BYTES = 64 * 1024 * 1024
# Offsets and validity take a little more or less room, depending on how rows are cut into batches.
_SLACK = 1024 * 1024
# Whatever else a file may be written with can name much in few bytes.
_ENCODINGS = frozenset(
    {"PLAIN", "RLE", "BIT_PACKED", "RLE_DICTIONARY", "PLAIN_DICTIONARY", "DELTA_LENGTH_BYTE_ARRAY"}
)
_DICTIONARY = frozenset({"RLE_DICTIONARY", "PLAIN_DICTIONARY"})


class NotAsStated(Exception):
    """The file is not what its manifest says; the message says in what."""


class Stated(NamedTuple):
    """What a manifest says of a file: its rows, and its bytes when decoded (None where it does not say)."""

    rows: int
    decoded: int | None


def read_table(path: Path, stated: Stated) -> tuple[Any, str]:
    """The rows of a file as a pyarrow Table, and their hash. Raises NotAsStated."""
    pa, parquet = need("pyarrow"), need("pyarrow.parquet")
    try:
        with parquet.ParquetFile(path, memory_map=True) as file:
            named = _looked_at(file, stated)
        running, batches = SplitHash(), []
        with parquet.ParquetFile(path, memory_map=True, read_dictionary=named) as file:
            plain = pa.schema([_plain_field(field) for field in file.schema_arrow])
            for batch in _batches(file, stated, plain):
                running.update(batch)
                batches.append(batch)
        return pa.Table.from_batches(batches, plain), running.digest()
    except (pa.ArrowException, TypeError, OSError) as error:
        raise NotAsStated(f"it cannot be read: {error}") from error


def _looked_at(file: Any, stated: Stated) -> list[str]:
    """What can be seen before anything is decoded; gives the columns that are written by dictionary."""
    metadata = file.metadata
    if metadata.num_rows != stated.rows:
        raise NotAsStated(f"it has {metadata.num_rows:,} rows, not {stated.rows:,}")
    named: set[str] = set()
    size = 0
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            size += column.total_uncompressed_size
            strange = sorted(set(column.encodings) - _ENCODINGS)
            if strange:
                raise NotAsStated(f"a column is encoded as {strange[0]}, which no release is")
            if _DICTIONARY & set(column.encodings):
                named.add(column.path_in_schema)
    if stated.decoded is not None and size > stated.decoded + _SLACK:
        raise NotAsStated(f"it decodes to over {stated.decoded:,} bytes")
    pa = need("pyarrow")
    return [field.name for field in file.schema_arrow if field.name in named and field.type == pa.string()]


def _plain_field(field: Any) -> Any:
    pa = need("pyarrow")
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


def _batches(file: Any, stated: Stated, plain: Any) -> Iterator[Any]:
    """The file's batches with plain columns, each measured before it is made plain."""
    pa = need("pyarrow")
    decoded = 0
    for batch in file.iter_batches(batch_size=_batch_rows(stated)):
        decoded += sum(map(_plain_bytes, batch.columns))
        if stated.decoded is not None and decoded > stated.decoded + stated.decoded // 100 + _SLACK:
            raise NotAsStated(f"it decodes to over {stated.decoded:,} bytes")
        columns = [
            column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            for column in batch.columns
        ]
        yield pa.RecordBatch.from_arrays(columns, schema=plain)


def _batch_rows(stated: Stated) -> int:
    """So many rows that a batch of ordinary ones is no burden."""
    if not stated.decoded or not stated.rows:
        return _MOST_BATCH_ROWS
    return max(1, min(_MOST_BATCH_ROWS, _BATCH_BYTES * stated.rows // stated.decoded))


def _plain_bytes(column: Any) -> int:
    """What a column takes, or would take if each value stood for itself."""
    pa, pc = need("pyarrow"), need("pyarrow.compute")
    if not pa.types.is_dictionary(column.type):
        size: int = column.nbytes
        return size
    lengths = pc.binary_length(column.dictionary).take(column.indices)
    return 4 * len(column) + (pc.sum(lengths).as_py() or 0)
