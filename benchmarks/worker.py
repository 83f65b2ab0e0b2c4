"""The worker with all processors, against a plain dict fold and against the in-memory store.

The fold is what a script would do with the same blocks: decode, join by prediction id, count. It knows no
retries, retractions, votes, labels or restarts; it is the floor of any worker that reads this log.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import Any

from msgspec import UNSET

from benchmarks.measuring import cpu, in_turns, ratio, spread
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import BATCH, Workload
from schemas.catalog import CATALOG
from streams.log.block import read_block
from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES

Group = tuple[Any, ...]


class DictFold:
    """Predictions, what was said about each, and counts by model, version, segment, day, kind and value."""

    def __init__(self) -> None:
        self.predictions: dict[str, Any] = {}
        self.feedback: dict[str, list[Any]] = {}
        self.counts: dict[Group, int] = {}
        self.waiting: dict[str, list[Any]] = {}

    def apply(self, record: bytes) -> None:
        """Fold one block."""
        header, body = read_block(record)
        for event in CATALOG.read(body, header.types):
            data: Any = event.data
            if event.kind == "prediction.made":
                self.predictions[data.prediction_id] = event
                self._count(event, event, "")
                for early in self.waiting.pop(data.prediction_id, ()):
                    self._join(event, early)
            elif event.kind.startswith("feedback."):
                made = self.predictions.get(data.prediction_id)
                if made is None:
                    self.waiting.setdefault(data.prediction_id, []).append(event)
                else:
                    self._join(made, event)

    def _join(self, made: Any, event: Any) -> None:
        self.feedback.setdefault(made.data.prediction_id, []).append(event)
        value = getattr(event.data, "value", None)
        self._count(made, event, getattr(event.data, "reason", "") if value is None else value)

    def _count(self, made: Any, event: Any, value: str) -> None:
        data = made.data
        segment = "" if data.segment is UNSET else data.segment
        group = (data.model, data.model_version, segment, data.action, made.time[:10], event.kind, value)
        self.counts[group] = self.counts.get(group, 0) + 1


def fold(records: Iterable[tuple[int, bytes]]) -> DictFold:
    """The plain fold of some blocks."""
    folded = DictFold()
    for _, record in records:
        folded.apply(record)
    return folded


def follow(log: MemoryLog, store: Store) -> None:
    """Everything the worker does, until it has caught up."""
    while advance(log, store):
        pass


def prepared(events: int) -> tuple[MemoryLog, list[tuple[int, bytes]]]:
    """A log with the declarations and so many events, and the records of the events."""
    workload = Workload()
    log = MemoryLog()
    log.append(workload.declared())
    records = workload.records(events)
    log.append(records)
    return log, records


def _into_memory(log: MemoryLog) -> float:
    store = MemoryStore(log.identity)
    return cpu(lambda: follow(log, store))


def _into_sqlite(log: MemoryLog, folder: str) -> float:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "views.sqlite"
        create_store(path, log.identity, TABLES)
        store = SqliteStore(path, writable=True)
        try:
            return cpu(lambda: follow(log, store))
        finally:
            store.close()


def _plainly(records: list[tuple[int, bytes]]) -> float:
    gc.collect()
    started = time.process_time()
    folded = fold(records)
    spent = time.process_time() - started
    del folded
    return spent


def measure(scale: Scale) -> list[Row]:
    """Two rows: SQLite over the dict fold, and SQLite over the same processors in memory."""
    log, records = prepared(scale.worker_events)
    rounds = max(scale.rounds - 2, 1)
    costs = in_turns(
        {
            "dict": lambda: _plainly(records),
            "sqlite": lambda: _into_sqlite(log, scale.folder),
            "memory": lambda: _into_memory(log),
        },
        rounds,
    )
    each = {name: median(seconds) / scale.worker_events * 1e6 for name, seconds in costs.items()}
    details: dict[str, float | int | str] = {
        "us of CPU an event into SQLite": each["sqlite"],
        "in memory": each["memory"],
        "dict fold": each["dict"],
        "events": scale.worker_events,
        "a block": BATCH,
        "rounds": rounds,
    }
    rows = []
    for name, other, bound, what in (
        ("worker", "dict", 10.0, "worker, all processors, into SQLite / a plain dict fold"),
        ("worker-store", "memory", 3.0, "worker, all processors, into SQLite / into the in-memory store"),
    ):
        low, high = spread(costs["sqlite"], costs[other])
        rows.append(
            Row(
                name=name,
                what=what,
                bound=bound,
                reached=ratio(costs["sqlite"], costs[other]),
                low=low,
                high=high,
                details=details,
            )
        )
    return rows
