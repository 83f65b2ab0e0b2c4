"""The cut: labelled rows, their inputs, the splits' files and the lineage, from one snapshot and the log.

Three passes, each a stream: the store is read once, the log is read once, the files are written once. Between
them rows lie in scratch files. Nothing here knows of versions, parents or publishing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feedback.datasets.cut.files import Written, encodings, write_splits
from feedback.datasets.cut.inputs import Inputs
from feedback.datasets.cut.lineage_file import LineageStage
from feedback.datasets.cut.recipe import SPLITS, Filters, Splitter
from feedback.datasets.cut.refused_labels import RefusedLabels, refused_labels
from feedback.datasets.cut.rows import STAGED, Census, Progress, RowReader, audited_references
from feedback.datasets.cut.scratch import BatchFile
from loopline.datasets.content import combined_hash
from schemas import kinds
from streams.fold.declarations import serving
from streams.gc_pause import without_cycle_collection
from streams.log.port import Log
from streams.store.port import Snapshot
from streams.store.tables import COUNTS


@dataclass(frozen=True)
class Cut:
    """What was written, and how much of it.

    `shapes` are the declared output shapes of the model versions in it, as JSON; None where there is none.
    """

    census: Census
    shapes: dict[str, str | None]
    encoding: dict[str, str]
    splits: dict[str, Written]
    lineage_rows: int
    inputs_found: int
    refused: RefusedLabels

    @property
    def content_hash(self) -> str:
        """The hash of the rows of all splits."""
        return combined_hash({split: written.hash for split, written in self.splits.items()})

    def schemas(self, folder: Path) -> dict[str, Any]:
        """The schema of each split's file."""
        return {split: pq.read_schema(folder / f"{split}.parquet") for split in SPLITS}

    def rows(self, folder: Path, columns: Sequence[str], splits: Collection[str] = SPLITS) -> Any:
        """Some columns of what was written, read back, with the split as one more column."""
        tables = []
        for split in splits:
            table = pq.read_table(folder / f"{split}.parquet", columns=list(columns))
            tables.append(table.append_column("split", pa.repeat(split, table.num_rows)))
        return pa.concat_tables(tables)


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
    # Looking for cycles among rows would cost a quarter of the time.
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
            shapes = declared_shapes(snapshot, model, census.model_versions)
            refused = refused_labels(snapshot, model, filters, declared_versions(snapshot, model))
            encoding = encodings(rows, inputs, shapes.values())
            splits = write_splits(rows, inputs, folder, encoding, _named(progress, "writing rows"))
        finally:
            inputs.close()
            rows.close()
    return Cut(census, shapes, encoding, splits, lineage_rows, inputs.found, refused)


def declared_shapes(snapshot: Snapshot, model: str, versions: Iterable[str]) -> dict[str, str | None]:
    """The output shape that each of these versions of a model declared, as JSON."""
    keys = [(model, version) for version in sorted(versions)]
    declared = {version: each.shape for (_, version), each in serving(snapshot, keys).items()}
    return {version: declared.get(version) for _, version in keys}


def declared_versions(snapshot: Snapshot, model: str) -> set[str]:
    """The versions of a model that made predictions and that a declaration serves."""
    made = snapshot.totals(COUNTS, ["model_version"], {"model": model, "kind": kinds.PREDICTION_MADE.name})
    return {version for _, version in serving(snapshot, [(model, version) for version, _, _ in made])}


def _column(rows: BatchFile, name: str) -> np.ndarray[Any, Any]:
    parts = [batch.column(name).to_numpy() for batch in rows]
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)


def _named(progress: Progress, step: str) -> Any:
    return lambda done, total: progress(step, done, total)
