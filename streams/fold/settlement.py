"""Settling: what is true about the facts of an agenda, and about all that changes with them.

An agenda begins with what is new. In these steps what changes with it is added, or, where that may be very
much, left to a walk for later:

1. what the facts by join key belong to now, and what a new prediction takes over from the one before;
2. retractions: what they mark, and what that takes along;
3. each fact on its own: joined, waiting, retracted, judged;
4. each person's slots, of which the latest candidate counts, and the person's vote;
5. rows: what is new and what changed of the facts, and those of each view that is told of it.

After every agenda the rows are consistent with each other, so it does not matter in how many agendas what an
event changes is settled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from schemas import kinds
from schemas.identity import JOIN_KEY, PREDICTION, SUBJECT
from schemas.kinds import KINDS
from schemas.shapes import fits
from streams.fold.declarations import serving
from streams.fold.retractions import Retractions, explained
from streams.processors.join import join_by_case, join_by_id
from streams.processors.slots import (
    CONFIRMATION_SLOT,
    CORRECTION_SLOT,
    later,
    slot_name,
    slot_of,
    slots,
)
from streams.processors.votes import (
    Fits,
    judge,
    vote_alone,
    vote_once,
)
from streams.store.port import Transaction
from streams.store.tables import (
    CASES,
    FACTS,
    FACTS_BY_CASE,
    PREDICTIONS,
    DeadLetterRow,
    Fact,
    Prediction,
    Replayed,
    Row,
    as_row,
    picking,
)
from streams.views.changes import Changes
from streams.views.port import Agenda, Audience, Views
from streams.views.registry import tables_of
from streams.views.working_set import FEW, FactKey, Walk, WorkingSet, fact_key

_key, _case_at = FACTS.column("key"), FACTS.column("case_at")
_pid_and_slot = picking(FACTS, ("pid", "slot"))

Version = tuple[str, str]
"""A model and its version."""

Slot = tuple[bytes, str, str]
"""A prediction, a person, and what the person's candidates compete for."""


class Settlement:
    """One agenda, on the working set that it is settled in, and the views that are told of it."""

    def __init__(
        self, transaction: Transaction, loaded: WorkingSet, views: Views, marked_anew: set[FactKey]
    ) -> None:
        self._tx = transaction
        self._loaded = loaded
        self._views = views
        self._marked_anew = marked_anew
        self.agenda: dict[FactKey, Fact] = {}
        """The facts to settle; those without a row in the store are new."""
        self.predictions: list[Prediction] = []
        """Predictions that are new."""
        self.letters: list[DeadLetterRow] = []
        """Items that were refused: they are no facts."""
        self.replays: list[Replayed] = []
        """What events say that they were."""
        self._walks: list[Walk] = []
        self._shapes: dict[Version, Fits] = {}
        # Candidates beside the agenda's, which those may have changed.
        self._touched: dict[FactKey, Fact] = {}

    def run(self) -> list[Walk]:
        """Settle and write; gives what is left to be settled."""
        self._arrive()
        self._join()
        self._retract()
        self._load_shapes()
        for fact in self.agenda.values():
            self._settle_alone(fact)
        self._settle_slots()
        self._write()
        return self._walks

    def _add(self, facts: Iterable[Fact]) -> None:
        self.agenda.update((fact_key(fact), fact) for fact in facts)

    # 1. predictions and join keys

    def _arrive(self) -> None:
        """Add what changes with the predictions that are new."""
        loaded = self._loaded
        for prediction in self.predictions:
            if loaded.is_whole(prediction.pid):
                self._add(loaded.under(prediction.pid))
            else:
                self._walks.append(Walk(FACTS.by_key, 1, (prediction.pid,)))
        entries = [entry for each in loaded.new_cases.values() for entry in each]
        if not entries:
            return
        cases = loaded.cases([(entry.key, entry.at) for entry in entries], following=True)
        starts: dict[tuple[bytes, int], int | None] = {}
        for entry in entries:
            case = cases[entry.key]
            # One of the same instant may be greater: then this one gets nothing.
            if case.at(entry.at) == entry.pid:
                starts[entry.key, entry.at - 1] = case.after(entry.at)
        rows = self._tx.along(FACTS, FACTS_BY_CASE, list(starts), fixed=1, limit=FEW)
        order_of = picking(FACTS, FACTS_BY_CASE.order)
        by_key: defaultdict[bytes, list[Row]] = defaultdict(list)
        for row in sorted(dict.fromkeys(rows), key=order_of):
            by_key[_key(row)].append(row)
        taken: list[Row] = []
        for (key, instant), before in starts.items():
            behind = [row for row in by_key[key] if _case_at(row) > instant][:FEW]
            mine = [row for row in behind if before is None or _case_at(row) < before]
            taken += mine
            if len(mine) == FEW:
                self._walks.append(Walk(FACTS_BY_CASE, 1, order_of(mine[-1]), before))
        self._add(loaded.take(taken))

    def _join(self) -> None:
        """Find the predictions that the facts of the agenda belong to."""
        loaded = self._loaded
        by_case = [fact for fact in self.agenda.values() if fact.key[:1] == JOIN_KEY]
        if by_case:
            cases = loaded.cases({(fact.key, fact.at) for fact in by_case})
            chosen = [cases[fact.key].at(fact.at) if fact.key in cases else None for fact in by_case]
            pids = {pid for pid in chosen if pid is not None}
            pids.update(fact.pid for fact in by_case if fact.pid is not None)
            loaded.load_predictions(pids)
            for fact, pid in zip(by_case, chosen, strict=True):
                join_by_case(fact, None if pid is None else loaded.predictions[pid])
        for fact in self.agenda.values():
            if fact.key[:1] == PREDICTION and fact.kind != kinds.PREDICTION_MADE.name:
                join_by_id(fact, loaded.predictions[fact.key])

    # 2. retractions

    def _retract(self) -> None:
        """Mark what is retracted, and add it and what it takes along."""
        retractions = Retractions(self._tx, self._loaded, self.agenda, self._marked_anew)
        added, walks = retractions.settle()
        self._walks += walks
        # These stay joined as they are.
        self._loaded.load_predictions(fact.pid for fact in added if fact.pid is not None)
        self._add(added)

    # 3. each fact on its own

    def _load_shapes(self) -> None:
        """Load what the versions of the predictions at hand declared: shapes are looked up here only."""
        predictions = self._loaded.predictions.values()
        versions = {(each.model, each.model_version) for each in predictions if each is not None}
        declared = serving(self._tx, versions)
        self._shapes = {version: fits(declaration.shape) for version, declaration in declared.items()}

    def _fits(self, prediction: Prediction) -> Fits | None:
        return self._shapes.get((prediction.model, prediction.model_version))

    def _settle_alone(self, fact: Fact) -> None:
        """Settle what does not depend on others of the same person."""
        kind = KINDS[fact.kind]
        if not kind.counted:
            return
        taken = fact.retracted_at is not None
        if kind is kinds.REASON and not taken:
            key = explained(fact)
            thumb = None if key is None else self._loaded.facts.get(key)
            taken = thumb is not None and thumb.kind == kinds.THUMB.name and thumb.retracted_at is not None
        fact.retracted = int(taken)
        if fact.key[:1] == SUBJECT:
            fact.effective = int(not taken)
            return
        fact.slot, fact.vote = None, None
        if kind.votes and fact.pid is not None:
            fact.code, fact.waits_for = None, None
        if taken:
            fact.waits_for = None
        if taken or fact.pid is None:
            fact.effective = 0
            return
        prediction = self._loaded.predictions[fact.pid]
        assert prediction is not None
        fact.slot = slot_of(fact)
        if kind is kinds.CORRECTION:
            judge(fact, prediction, self._fits(prediction))
        if fact.slot is None:
            fact.effective = 1
            if kind.votes:
                vote_alone(fact, prediction, self._fits(prediction))

    # 4. each person's slots

    def _settle_slots(self) -> None:
        """Settle what counts among the candidates of each slot that the agenda touches, and the votes."""
        touched, lost = self._touched_slots()
        if not touched:
            return
        self._load_candidates(touched, lost)
        for key, fact in self._loaded.facts.items():
            if fact.slot is not None and fact.pid is not None and fact.person is not None:
                members = touched.get((fact.pid, fact.person, slot_name(fact.slot)))
                if members is not None:
                    members.append(fact)
                    self._touched[key] = fact
        for members in touched.values():
            _settle_effective(members)
        for pid, person, name in touched:
            if name == CORRECTION_SLOT:
                prediction = self._loaded.predictions[pid]
                assert prediction is not None
                votes = touched[pid, person, name] + touched[pid, person, CONFIRMATION_SLOT]
                vote_once(votes, prediction, self._fits(prediction))

    def _touched_slots(self) -> tuple[dict[Slot, list[Fact]], dict[Slot, int]]:
        """The slots that facts of the agenda stand for or stood for, and how many left each of them."""
        touched: dict[Slot, list[Fact]] = {}
        lost: defaultdict[Slot, int] = defaultdict(int)
        for key, fact in self.agenda.items():
            person = fact.person
            if person is None:
                continue
            row = self._loaded.before.get(key)
            if row is not None:
                pid, slot = _pid_and_slot(row)
                if slot is not None and (pid, slot) != (fact.pid, fact.slot):
                    _touch(touched, pid, person, slot)
                    lost[pid, person, slot] += 1
            if fact.slot is not None and fact.pid is not None:
                _touch(touched, fact.pid, person, fact.slot)
        return touched, lost

    def _load_candidates(self, touched: Iterable[Slot], lost: dict[Slot, int]) -> None:
        """Load the latest candidate of each slot, or the first that no longer stands and one more."""
        by_most: defaultdict[int, list[Slot]] = defaultdict(list)
        for pid, person, name in touched:
            if not self._loaded.holds_all_of(pid):
                for slot in slots(name):
                    by_most[lost.get((pid, person, slot), 0) + 1].append((pid, person, slot))
        for most, asked in by_most.items():
            self._loaded.load_candidates(asked, most)

    # 5. rows

    def _write(self) -> None:
        """Write the fold's own rows and those of the views."""
        loaded, changes = self._loaded, Changes(tables_of(self._views))
        agenda = Agenda(changes, self._tx.shard, loaded, self._tx, self._fits)
        audience = Audience(self._views, agenda)
        audience.tell_beside(self.letters, self.replays)
        changes.insert(PREDICTIONS, map(as_row, self.predictions))
        changes.insert(CASES, (as_row(entry) for entries in loaded.new_cases.values() for entry in entries))
        for add_prediction in audience.of_predictions:
            for prediction in self.predictions:
                add_prediction(prediction)
        self._write_facts(changes, audience)
        audience.finish()
        changes.write(self._tx)

    def _write_facts(self, changes: Changes, audience: Audience) -> None:
        """Write the facts that are new or changed, and tell of each of them."""
        known, prediction_of, told = self._loaded.before, self._loaded.prediction_of, audience.of_facts
        new: list[Row] = []
        for key, fact in (self.agenda | self._touched).items():
            before, row = known.get(key), as_row(fact)
            if before == row:
                continue
            if before is None:
                old = old_prediction = None
                new.append(row)
            else:
                old = Fact.read(before)
                old_prediction = prediction_of(old)
                changes.put(FACTS, row)
            prediction = prediction_of(fact)
            for change_fact in told[fact.kind]:
                change_fact(old, old_prediction, fact, prediction)
        changes.insert(FACTS, new)


def _touch(touched: dict[Slot, list[Fact]], pid: bytes, person: str, slot: str) -> None:
    """Note that a person's slot is settled anew; correction and confirmation make one vote together."""
    name = slot_name(slot)
    touched.setdefault((pid, person, name), [])
    if name in (CORRECTION_SLOT, CONFIRMATION_SLOT):
        other = CONFIRMATION_SLOT if name == CORRECTION_SLOT else CORRECTION_SLOT
        touched.setdefault((pid, person, other), [])


def _settle_effective(candidates: list[Fact]) -> None:
    """Settle which one of a slot's candidates counts: the latest."""
    best: Fact | None = None
    for fact in candidates:
        fact.effective = 0
        if best is None or later(fact, best):
            best = fact
    if best is not None:
        best.effective = 1
