"""What changed between two releases: rows added, removed and relabelled, and the labels' distribution.

Releases are compared by prediction id and the label's canonical JSON text, so one with plain strings compares
with one that holds JSON. Two of different models can be compared too; they share no predictions.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from feedback.datasets.catalogue import Manifest, dataset_in, show
from feedback.datasets.cut.recipe import SPLITS
from feedback.datasets.shelf.port import Shelf
from feedback.datasets.shift import Shift, label_shift
from feedback.plurals import many

MOST_LISTED = 100


class Relabelled(NamedTuple):
    """A prediction whose label is another one, as canonical JSON text."""

    prediction_id: str
    before: str
    after: str


class Diff(NamedTuple):
    """From release `a` to release `b`. Examples are the first ones by prediction id, up to `MOST_LISTED`."""

    a: str
    b: str
    same_content: bool
    rows: tuple[int, int]
    added: int
    removed: int
    relabelled: int
    moved: int
    labels: dict[str, tuple[int, int]]
    shift: Shift
    examples_added: list[str]
    examples_removed: list[str]
    examples_relabelled: list[Relabelled]

    def document(self) -> dict[str, Any]:
        """The comparison as a JSON object."""
        return {
            **self._asdict(),
            "labels": [
                {"label": label, "before": before, "after": after}
                for label, (before, after) in self.labels.items()
            ],
            "shift": {**self.shift._asdict(), "shifted": self.shift.shifted, "means": self.shift.sentence()},
            "examples_relabelled": [each._asdict() for each in self.examples_relabelled],
        }

    def lines(self) -> list[str]:
        """The comparison in words."""
        if self.same_content:
            return [f"{self.a} and {self.b} hold the same {many(self.rows[0], 'row')}."]
        lines = [
            f"from {self.a} ({many(self.rows[0], 'row')}) to {self.b} ({many(self.rows[1], 'row')})",
            f"  added       {self.added:,}{_such_as(self.examples_added)}",
            f"  removed     {self.removed:,}{_such_as(self.examples_removed)}",
            f"  relabelled  {self.relabelled:,}",
            *(
                f"    {each.prediction_id}: {each.before} -> {each.after}"
                for each in self.examples_relabelled[:5]
            ),
            f"  other split {self.moved:,}",
            "  labels",
            *(
                f"    {label}: {before:,} -> {after:,}"
                for label, (before, after) in list(self.labels.items())[:20]
            ),
        ]
        if len(self.labels) > 20:
            lines.append("    and more: --json lists them")
        lines.append(f"  {self.shift.sentence()}")
        return lines


def diff(shelf: Shelf, a: str, b: str) -> Diff:
    """Compare two releases, each given as `MODEL@N`. Raises BadRequest and ReleaseMissing."""
    import pyarrow.compute as pc

    said = show(shelf, a), show(shelf, b)
    before, after = (_rows(shelf, each) for each in said)
    ids_before, ids_after = before["prediction_id"], after["prediction_id"]
    removed = ids_before.filter(pc.invert(pc.is_in(ids_before, value_set=ids_after)))
    added = ids_after.filter(pc.invert(pc.is_in(ids_after, value_set=ids_before)))
    both = before.join(after, "prediction_id", right_suffix="_after", join_type="inner")
    relabelled = both.filter(pc.not_equal(both["label"], both["label_after"])).sort_by("prediction_id")
    counted = [_counted(table) for table in (before, after)]
    ranked = sorted(set().union(*counted), key=lambda label: (-sum(c.get(label, 0) for c in counted), label))
    return Diff(
        a=said[0]["name"],
        b=said[1]["name"],
        same_content=said[0]["content_hash"] == said[1]["content_hash"],
        rows=(before.num_rows, after.num_rows),
        added=len(added),
        removed=len(removed),
        relabelled=relabelled.num_rows,
        moved=pc.sum(pc.not_equal(both["split"], both["split_after"]), min_count=0).as_py(),
        labels={
            label: (counted[0].get(label, 0), counted[1].get(label, 0)) for label in ranked[:MOST_LISTED]
        },
        shift=label_shift(counted[1], counted[0]),
        examples_added=_first(added),
        examples_removed=_first(removed),
        examples_relabelled=[
            Relabelled(row["prediction_id"], row["label"], row["label_after"])
            for row in relabelled.slice(0, MOST_LISTED).to_pylist()
        ],
    )


def _rows(shelf: Shelf, said: Manifest) -> Any:
    """Prediction ids, labels as canonical JSON text, and splits of a release."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from feedback.datasets.cut.columns import as_json

    parts = []
    for split in SPLITS:
        with shelf.opened(dataset_in(said), said["version"], f"{split}.parquet") as file:
            table = pq.read_table(file, columns=["prediction_id", "label"])
        labels = as_json(table["label"], said["encoding"]["label"])
        parts.append(
            table.set_column(1, "label", labels).append_column(
                "split", pa.array([split] * len(labels), pa.string())
            )
        )
    return pa.concat_tables(parts)


def _counted(table: Any) -> dict[str, int]:
    return {each["values"]: each["counts"] for each in table["label"].value_counts().to_pylist()}


def _such_as(examples: list[str]) -> str:
    return f"  ({', '.join(examples[:3])}{', ...' if len(examples) > 3 else ''})" if examples else ""


def _first(ids: Any) -> list[str]:
    found: list[str] = ids.sort().slice(0, MOST_LISTED).to_pylist()
    return found
