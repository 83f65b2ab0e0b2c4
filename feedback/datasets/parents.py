"""The releases that a release descends from, and what became of their inputs.

A parent is the newest release of the same dataset (the model's plain ones, or those of one name) whose as-of
lies at or before: an older state that is cut later does not descend from a newer one. The log decides what
comes before what, not the version number.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from feedback.datasets.as_of import reaches
from feedback.datasets.catalogue import Manifest, manifest, versions
from feedback.datasets.cut.columns import STRING
from feedback.datasets.cut.recipe import TRAINING
from feedback.datasets.shelf.port import Shelf
from schemas.normal_json import normal_json
from streams.log.port import LogIdentity, parse_positions

References = Callable[[], Any]
"""Gives an array of references of inputs, when it is needed."""


class Family:
    """The earlier releases of a dataset, seen from a state of the log: the newest ancestor comes first."""

    def __init__(self, shelf: Shelf, dataset: str, identity: LogIdentity, vector: Mapping[int, int]) -> None:
        self._shelf = shelf
        self._dataset = dataset
        self.ancestors: list[Manifest] = []
        self.others: list[Manifest] = []
        for version in reversed(versions(shelf, dataset)):
            said = manifest(shelf, dataset, version)
            # Positions of another log cannot be compared; then the number of the version decides.
            comes_before = said["log"]["id"] != identity.id or reaches(vector, parse_positions(said["as_of"]))
            (self.ancestors if comes_before else self.others).append(said)

    @property
    def parent(self) -> Manifest | None:
        """The newest ancestor."""
        return self.ancestors[0] if self.ancestors else None

    def labels(self) -> Counter[str]:
        """How often each label, as canonical JSON text, is in the parent's train, validation and test."""
        counted: Counter[str] = Counter()
        if self.parent is not None:
            for split in TRAINING:
                column = self._column(self.parent, split, "label")
                counted.update(count_labels(column, self.parent["encoding"]["label"]))
        return counted

    def moved_to_audit(self, audited: References) -> dict[str, Any]:
        """Which of these inputs were in another split when they were last released."""
        unknown = pc.unique(audited()) if self.ancestors else pa.array([], pa.string())
        moved: Counter[str] = Counter()
        # From the newest on: where an input was last decides, so a move is counted once.
        for said in self.ancestors:
            for split in ("audit", *TRAINING):
                if not len(unknown):
                    break
                known = pc.unique(self._column(said, split, "input_ref"))
                found = pc.is_in(unknown, value_set=known)
                moved[split] += pc.sum(found, min_count=0).as_py()
                unknown = unknown.filter(pc.invert(found))
        del moved["audit"]
        return {"inputs": moved.total(), "from": {split: moved[split] for split in TRAINING}}

    def audited_later(self, training: References) -> int:
        """How many of these inputs a release of a later state has in audit."""
        if not self.others:
            return 0
        later = pa.chunked_array(
            [chunk for said in self.others for chunk in self._column(said, "audit", "input_ref").chunks],
            pa.string(),
        )
        return int(pc.sum(pc.is_in(pc.unique(training()), value_set=pc.unique(later)), min_count=0).as_py())

    def _column(self, said: Manifest, split: str, name: str) -> Any:
        with self._shelf.opened(self._dataset, said["version"], f"{split}.parquet") as file:
            return pq.read_table(file, columns=[name])[name]


def count_labels(column: Any, encoding: str) -> dict[str, int]:
    """How often each label of a column occurs, by its canonical JSON text."""
    counts = pc.value_counts(column)
    values: Sequence[Any] = counts.field("values").to_pylist()
    texts = [normal_json(value) for value in values] if encoding == STRING else values
    return dict(zip(texts, counts.field("counts").to_pylist(), strict=True))
