"""What a batch changes: rows put and deleted, table by table, and differences of the counts.

The fold says what was and what is; from that follow the rows to write, the sums to add, and the
verdicts to publish or withdraw as dead letters.
"""

from __future__ import annotations

from collections import defaultdict

from schemas import problems
from schemas.catalog import type_name
from schemas.identity import unpack
from streams.processors.counts import (
    OUTCOME,
    Group,
    count_row,
    counted,
    exposure_row,
    outcome_row,
    prediction_group,
)
from streams.processors.join import PREDICTION_MADE
from streams.store.port import Transaction
from streams.store.tables import (
    AUDITED,
    CASES,
    COUNTS,
    DEAD_LETTERS,
    EXPOSURES,
    FACTS,
    LABELS,
    OUTCOMES,
    OVERRIDES,
    PREDICTIONS,
    TABLES,
    DeadLetterRow,
    Fact,
    Prediction,
    Row,
    Table,
    as_row,
)

_DETAILS = {
    problems.MODEL_MISMATCH: "the prediction was made by another model than `model` says",
    problems.LABEL_INVALID: "the label does not fit the output that the prediction's version declared",
    problems.PREDICTION_CONFLICT: "this prediction id was used before, with other data",
}


class Changes:
    """What a batch writes: rows put and deleted by table, and differences of the counts."""

    def __init__(self, shard: int) -> None:
        self._shard = shard
        self._inserts: dict[str, tuple[Table, list[Row]]] = {
            table.name: (table, []) for table in (PREDICTIONS, CASES, FACTS)
        }
        self._puts: dict[str, tuple[Table, list[Row]]] = {table.name: (table, []) for table in TABLES}
        self.deletes: defaultdict[str, dict[tuple[object, ...], None]] = defaultdict(dict)
        self.letters: list[DeadLetterRow] = []
        self._counts: defaultdict[Group, list[int]] = defaultdict(lambda: [0, 0])
        self._sums: dict[str, tuple[Table, dict[Row, list[int]]]] = {
            table.name: (table, {}) for table in (EXPOSURES, OUTCOMES)
        }

    def new_case(self, row: Row) -> None:
        """A new prediction that answers for a join key."""
        self._inserts[CASES.name][1].append(row)

    def put(self, table: Table, row: Row) -> None:
        """Insert or replace a row."""
        self._puts[table.name][1].append(row)

    def new_prediction(self, prediction: Prediction) -> None:
        """A prediction, with what it counts, who saw it, and whether its input is audited."""
        self._inserts[PREDICTIONS.name][1].append(as_row(prediction))
        self._count(prediction_group(prediction, PREDICTION_MADE, None), 1, 1)
        exposure = exposure_row(prediction, self._shard)
        if exposure is not None:
            self._add(EXPOSURES, as_row(exposure))
        if prediction.audit and prediction.input_ref is not None:
            row = (prediction.model, prediction.env, prediction.input_ref, prediction.pid)
            self.put(AUDITED, row)

    def fact(
        self,
        old: Fact | None,
        new: Fact,
        row: Row,
        old_home: Prediction | None,
        new_home: Prediction | None,
    ) -> None:
        """A fact that is new or changed, with the differences of what it counts."""
        changed = self._inserts if old is None else self._puts
        changed[FACTS.name][1].append(row)
        before = None if old is None else counted(old, old_home)
        after = counted(new, new_home)
        if before != after:
            for sign, standing in ((-1, before), (1, after)):
                if standing is not None:
                    group, n, events = standing
                    self._count(group, sign * n, sign * events)
        if old is None or old.code != new.code:
            self._verdict(old, new)
        was, now = (old is not None and old.effective), new.effective
        if was != now and new.kind == OUTCOME:
            outcome = outcome_row(new, self._shard, 1 if now else -1)
            if outcome is not None:
                self._add(OUTCOMES, as_row(outcome))

    def _verdict(self, old: Fact | None, new: Fact) -> None:
        if new.code is not None:
            self.letters.append(
                DeadLetterRow(
                    new.partition,
                    new.offset,
                    new.place,
                    new.code,
                    _DETAILS[new.code],
                    unpack(new.id),
                    new.source,
                    type_name(new.kind),
                    new.received,
                )
            )
        elif old is not None:
            self.deletes[DEAD_LETTERS.name][new.partition, new.offset, new.place] = None

    def _count(self, group: Group, n: int, events: int) -> None:
        sums = self._counts[group]
        sums[0] += n
        sums[1] += events

    def _add(self, table: Table, row: Row) -> None:
        """Add the sums of a row, the last columns of its table, to those with the same key."""
        width = len(table.sums)
        known = self._sums[table.name][1].setdefault(row[:-width], [0] * width)
        for index, value in enumerate(row[-width:]):
            known[index] += value

    def write(self, transaction: Transaction) -> None:
        """Write everything; a row that is put again is not deleted before."""
        for table in (LABELS, OVERRIDES, DEAD_LETTERS):
            doomed = self.deletes[table.name]
            for row in self._puts[table.name][1]:
                doomed.pop(row[: len(table.key)], None)
            if doomed:
                transaction.delete(table, list(doomed))
        for table, rows in self._inserts.values():
            if rows:
                transaction.insert(table, rows)
        for table, rows in self._puts.values():
            if rows:
                transaction.put(table, rows)
        if self.letters:
            transaction.put(DEAD_LETTERS, [as_row(letter) for letter in self.letters])
        if self._counts:
            transaction.add(
                COUNTS,
                [as_row(count_row(group, self._shard, *sums)) for group, sums in self._counts.items()],
            )
        for table, sums_of in self._sums.values():
            if sums_of:
                transaction.add(table, [(*row, *sums) for row, sums in sums_of.items()])
