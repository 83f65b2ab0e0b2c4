"""The cut: labelled rows, their inputs, the splits' files and the lineage, from one snapshot and the log.

Three passes, each a stream: the store is read once, the log is read once, the files are written once. Between
them rows lie in scratch files. Nothing here knows of versions, parents or publishing.
"""

from __future__ import annotations

import contextlib
import gc
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feedback.datasets.gate import JUDGED_COLUMNS
from feedback.datasets.inputs import Inputs
from feedback.datasets.lineage_file import LineageStage
from feedback.datasets.recipe import SPLITS, Filters, Splitter
from feedback.datasets.rows import STAGED, Census, Progress, RowReader, audited_references
from feedback.datasets.scratch import BatchFile
from feedback.datasets.write import encodings, write_splits
from loopline.content import combined_hash
from streams.log.port import Log
from streams.store.port import Snapshot


@dataclass(frozen=True)
class Cut:
    """What was written, and how much of it."""

    census: Census
    encoding: dict[str, str]
    split_hashes: dict[str, str]
    lineage_rows: int
    inputs_found: int

    @property
    def content_hash(self) -> str:
        """The hash of the rows of all splits."""
        return combined_hash(self.split_hashes)

    def read_back(self, folder: Path) -> dict[str, Any]:
        """The judged columns of each split, from its file."""
        return {
            split: pq.read_table(folder / f"{split}.parquet", columns=list(JUDGED_COLUMNS))
            for split in SPLITS
        }

    def schemas(self, folder: Path) -> dict[str, Any]:
        """The schema of each split's file."""
        return {split: pq.read_schema(folder / f"{split}.parquet") for split in SPLITS}

    def together(self, rows: Mapping[str, Any]) -> Any:
        """The rows of all splits in one table, with the split as a column."""
        return pa.concat_tables(
            table.append_column("split", pa.array([split] * table.num_rows, pa.string()))
            for split, table in rows.items()
        )

    def label_counts(self, rows: Mapping[str, Any]) -> dict[str, dict[str, int]]:
        """How many rows each label has, by label and split."""
        counted: defaultdict[str, dict[str, int]] = defaultdict(dict)
        for split, table in rows.items():
            for each in table["label"].value_counts().to_pylist():
                counted[each["values"]][split] = each["counts"]
        return counted


@contextlib.contextmanager
def without_cycle_collection() -> Iterator[None]:
    """No search for reference cycles: there are none in rows, and looking costs a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def cut(
    log: Log,
    snapshot: Snapshot,
    model: str,
    filters: Filters,
    folder: Path,
    aside: Path,
    progress: Progress,
) -> Cut:
    """Write the splits and the lineage of a model into `folder`; `aside` is for scratch files."""
    with without_cycle_collection():
        splitter = Splitter(model, audited_references(snapshot, model, filters.env))
        rows, lineage = BatchFile(aside / "rows.arrow", STAGED), LineageStage(aside / "lineage.arrow")
        census = RowReader(model, filters, splitter, rows, lineage)(snapshot, progress)
        rows.finish()
        lineage_rows = lineage.write(folder / "lineage.parquet")
        inputs = Inputs(aside / "inputs")
        try:
            places = [_column(rows, name) for name in ("partition", "offset", "place")]
            inputs.read(log, places[0], places[1], places[2], _named(progress, "reading inputs"))
            encoding = encodings(rows, inputs)
            hashes = write_splits(rows, inputs, folder, encoding, _named(progress, "writing rows"))
        finally:
            inputs.close()
            rows.close()
    return Cut(census, encoding, hashes, lineage_rows, inputs.found)


def _column(rows: BatchFile, name: str) -> np.ndarray[Any, Any]:
    parts = [batch.column(name).to_numpy() for batch in rows]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _named(progress: Progress, step: str) -> Any:
    return lambda done, total: progress(step, done, total)
