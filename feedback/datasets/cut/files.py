"""From staged rows to the Parquet files of the splits, and the hash of what was written.

Rows keep the order in which they were staged. The files are written with fixed settings and row groups of a
fixed size; the content hash does not depend on either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feedback.datasets.cut.columns import ENCODED, JSON, SCHEMA, STRING, only_strings, plain
from feedback.datasets.cut.inputs import Inputs
from feedback.datasets.cut.recipe import SPLITS
from feedback.datasets.cut.scratch import BatchFile
from loopline.datasets.content import SplitHash
from schemas.shapes import only_texts

ROWS_A_GROUP = 65_536
# Their values hardly repeat: a dictionary would be built and thrown away.
_UNIQUE_TEXTS = frozenset({"prediction_id", "input_ref", "input"})
_UNIQUE = _UNIQUE_TEXTS | {"at"}


class Written(NamedTuple):
    """A split's hash, and how many bytes its rows take when they are read."""

    hash: str
    decoded_bytes: int


class SplitFile:
    """One split's Parquet file, its row count and its hash."""

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path,
            SCHEMA,
            compression="zstd",
            use_dictionary=[name for name in SCHEMA.names if name not in _UNIQUE],
            column_encoding=dict.fromkeys(_UNIQUE_TEXTS, "DELTA_LENGTH_BYTE_ARRAY"),
            version="2.6",
        )
        self._pending: list[Any] = []
        self._pending_rows = 0
        self.hash = SplitHash()
        self.decoded_bytes = 0

    def write(self, batch: Any) -> None:
        """Append rows."""
        self.hash.update(batch)
        self.decoded_bytes += batch.nbytes
        self._pending.append(batch)
        self._pending_rows += batch.num_rows
        if self._pending_rows >= ROWS_A_GROUP:
            whole = self._pending_rows - self._pending_rows % ROWS_A_GROUP
            table = pa.Table.from_batches(self._pending)
            self._writer.write_table(table.slice(0, whole), row_group_size=ROWS_A_GROUP)
            self._pending = table.slice(whole).to_batches()
            self._pending_rows -= whole

    def close(self) -> None:
        """Write what is left, and end the file. A split without rows is a file without rows."""
        if self._pending_rows:
            self._writer.write_table(pa.Table.from_batches(self._pending), row_group_size=ROWS_A_GROUP)
        self._writer.close()


def encodings(rows: Iterable[Any], inputs: Inputs, shapes: Iterable[str | None]) -> dict[str, str]:
    """For each column of JSON values, how its values are written: as plain strings, or as JSON texts.

    Output and label are written alike, so that they compare; as strings where the declared shapes say that
    every label is a text, whatever was voted for so far, and no output is anything else. Inputs are strings
    where there are some and all are strings: nobody knows what those will be that a product keeps to itself.
    """
    answers = all(shape is not None and only_texts(shape) for shape in shapes) and all(
        only_strings(_without_null(batch.column("output"))) and only_strings(batch.column("label"))
        for batch in rows
    )
    strings = {"input": inputs.found > 0 and inputs.all_strings, "output": answers, "label": answers}
    return {name: STRING if strings[name] else JSON for name in ENCODED}


def _without_null(texts: Any) -> Any:
    """The array with the JSON text of null as a null: a person answered first, there is no output."""
    return pc.if_else(pc.equal(texts, "null"), pa.scalar(None, pa.string()), texts)


def write_splits(
    rows: BatchFile,
    inputs: Inputs,
    folder: Path,
    encoding: dict[str, str],
    progress: Callable[[int, int], None],
) -> dict[str, Written]:
    """Write the files of all splits; gives what each is."""
    files = [SplitFile(folder / f"{name}.parquet") for name in SPLITS]
    try:
        start = 0
        for batch in rows:
            end = start + batch.num_rows
            finished = _finished(batch, inputs.texts(start, end), encoding)
            codes = batch.column("split").to_numpy()
            for code, file in enumerate(files):
                places = np.flatnonzero(codes == code)
                if len(places) == len(codes):
                    file.write(finished)
                elif len(places):
                    file.write(finished.take(pa.array(places)))
            start = end
            progress(end, inputs.rows)
    finally:
        for file in files:
            file.close()
    written = (Written(file.hash.digest(), file.decoded_bytes) for file in files)
    return dict(zip(SPLITS, written, strict=True))


def _finished(batch: Any, inputs: Sequence[bytes | None], encoding: dict[str, str]) -> Any:
    """The columns of the release for a batch of staged rows."""
    json_columns = {
        "input": pa.array(inputs, pa.binary()).cast(pa.string()),
        "output": _without_null(batch.column("output")),
        "label": batch.column("label"),
    }
    columns = []
    for name in SCHEMA.names:
        if name in json_columns:
            column = json_columns[name]
            columns.append(plain(column) if encoding[name] == STRING else column)
        else:
            columns.append(batch.column(name))
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)
