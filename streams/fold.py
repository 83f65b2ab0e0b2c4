"""The fold: from a batch of events and the rows they touch to the rows that are true after them.

This is where an event becomes a label. A batch is folded in these steps:

1. hold and load the rows that the batch touches: cases (join keys), then predictions, then facts;
2. once: enter each new event's row, telling copies and conflicts apart (`processors.once`);
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

from msgspec import Struct, json

from schemas import problems
from schemas.catalog import type_name
from schemas.identity import JOIN_KEY, PREDICTION, SUBJECT, join_key, pack, unpack
from schemas.shapes import fits
from streams.changes import Changes
from streams.processors.amend import RETRACTION, mark_retracted, settle_effective
from streams.processors.join import Case, join_by_case, join_by_id, join_subject
from streams.processors.labels import (
    CORRECTING,
    LABELLING,
    Fits,
    label_row,
    override_rows,
    settle_labels,
)
from streams.processors.once import Arrival, Identity, model_event_row, second_prediction
from streams.store.port import Transaction
from streams.store.tables import (
    CASES,
    DECLARATIONS,
    FACTS,
    LABELS,
    MODEL_EVENTS,
    OVERRIDES,
    PREDICTIONS,
    CaseEntry,
    DeadLetterRow,
    Declaration,
    Fact,
    ModelEvent,
    Prediction,
    Row,
    as_row,
)

_encode = json.Encoder().encode

FactKey = tuple[bytes, bytes, str]
Version = tuple[str, str]
"""A model and its version."""


class Group(Struct, gc=False):
    """What lies under one partition key: facts, and the prediction if the key is one's.

    `before` holds the facts' rows as they were loaded. `visitors` are the facts by join key that are
    joined to the prediction; they lie under their own keys.
    """

    facts: dict[Identity, Fact]
    before: dict[Identity, Row]
    prediction: Prediction | None = None
    new: bool = False
    identity: Identity | None = None
    """That of the prediction's event, once somebody asks."""
    visitors: dict[FactKey, Fact] | None = None
    retracting: bool = False
    """Whether a retraction is among the facts."""

    def is_prediction(self, identity: Identity) -> bool:
        """Whether an event is the one that made the prediction."""
        if self.prediction is None:
            return False
        if self.identity is None:
            self.identity = pack(self.prediction.id), self.prediction.source
        return identity == self.identity

    def about(self) -> list[Fact]:
        """Every fact joined to the prediction, by id or by join key."""
        facts = [fact for fact in self.facts.values() if fact.joined is not None]
        return facts if self.visitors is None else [*facts, *self.visitors.values()]


class Fold:
    """One batch's working set, on one transaction. Use once: `enter`, then `settle`."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction
        self._met: list[bytes] = []
        self._pids: list[bytes] = []
        self._subjects: list[bytes] = []
        self._groups: dict[bytes, Group] = {}
        self._cases: defaultdict[bytes, dict[bytes, CaseEntry]] = defaultdict(dict)
        self._new_cases: list[CaseEntry] = []
        # Visitors of a loaded prediction whose own keys are not loaded, with their rows.
        self._strangers: list[tuple[Fact, Row]] = []
        self._letters: list[DeadLetterRow] = []

    # 1. load

    def load(self, keys: Iterable[bytes], cases: Iterable[bytes]) -> None:
        """Load the rows of these partition keys, and of these join keys' predictions.

        Each kind is held before it is read: another worker may be at the other side of a join.
        """
        met = self._met = sorted({*cases, *(key for key in keys if key[:1] == JOIN_KEY)})
        self._tx.meet(met)
        pids = {key for key in keys if key[:1] == PREDICTION}
        for row in self._tx.get(CASES, [(key,) for key in met]):
            entry = CaseEntry(*row)
            self._cases[entry.key][entry.pid] = entry
            pids.add(entry.pid)
        predictions = self._pids = sorted(pids)
        self._tx.hold(predictions)
        # In key order, as they are written later: neighbours lie on the same pages of an index.
        self._subjects = sorted(key for key in keys if key[:1] == SUBJECT)
        groups = [*met, *predictions, *self._subjects]
        self._groups = {key: Group({}, {}) for key in groups}
        visited = []
        for row in self._tx.get(PREDICTIONS, [(pid,) for pid in predictions]):
            prediction = Prediction(*row)
            self._groups[prediction.pid].prediction = prediction
            if prediction.join_key is not None:
                visited.append(prediction.pid)
        for row in self._tx.get(FACTS, [(key,) for key in groups]):
            self._take(row)
        for row in self._tx.find(FACTS, "pid", sorted(visited)):
            if row[0] not in self._groups:
                self._take(row)

    def _take(self, row: Row) -> None:
        fact = Fact(*row)
        group = self._groups.get(fact.key)
        if group is None:
            self._strangers.append((fact, row))
        else:
            group.facts[fact.id, fact.source] = fact
            group.before[fact.id, fact.source] = row
            if fact.kind == RETRACTION:
                group.retracting = True
        if fact.pid is not None:
            self._visit(fact.pid, fact)

    def _visit(self, pid: bytes, fact: Fact) -> None:
        home = self._groups[pid]
        if home.visitors is None:
            home.visitors = {}
        home.visitors[fact.key, fact.id, fact.source] = fact

    # 2. once

    def enter(self, rows: Sequence[Prediction | Fact]) -> None:
        """Enter the rows of a batch's events, in the order of the log within each partition."""
        made = [row for row in rows if isinstance(row, Prediction)]
        keys = {row.pid if isinstance(row, Prediction) else row.key for row in rows}
        self.load(keys, [join_key(row.model, row.join_key) for row in made if row.join_key is not None])
        for row in rows:
            if isinstance(row, Prediction):
                self._enter_prediction(row)
            else:
                self._enter_fact(row)

    def _enter_prediction(self, row: Prediction) -> None:
        group = self._groups[row.pid]
        first = group.prediction
        if first is not None and (first.id, first.source) == (row.id, row.source):
            if first.digest != row.digest:
                self._refuse(second_prediction(row), problems.ID_CONFLICT, _OTHER_CONTENT)
        elif first is not None:
            second = second_prediction(row)
            if self._enter_fact(second) and first.data_digest != row.data_digest:
                second.code = problems.PREDICTION_CONFLICT
        elif group.facts and (pack(row.id), row.source) in group.facts:
            self._enter_fact(second_prediction(row))
        else:
            group.prediction, group.new = row, True
            if row.join_key is not None:
                self._answer_for_case(row)

    def _answer_for_case(self, row: Prediction) -> None:
        assert row.join_key is not None
        key = join_key(row.model, row.join_key)
        entry = CaseEntry(key, row.pid, row.at, row.id, row.source)
        self._cases[key][row.pid] = entry
        self._new_cases.append(entry)

    def _enter_fact(self, fact: Fact) -> bool:
        """Whether it is new."""
        identity = fact.id, fact.source
        group = self._groups[fact.key]
        known: Fact | Prediction | None = group.facts.get(identity)
        if known is None and group.is_prediction(identity):
            known = group.prediction
        if known is not None:
            if known.digest != fact.digest:
                self._refuse(fact, problems.ID_CONFLICT, _OTHER_CONTENT)
            return False
        group.facts[identity] = fact
        if fact.kind == RETRACTION:
            group.retracting = True
        return True

    def _refuse(self, fact: Fact | ModelEvent, code: str, detail: str) -> None:
        self._letters.append(
            DeadLetterRow(
                fact.partition,
                fact.offset,
                fact.place,
                code,
                detail,
                unpack(fact.id),
                fact.source,
                type_name(fact.kind),
                fact.received,
            )
        )

    # Models: declarations, deployments, evaluations, releases

    def enter_models(self, arrivals: Sequence[Arrival]) -> list[tuple[str, str]]:
        """Enter the events of models. Returns the model versions that were declared by them."""
        declared: list[tuple[str, str]] = []
        for arrival in arrivals:
            data = arrival.event.data
            row = model_event_row(arrival, _encode(data).decode())
            known = self._tx.get(MODEL_EVENTS, [(row.model, row.id, row.source)])
            if known:
                if known[0][MODEL_EVENTS.columns.index("digest")] != row.digest:
                    self._refuse(row, problems.ID_CONFLICT, _OTHER_CONTENT)
                continue
            self._tx.put(MODEL_EVENTS, [as_row(row)])
            if row.kind == "model.declared" and self._declare(arrival, row):
                declared.append((data.model, data.model_version))
        return declared

    def _declare(self, arrival: Arrival, told: ModelEvent) -> bool:
        event = arrival.event
        version = (event.data.model, event.data.model_version)
        known = self._tx.get(DECLARATIONS, [version])
        if known:
            if Declaration(*known[0]).data_digest != arrival.data_digest:
                self._refuse(told, problems.DECLARATION_CONFLICT, _OTHER_SHAPE)
            return False
        row = Declaration(
            *version,
            _encode(event.data.output_shape).decode(),
            arrival.data_digest,
            event.id,
            event.source,
            told.at,
            arrival.received,
        )
        self._tx.put(DECLARATIONS, [as_row(row)])
        return True

    # 3. to 5.

    def settle(self) -> None:
        """Settle everything that is loaded, and write what changed."""
        for key in self._met:
            self._settle_case(key, self._groups[key])
        for key in self._subjects:
            facts = self._groups[key].facts
            mark_retracted(facts)
            for fact in facts.values():
                join_subject(fact)
        told = [self._groups[pid] for pid in self._pids]
        told = [group for group in told if group.facts or group.visitors]
        shapes = self._shapes(told)
        for group in told:
            _settle_prediction(group, shapes)
        self._write(shapes)

    def _settle_case(self, key: bytes, group: Group) -> None:
        """Join the facts of a join key, each to the prediction that it belongs to now."""
        case = Case(self._cases[key].values())
        for fact in group.facts.values():
            before = fact.pid
            chosen = case.choose(fact)
            join_by_case(fact, None if chosen is None else self._groups[chosen].prediction)
            if before is not None and before != chosen:
                visitors = self._groups[before].visitors
                if visitors is not None:
                    visitors.pop((fact.key, fact.id, fact.source), None)
            if chosen is not None:
                self._visit(chosen, fact)
            else:
                _unsettle(fact)
        mark_retracted(group.facts)

    def _shapes(self, groups: Iterable[Group]) -> dict[Version, Fits]:
        known = (group.prediction for group in groups)
        versions = {(row.model, row.model_version) for row in known if row is not None}
        rows = self._tx.get(DECLARATIONS, sorted(versions))
        return {(row[0], row[1]): fits(row[2]) for row in rows}

    # 6. write

    def _write(self, shapes: dict[Version, Fits]) -> None:
        changes = Changes(self._tx.shard, lambda fact: self._why_invalid(fact, shapes))
        changes.letters.extend(self._letters)
        for entry in self._new_cases:
            changes.new_case(as_row(entry))
        # Those whose label may be another than before.
        affected: dict[bytes, Group] = {}
        for group in self._groups.values():
            if group.new and group.prediction is not None:
                changes.new_prediction(group.prediction)
            for identity, fact in group.facts.items():
                self._write_fact(changes, fact, group.before.get(identity), affected)
        for fact, before in self._strangers:
            self._write_fact(changes, fact, before, affected)
        for pid, group in affected.items():
            if group.prediction is not None:
                _write_label(changes, pid, group, group.prediction, shapes)
        changes.write(self._tx)

    def _why_invalid(self, fact: Fact, shapes: dict[Version, Fits]) -> str:
        """Why a label does not fit."""
        prediction = self._groups[fact.pid or fact.key].prediction
        assert prediction is not None
        assert fact.label is not None
        return shapes[prediction.model, prediction.model_version].verdict(fact.label).value

    def _write_fact(
        self, changes: Changes, fact: Fact, before: Row | None, affected: dict[bytes, Group]
    ) -> None:
        after = as_row(fact)
        if before == after:
            return
        key = fact.pid or fact.key
        home = self._groups[key]
        if before is None:
            changes.new_fact(fact, after, home.prediction)
        else:
            old = Fact(*before)
            old_key = old.pid or old.key
            old_home = self._groups[old_key]
            changes.changed_fact(old, old_home.prediction, fact, after, home.prediction)
            if fact.kind in LABELLING:
                affected[old_key] = old_home
                _drop_override(changes, old, old_home.prediction)
        if fact.kind in LABELLING:
            affected[key] = home


def _settle_prediction(group: Group, shapes: dict[Version, Fits]) -> None:
    """Join, amend and label what is said about one prediction."""
    prediction = group.prediction
    join_by_id(group.facts.values(), prediction)
    if group.retracting:
        mark_retracted(group.facts)
    if prediction is None:
        return
    facts = group.about()
    settle_effective(facts)
    for fact in facts:
        if fact.kind in LABELLING:
            settle_labels(prediction, facts, shapes.get((prediction.model, prediction.model_version)))
            break


def _write_label(
    changes: Changes, pid: bytes, group: Group, prediction: Prediction, shapes: dict[Version, Fits]
) -> None:
    facts = group.about()
    label = label_row(prediction, [fact for fact in facts if fact.label_used])
    if label is None:
        changes.deletes[LABELS.name][prediction.model, pid] = None
    else:
        changes.put(LABELS, as_row(label))
    tester = shapes.get((prediction.model, prediction.model_version))
    for override in override_rows(prediction, facts, tester):
        changes.put(OVERRIDES, as_row(override))


def _drop_override(changes: Changes, old: Fact, home: Prediction | None) -> None:
    """Remove what a correction that changes may have given its person; else it is put again."""
    if old.kind != CORRECTING or old.person is None or home is None or home.input_ref is None:
        return
    changes.deletes[OVERRIDES.name][home.model, old.person, home.input_ref, home.pid] = None


_OTHER_CONTENT = "this source used the id before, for the same target, with another type, time or data"
_OTHER_SHAPE = "a declaration is immutable: declare a new model version"


def _unsettle(fact: Fact) -> None:
    """A fact that lost its prediction counts nowhere."""
    fact.effective, fact.label_used, fact.code = 0, 0, None
