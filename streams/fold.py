"""The fold: from a batch of events and the rows they touch to the rows that are true after them.

This is where an event becomes a label. A batch is folded in these steps:

1. hold and load the rows that the batch touches: cases (join keys), then predictions, then facts;
2. once: enter each new event, telling copies and conflicts apart (`processors.once`);
3. join: give every fact its prediction, or say what it waits for (`processors.join`);
4. amend and retract: settle what counts (`processors.amend`);
5. label: settle votes, labels and overrides (`processors.labels`);
6. compare with the rows as they were loaded, and write the differences and the counts.

Steps 3 to 5 are functions of the set of facts, so the order in which they came does not matter.
No clock, no randomness; the only I/O is the transaction it is given.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from msgspec import json

from schemas import problems
from schemas.canonical import digest
from schemas.catalog import type_name
from schemas.identity import JOIN_KEY, MODEL, PREDICTION, SUBJECT, join_key, pack
from schemas.shapes import fits
from streams.changes import Changes
from streams.processors.amend import RETRACTION, mark_retracted, settle_effective
from streams.processors.join import PREDICTION_MADE, Case, join_by_case, join_by_id, join_subject
from streams.processors.labels import (
    CORRECTING,
    LABELLING,
    Fits,
    label_row,
    override_rows,
    settle_labels,
)
from streams.processors.once import (
    Arrival,
    content,
    fact_row,
    model_event_row,
    prediction_row,
)
from streams.store.port import Transaction
from streams.store.tables import (
    CASES,
    DECLARATIONS,
    FACTS,
    LABELS,
    MODEL_EVENTS,
    OVERRIDES,
    PREDICTIONS,
    REPLAYED,
    CaseEntry,
    DeadLetterRow,
    Declaration,
    Fact,
    Prediction,
    Row,
    as_row,
)

_encode = json.Encoder().encode

Identity = tuple[bytes, str]
"""An event within its partition key: (packed id, source)."""

FactKey = tuple[bytes, bytes, str]


class Fold:
    """One batch's working set, on one transaction. Use once: `enter`, then `settle`."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction
        self._groups: dict[bytes, dict[Identity, Fact]] = {}
        self._loaded: dict[FactKey, Row] = {}
        self._predictions: dict[bytes, Prediction] = {}
        self._new_predictions: list[Prediction] = []
        self._cases: defaultdict[bytes, dict[bytes, CaseEntry]] = defaultdict(dict)
        self._new_cases: list[CaseEntry] = []
        # Facts by join key, by the prediction that they are joined to.
        self._visitors: defaultdict[bytes, dict[FactKey, Fact]] = defaultdict(dict)
        self._touched: dict[bytes, None] = {}
        # Partition keys with a retraction among their facts.
        self._retracting: set[bytes] = set()
        self._letters: list[DeadLetterRow] = []

    # 1. load

    def load(self, keys: Iterable[bytes], cases: Iterable[bytes]) -> None:
        """Load the rows of these partition keys, and of these join keys' predictions.

        Each kind is held before it is read: another worker may be at the other side of a join.
        """
        keys = set(keys)
        cases = {key for key in (*keys, *cases) if key[:1] == JOIN_KEY}
        predictions = {key for key in keys if key[:1] == PREDICTION}
        self._tx.meet(sorted(cases))
        for row in self._tx.get(CASES, [(key,) for key in sorted(cases)]):
            entry = CaseEntry(*row)
            self._cases[entry.key][entry.pid] = entry
            predictions.add(entry.pid)
        self._tx.hold(sorted(predictions))
        for row in self._tx.get(PREDICTIONS, [(pid,) for pid in sorted(predictions)]):
            self._predictions[row[0]] = Prediction(*row)
        # In key order, as they are written later: neighbours lie on the same pages of an index.
        groups = sorted(predictions | cases | {key for key in keys if key[:1] == SUBJECT})
        for key in groups:
            self._groups[key] = {}
        for row in self._tx.get(FACTS, [(key,) for key in groups]):
            self._take(row)
        visited = [pid for pid in predictions if self._is_case(pid)]
        for row in self._tx.find(FACTS, "pid", sorted(visited)):
            if row[0] not in self._groups:
                self._take(row)

    def _is_case(self, pid: bytes) -> bool:
        prediction = self._predictions.get(pid)
        return prediction is not None and prediction.join_key is not None

    def _take(self, row: Row) -> None:
        fact = Fact(*row)
        self._loaded[fact.key, fact.id, fact.source] = row
        if fact.key in self._groups:
            self._groups[fact.key][fact.id, fact.source] = fact
            if fact.kind == RETRACTION:
                self._retracting.add(fact.key)
        if fact.pid is not None:
            self._visitors[fact.pid][fact.key, fact.id, fact.source] = fact

    # 2. once

    def enter(self, arrivals: Sequence[Arrival]) -> None:
        """Enter a batch of events, in the order of the log within each partition."""
        self.load(
            {arrival.key for arrival in arrivals},
            [
                join_key(arrival.event.data.model, arrival.event.data.join_key)
                for arrival in arrivals
                if arrival.event.kind == PREDICTION_MADE and isinstance(arrival.event.data.join_key, str)
            ],
        )
        for arrival in arrivals:
            if isinstance(arrival.event.looplinereplay, str):
                self._replayed(arrival)
            if arrival.key[:1] == MODEL:
                continue
            self._touched[arrival.key] = None
            if arrival.event.kind == PREDICTION_MADE:
                self._enter_prediction(arrival)
            else:
                self._enter_fact(arrival)

    def _enter_prediction(self, arrival: Arrival) -> None:
        row = prediction_row(arrival)
        first = self._predictions.get(arrival.key)
        if first is not None and (first.id, first.source) == (row.id, row.source):
            if first.digest != row.digest:
                self._refuse(arrival, problems.ID_CONFLICT, _OTHER_CONTENT)
        elif first is not None or self._known(arrival.key, row):
            self._enter_fact(arrival)
        else:
            self._predictions[arrival.key] = row
            self._new_predictions.append(row)
            if row.join_key is not None:
                self._answer_for_case(row)

    def _known(self, key: bytes, row: Prediction) -> bool:
        group = self._groups[key]
        return bool(group) and (pack(row.id), row.source) in group

    def _answer_for_case(self, row: Prediction) -> None:
        assert row.join_key is not None
        key = join_key(row.model, row.join_key)
        entry = CaseEntry(key, row.pid, row.at, row.id, row.source)
        self._cases[key][row.pid] = entry
        self._new_cases.append(entry)
        self._touched[key] = None

    def _enter_fact(self, arrival: Arrival) -> None:
        event, key = arrival.event, arrival.key
        identity = (pack(event.id), event.source)
        group = self._groups[key]
        prediction = self._predictions.get(key)
        known = group.get(identity)
        if (
            known is None
            and prediction is not None
            and prediction.id == event.id
            and prediction.source == event.source
        ):
            known_digest: int | None = prediction.digest
        else:
            known_digest = None if known is None else known.digest
        if known_digest is not None:
            if known_digest != content(event).digest:
                self._refuse(arrival, problems.ID_CONFLICT, _OTHER_CONTENT)
            return
        fact = fact_row(arrival, identity)
        group[identity] = fact
        if fact.kind == RETRACTION:
            self._retracting.add(key)
        again = event.kind == PREDICTION_MADE and prediction is not None
        if again and content(event).data_digest != self._predictions[key].data_digest:
            fact.code = problems.PREDICTION_CONFLICT

    def _refuse(self, arrival: Arrival, code: str, detail: str) -> None:
        event = arrival.event
        self._letters.append(
            DeadLetterRow(
                arrival.partition,
                arrival.offset,
                arrival.place,
                code,
                detail,
                event.id,
                event.source,
                type_name(event.kind),
                arrival.received,
            )
        )

    def _replayed(self, arrival: Arrival) -> None:
        event = arrival.event
        row = (event.looplinereplay, arrival.key, pack(event.id), event.source, arrival.received)
        self._tx.put(REPLAYED, [row])

    # Models: declarations, deployments, evaluations, releases

    def enter_models(self, arrivals: Sequence[Arrival]) -> list[tuple[str, str]]:
        """Enter the events of models. Returns the model versions that were declared by them."""
        declared: list[tuple[str, str]] = []
        for arrival in arrivals:
            if arrival.key[:1] != MODEL:
                continue
            data = arrival.event.data
            row = model_event_row(arrival, _encode(data).decode())
            known = self._tx.get(MODEL_EVENTS, [(row.model, row.id, row.source)])
            if known:
                if known[0][MODEL_EVENTS.columns.index("digest")] != row.digest:
                    self._refuse(arrival, problems.ID_CONFLICT, _OTHER_CONTENT)
                continue
            self._tx.put(MODEL_EVENTS, [as_row(row)])
            if row.kind == "model.declared" and self._declare(arrival, row.at):
                declared.append((data.model, data.model_version))
        return declared

    def _declare(self, arrival: Arrival, at: int) -> bool:
        event = arrival.event
        version = (event.data.model, event.data.model_version)
        shape_digest = digest(event.data.output_shape)
        known = self._tx.get(DECLARATIONS, [version])
        if known:
            if Declaration(*known[0]).data_digest != shape_digest:
                self._refuse(arrival, problems.DECLARATION_CONFLICT, _OTHER_SHAPE)
            return False
        row = Declaration(
            *version,
            _encode(event.data.output_shape).decode(),
            shape_digest,
            event.id,
            event.source,
            at,
            arrival.received,
        )
        self._tx.put(DECLARATIONS, [as_row(row)])
        return True

    # 3. to 5.

    def touch(self, keys: Iterable[bytes]) -> None:
        """Settle these keys anew though no event of the batch names them."""
        self._touched.update(dict.fromkeys(keys))

    def settle(self) -> None:
        """Settle everything touched, and write what changed."""
        predictions = {key: None for key in self._touched if key[:1] == PREDICTION}
        for key in self._touched:
            if key[:1] == JOIN_KEY:
                predictions.update(dict.fromkeys(self._settle_case(key)))
            elif key[:1] == SUBJECT:
                group = self._groups[key]
                mark_retracted(group)
                for fact in group.values():
                    join_subject(fact)
        shapes = self._shapes(predictions)
        for pid in predictions:
            self._settle_prediction(pid, shapes)
        self._write(predictions, shapes)

    def _settle_case(self, key: bytes) -> set[bytes]:
        """Join the facts of a join key; returns the predictions that gained, lost or kept one."""
        touched: set[bytes] = set()
        case = Case(self._cases[key].values())
        for fact in self._groups[key].values():
            before = fact.pid
            chosen = case.choose(fact)
            join_by_case(fact, None if chosen is None else self._predictions[chosen])
            identity = (fact.key, fact.id, fact.source)
            if before is not None and before != chosen:
                self._visitors[before].pop(identity, None)
            if chosen is not None:
                self._visitors[chosen][identity] = fact
            else:
                _unsettle(fact)
            touched.update(pid for pid in (before, chosen) if pid is not None)
        mark_retracted(self._groups[key])
        return touched

    def _settle_prediction(self, pid: bytes, shapes: dict[tuple[str, str], Fits]) -> None:
        own, visitors = self._groups[pid], self._visitors.get(pid)
        if not own and not visitors:
            return
        prediction = self._predictions.get(pid)
        join_by_id(own.values(), prediction)
        if pid in self._retracting:
            mark_retracted(own)
        if prediction is None:
            return
        facts = self._about(pid)
        settle_effective(facts)
        for fact in facts:
            if fact.kind in LABELLING:
                break
        else:
            return
        settle_labels(prediction, facts, shapes.get((prediction.model, prediction.model_version)))

    def _about(self, pid: bytes) -> list[Fact]:
        """Every fact joined to a prediction, by id or by join key."""
        facts = [fact for fact in self._groups[pid].values() if fact.joined is not None]
        visitors = self._visitors.get(pid)
        return facts if visitors is None else [*facts, *visitors.values()]

    def _shapes(self, pids: Iterable[bytes]) -> dict[tuple[str, str], Fits]:
        known = (self._predictions.get(pid) for pid in pids)
        versions = {(row.model, row.model_version) for row in known if row is not None}
        rows = self._tx.get(DECLARATIONS, sorted(versions))
        return {(row[0], row[1]): fits(row[2]) for row in rows}

    # 6. write

    def _write(self, pids: Iterable[bytes], shapes: dict[tuple[str, str], Fits]) -> None:
        changes = Changes(self._tx.shard)
        changes.letters.extend(self._letters)
        for prediction in self._new_predictions:
            changes.new_prediction(prediction)
        for entry in self._new_cases:
            changes.new_case(as_row(entry))
        affected = set()
        for fact in self._facts():
            before = self._loaded.get((fact.key, fact.id, fact.source))
            after = as_row(fact)
            if before == after:
                continue
            old = None if before is None else Fact(*before)
            changes.fact(old, fact, after, self._home(old), self._home(fact))
            if fact.kind in LABELLING:
                affected.add(fact.pid or fact.key)
                if old is not None:
                    affected.add(old.pid or old.key)
                    self._drop_override(changes, old)
        self._write_labels(changes, [pid for pid in pids if pid in affected], shapes)
        changes.write(self._tx)

    def _facts(self) -> Iterable[Fact]:
        for group in self._groups.values():
            yield from group.values()
        for visitors in self._visitors.values():
            for fact in visitors.values():
                if fact.key not in self._groups:
                    yield fact

    def _home(self, fact: Fact | None) -> Prediction | None:
        return None if fact is None else self._predictions.get(fact.pid or fact.key)

    def _drop_override(self, changes: Changes, old: Fact) -> None:
        """Remove what a correction that changes may have given its person; else it is put again."""
        prediction = self._home(old)
        if old.kind != CORRECTING or old.person is None or prediction is None:
            return
        if prediction.input_ref is not None:
            changes.deletes[OVERRIDES.name][
                prediction.model, old.person, prediction.input_ref, prediction.pid
            ] = None

    def _write_labels(
        self, changes: Changes, pids: Iterable[bytes], shapes: dict[tuple[str, str], Fits]
    ) -> None:
        for pid in pids:
            prediction = self._predictions.get(pid)
            if prediction is None:
                continue
            facts = self._about(pid)
            label = label_row(prediction, [fact for fact in facts if fact.label_used])
            if label is None:
                changes.deletes[LABELS.name][prediction.model, pid] = None
            else:
                changes.put(LABELS, as_row(label))
            tester = shapes.get((prediction.model, prediction.model_version))
            for override in override_rows(prediction, facts, tester):
                changes.put(OVERRIDES, as_row(override))


_OTHER_CONTENT = "this source used the id before, for the same target, with another type, time or data"
_OTHER_SHAPE = "a declaration is immutable: declare a new model version"


def _unsettle(fact: Fact) -> None:
    """A fact that lost its prediction counts nowhere."""
    fact.effective, fact.label_used, fact.code = 0, 0, None
