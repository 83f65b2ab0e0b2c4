"""From the views to rows: one for each labelled prediction, in the order of the labels' keys.

The store is read once, in chunks: labels with their predictions. What becomes a row is staged in a
scratch file with the place of its event in the log, for its input (`inputs`) and with its split (`recipe`);
the events behind it go to the lineage (`lineage`). What does not become a row is counted by reason.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pyarrow as pa

from feedback.datasets.cut.columns import INSTANT, prediction_ids
from feedback.datasets.cut.lineage_file import LineageStage
from feedback.datasets.cut.recipe import SPLITS, Filters, Splitter
from feedback.datasets.cut.scratch import BatchFile, Gathered
from schemas.identity import unpack
from streams.queries.votes import all_candidates
from streams.store.port import Snapshot
from streams.store.tables import AUDITED, LABELS, PREDICTIONS, Row, column_of

# Few enough for a processor's cache: larger chunks take half as long again.
CHUNK_ROWS = 1_000
MOST_TIES_LISTED = 1_000

NO_INPUT_REF = "no_input_ref"
TIE = "tie"

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is of it."""

STAGED = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("input_ref", pa.string()),
        ("output", pa.string()),
        ("label", pa.string()),
        ("agreement", pa.float64()),
        ("people", pa.int64()),
        ("confidence", pa.float64()),
        ("segment", pa.string()),
        ("model_version", pa.string()),
        ("channel", pa.string()),
        ("ask_probability", pa.float64()),
        ("audit_probability", pa.float64()),
        ("at", INSTANT),
        ("split", pa.int8()),
        ("partition", pa.int32()),
        ("offset", pa.int64()),
        ("place", pa.int32()),
    ]
)
"""A release's rows before their inputs are there; `output` and `label` are JSON texts."""

_SAID = ("pid", "label", "agreement", "people", "channel", "rivals", "candidates")
_MADE = (
    "id",
    "source",
    "partition",
    "offset",
    "place",
    "at",
    "model_version",
    "segment",
    "output",
    "confidence",
    "input_ref",
    "ask_probability",
    "audit_probability",
)
_COLUMNS = (*_SAID, *_MADE)
_pid, _output, _candidates = (column_of(_COLUMNS, name) for name in ("pid", "output", "candidates"))
_label, _input_ref = (column_of(_COLUMNS, name) for name in ("label", "input_ref"))
_at, _model_version, _segment = (column_of(_COLUMNS, name) for name in ("at", "model_version", "segment"))


@dataclass
class Census:
    """What went in and what did not."""

    rows: Counter[str] = field(default_factory=Counter)
    left_out: Counter[str] = field(default_factory=Counter)
    filtered: int = 0
    ties: list[str] = field(default_factory=list)
    disagreements: int = 0
    model_versions: Counter[str] = field(default_factory=Counter)
    channels: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> int:
        """How many rows there are, over all splits."""
        return self.rows.total()


def audited_references(snapshot: Snapshot, model: str, env: str) -> set[str]:
    """The references of a model's inputs with an audited prediction."""
    return set(map(AUDITED.column("input_ref"), snapshot.scan(AUDITED, {"model": model, "env": env})))


class RowReader:
    """Reads the labelled rows of a model, as the filters have it, into `rows` and `lineage`."""

    def __init__(
        self, model: str, filters: Filters, splitter: Splitter, rows: BatchFile, lineage: LineageStage
    ) -> None:
        self._model = model
        self._filters = filters
        self._splitter = splitter
        self._rows = rows
        self._lineage = lineage
        self._gathered = Gathered()
        self.census = Census()

    def __call__(self, snapshot: Snapshot, progress: Progress) -> Census:
        """Read everything; gives what went in and what did not."""
        where = {"model": self._model, "env": self._filters.env}
        total = snapshot.count(LABELS, where)
        done = 0
        for chunk in _chunks(snapshot.pairs(LABELS, _SAID, PREDICTIONS, _MADE, where)):
            self._stage(
                [row if _candidates(row) is not None else _with_votes(snapshot, row) for row in chunk]
            )
            done += len(chunk)
            progress("reading labels", done, total)
        self._put(self._gathered.rest())
        return self.census

    def _put(self, batch: Any) -> None:
        if batch is not None:
            self._rows.write(batch)

    def _stage(self, rows: list[Row]) -> None:
        kept = rows if self._takes_all() else [row for row in rows if self._wanted(row)]
        self.census.filtered += len(rows) - len(kept)
        columns = _columns(kept)
        if None in columns["label"] or None in columns["input_ref"]:
            self._count_left_out(kept)
            columns = _columns(
                [row for row in kept if _label(row) is not None and _input_ref(row) is not None]
            )
        if columns["pid"]:
            self._write(columns)

    def _takes_all(self) -> bool:
        filters = self._filters
        return filters.since is None and filters.model_version is None and filters.segment is None

    def _wanted(self, row: Row) -> bool:
        filters = self._filters
        return (
            (filters.since is None or _at(row) >= filters.since)
            and (filters.model_version is None or _model_version(row) == filters.model_version)
            and (filters.segment is None or _segment(row) == filters.segment)
        )

    def _count_left_out(self, rows: list[Row]) -> None:
        census = self.census
        for row in rows:
            if _label(row) is None:
                census.left_out[TIE] += 1
                if len(census.ties) < MOST_TIES_LISTED:
                    census.ties.append(unpack(_pid(row)[1:]))
            elif _input_ref(row) is None:
                census.left_out[NO_INPUT_REF] += 1

    def _write(self, columns: dict[str, Any]) -> None:
        ids = prediction_ids(columns["pid"])
        codes = self._splitter.codes(columns["input_ref"])
        columns["prediction_id"], columns["split"] = ids, codes
        arrays = [pa.array(columns[field.name], field.type) for field in STAGED]
        self._put(self._gathered.add(pa.record_batch(arrays, schema=STAGED)))
        self._lineage.add(ids, columns["id"], columns["source"], columns["label"], columns["candidates"])
        census = self.census
        counts = Counter(codes.tolist())
        census.rows.update({SPLITS[code]: count for code, count in counts.items()})
        census.disagreements += sum(rivals > 1 for rivals in columns["rivals"])
        census.model_versions.update(columns["model_version"])
        census.channels.update(columns["channel"])


def _with_votes(snapshot: Snapshot, row: Row) -> Row:
    """A row whose votes are too many to lie with the label, with all of them."""
    listed = all_candidates(snapshot, _pid(row), _output(row))
    values = {**dict(zip(_COLUMNS, row, strict=True)), "candidates": listed}
    return tuple(values.values())


def _columns(rows: list[Row]) -> dict[str, Any]:
    """The values of the rows, column by column."""
    columns = zip(*rows, strict=True) if rows else ((),) * len(_COLUMNS)
    return dict(zip(_COLUMNS, columns, strict=True))


def _chunks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    while chunk := list(islice(rows, CHUNK_ROWS)):
        yield chunk
