"""What a batch changes: rows put and deleted, table by table, and differences of the counts.

The fold says what was and what is; from that follow the rows to write, the sums to add, and the
verdicts to publish or withdraw as dead letters.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from schemas import kinds, problems
from schemas.identity import unpack
from schemas.kinds import KINDS
from streams.processors.counts import (
    Group,
    Word,
    count_row,
    exposure_row,
    group_alone,
    group_of,
    outcome_row,
    word_of,
)
from streams.store.port import Transaction
from streams.store.tables import (
    AUDITED,
    CANDIDATES,
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
    problems.PREDICTION_CONFLICT: "this prediction id was used before, with other data",
}

_MADE: Word = (kinds.PREDICTION_MADE.name, None)

Tally = defaultdict[Word, list[int]]
"""In one group, for each word the differences of `n` and `events`."""


class Changes:
    """What a batch writes: rows put and deleted by table, and differences of the counts.

    `why` tells for a fact whose label does not fit what its dead letter says of it.
    """

    def __init__(self, shard: int, why: Callable[[Fact], str]) -> None:
        self._shard = shard
        self._why = why
        self._predictions: list[Row] = []
        self._cases: list[Row] = []
        self._facts: list[Row] = []
        self._puts: dict[str, tuple[Table, list[Row]]] = {table.name: (table, []) for table in TABLES}
        self.deletes: defaultdict[str, dict[tuple[object, ...], None]] = defaultdict(dict)
        self.letters: list[DeadLetterRow] = []
        self._tallies: defaultdict[Group, Tally] = defaultdict(lambda: defaultdict(lambda: [0, 0]))
        self._home: Prediction | None = None
        self._tally: Tally = defaultdict(list)
        self._sums: dict[str, tuple[Table, dict[Row, list[int]]]] = {
            table.name: (table, {}) for table in (EXPOSURES, OUTCOMES)
        }

    def new_case(self, row: Row) -> None:
        """A new prediction that answers for a join key."""
        self._cases.append(row)

    def put(self, table: Table, row: Row) -> None:
        """Insert or replace a row."""
        self._puts[table.name][1].append(row)

    def new_prediction(self, prediction: Prediction) -> None:
        """A prediction, with what it counts, who saw it, and whether its input is audited."""
        self._predictions.append(as_row(prediction))
        sums = self._tally_of(prediction)[_MADE]
        sums[0] += 1
        sums[1] += 1
        if prediction.subject is not None:
            self._add(EXPOSURES, as_row(exposure_row(prediction, prediction.subject, self._shard)))
        if prediction.audit and prediction.input_ref is not None:
            row = (prediction.model, prediction.env, prediction.input_ref, prediction.pid)
            self.put(AUDITED, row)

    def new_fact(self, fact: Fact, row: Row, home: Prediction | None) -> None:
        """A fact that is new, with what it counts; `home` is the prediction that it is joined to."""
        self._facts.append(row)
        self._count(fact, home, 1)
        if fact.code is not None:
            self._verdict(fact, home)
        if fact.effective and fact.kind == kinds.OUTCOME.name:
            self._add(OUTCOMES, as_row(outcome_row(fact, self._shard, 1)))

    def changed_fact(
        self, old: Fact, old_home: Prediction | None, new: Fact, row: Row, new_home: Prediction | None
    ) -> None:
        """A fact that changed, with the differences of what it counts."""
        self._puts[FACTS.name][1].append(row)
        self._count(old, old_home, -1)
        self._count(new, new_home, 1)
        if new.code != old.code:
            self._verdict(new, new_home)
        if new.effective != old.effective and new.kind == kinds.OUTCOME.name:
            self._add(OUTCOMES, as_row(outcome_row(new, self._shard, new.effective - old.effective)))

    def _verdict(self, fact: Fact, home: Prediction | None) -> None:
        if fact.code is None:
            self.deletes[DEAD_LETTERS.name][fact.partition, fact.offset, fact.place] = None
            return
        self.letters.append(
            DeadLetterRow(
                fact.partition,
                fact.offset,
                fact.place,
                fact.code,
                self._why(fact) if fact.code == problems.LABEL_INVALID else _DETAILS[fact.code],
                unpack(fact.id),
                fact.source,
                KINDS[fact.kind].type,
                fact.received,
                fact.model if home is None else home.model,
                fact.env if home is None else home.env,
            )
        )

    def _count(self, fact: Fact, home: Prediction | None, sign: int) -> None:
        """Add what a fact counts as it stands, under its prediction if it has one, or take it back."""
        word = word_of(fact)
        if word is None:
            return
        if home is not None and fact.joined is not None:
            # What is said about a prediction comes one after the other.
            sums = (self._tally if home is self._home else self._tally_of(home))[word]
        else:
            group = group_alone(fact)
            if group is None:
                return
            sums = self._tallies[group][word]
        sums[0] += sign * fact.effective
        sums[1] += sign

    def _tally_of(self, prediction: Prediction) -> Tally:
        self._home, self._tally = prediction, self._tallies[group_of(prediction)]
        return self._tally

    def _add(self, table: Table, row: Row) -> None:
        """Add the sums of a row, the last columns of its table, to those with the same key."""
        width = len(table.sums)
        known = self._sums[table.name][1].setdefault(row[:-width], [0] * width)
        for index, value in enumerate(row[-width:]):
            known[index] += value

    def write(self, transaction: Transaction) -> None:
        """Write everything; a row that is put again is not deleted before."""
        for table in (LABELS, CANDIDATES, OVERRIDES, DEAD_LETTERS):
            doomed = self.deletes[table.name]
            for row in self._puts[table.name][1]:
                doomed.pop(row[: len(table.key)], None)
            if doomed:
                transaction.delete(table, list(doomed))
        for table, rows in ((PREDICTIONS, self._predictions), (CASES, self._cases), (FACTS, self._facts)):
            if rows:
                # In key order: neighbours lie on the same pages of an index. Keys come first, and once.
                transaction.insert(table, sorted(rows))
        for table, rows in self._puts.values():
            if rows:
                transaction.put(table, sorted(rows))
        if self.letters:
            transaction.put(DEAD_LETTERS, [as_row(letter) for letter in self.letters])
        counts = [
            as_row(count_row(group, word, self._shard, *sums))
            for group, tally in self._tallies.items()
            for word, sums in tally.items()
            if any(sums)
        ]
        if counts:
            transaction.add(COUNTS, counts)
        for table, sums_of in self._sums.values():
            if sums_of:
                transaction.add(table, [(*row, *sums) for row, sums in sums_of.items()])
