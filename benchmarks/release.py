"""A dataset release of many labels, against reading the same rows from the store and writing them.

The other side reads each label with its prediction, the columns of a release, through the store's own port
and writes them with pyarrow into one Parquet file: no splits, no hash, no lineage, no inputs looked for in
the log. The quality gate's own CPU is taken off the release; its import of Great Expectations is part of it.
"""

from __future__ import annotations

import gc
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import in_turns, ratio, spread
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import BATCH, labelled
from feedback.datasets import release as releases
from feedback.datasets.cut.columns import SCHEMA
from feedback.datasets.shelf.address import shelf_of
from schemas.identity import unpack
from streams.log.port import Batch, Part
from streams.log.sqlite import SqliteLog, create_log
from streams.log.writer import pack
from streams.projection.rebuild import rebuild
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import LABELS, PREDICTIONS
from streams.views.registry import TABLES

MODEL = "digit-reader"

_SAID = ("pid", "label", "agreement", "people", "channel")
_MADE = (
    "input_ref",
    "output",
    "confidence",
    "segment",
    "model_version",
    "ask_probability",
    "audit_probability",
    "at",
)
_ENTRY = "judge"
_READ_AT_ONCE = 50_000
_TYPES = ("loopline.model.declared.v1", "loopline.prediction.made.v1", "loopline.feedback.correction.v1")


def prepare(folder: Path, labels: int) -> tuple[SqliteLog, SqliteStore]:
    """A log with so many labelled predictions, and its views."""
    identity = create_log(folder / "log.sqlite", 1)
    log = SqliteLog(folder / "log.sqlite", writable=True)
    items = labelled(MODEL, labels)
    while piece := list(islice(items, 20 * BATCH)):
        batches = [piece[start : start + BATCH] for start in range(0, len(piece), BATCH)]
        log.append([record for batch in batches for record in pack([Batch(0, [Part(0, _TYPES, batch)])])])
    create_store(folder / "views.sqlite", identity, TABLES)
    store = SqliteStore(folder / "views.sqlite", writable=True)
    rebuild(log, store)
    return log, store


def plainly(store: SqliteStore, path: Path) -> int:
    """Read the rows and write them; gives how many there were."""
    written = 0
    with store.snapshot() as snapshot, pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        rows = snapshot.pairs(LABELS, _SAID, PREDICTIONS, _MADE, {"model": MODEL, "env": "prod"})
        while chunk := list(islice(rows, _READ_AT_ONCE)):
            columns: dict[str, Any] = dict(zip((*_SAID, *_MADE), zip(*chunk, strict=True), strict=True))
            columns["prediction_id"] = [unpack(pid[1:]) for pid in columns.pop("pid")]
            columns["input"] = [None] * len(chunk)
            arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
            writer.write_batch(pa.record_batch(arrays, schema=SCHEMA))
            written += len(chunk)
    return written


class _Gate:
    """Stands in for the gate's entry, calls it, and keeps the CPU that it took."""

    def __init__(self) -> None:
        self.judge = getattr(releases, _ENTRY)
        self.spent = 0.0

    def __call__(self, *args: Any, **options: Any) -> Any:
        started = time.process_time()
        try:
            return self.judge(*args, **options)
        finally:
            self.spent += time.process_time() - started


def _release(log: SqliteLog, store: SqliteStore, folder: Path, gate: _Gate) -> float:
    gc.collect()
    judged = gate.spent
    with tempfile.TemporaryDirectory(dir=folder) as place:
        started = time.process_time()
        releases.release(log, lambda: store, shelf_of(place), MODEL, emit=lambda event: None)
        spent = time.process_time() - started
    return spent - (gate.spent - judged)


def _plainly(store: SqliteStore, folder: Path) -> float:
    gc.collect()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        started = time.process_time()
        plainly(store, Path(place) / "rows.parquet")
        return time.process_time() - started


def measure(scale: Scale) -> list[Row]:
    """The row: CPU of a release without its gate over CPU of reading and writing the rows."""
    rounds = 1 if scale.quick else 3
    gate = _Gate()
    with tempfile.TemporaryDirectory(dir=scale.folder) as place:
        folder = Path(place)
        log, store = prepare(folder, scale.labels)
        setattr(releases, _ENTRY, gate)
        try:
            costs = in_turns(
                {
                    "plainly": lambda: _plainly(store, folder),
                    "release": lambda: _release(log, store, folder, gate),
                },
                rounds,
                warm=not scale.quick,
            )
        finally:
            setattr(releases, _ENTRY, gate.judge)
            store.close()
            log.close()
    low, high = spread(costs["release"], costs["plainly"])
    return [
        Row(
            name="release",
            what=f"release of {scale.labels:,} labels, the gate apart / read and written with pyarrow",
            bound=2,
            reached=ratio(costs["release"], costs["plainly"]),
            low=low,
            high=high,
            details={
                "us of CPU a label": median(costs["release"]) / scale.labels * 1e6,
                "read and written": median(costs["plainly"]) / scale.labels * 1e6,
                "the gate (s of CPU)": gate.spent / (rounds + (not scale.quick)),
                "rounds": rounds,
            },
        )
    ]
