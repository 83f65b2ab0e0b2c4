"""Overrides: a person's own correction of a prediction is what that person gets next time for its input."""

from __future__ import annotations

from schemas import kinds
from schemas.identity import unpack
from streams.processors.slots import fits_slot, later
from streams.store.tables import OVERRIDES, Fact, Override, Prediction, as_row
from streams.views.port import Agenda, View

_CORRECTION = kinds.CORRECTION.name


class Overrides(View):
    """Of each person and prediction with an input the latest correction whose label fits."""

    tables = (OVERRIDES,)
    kinds = frozenset({_CORRECTION})

    def __init__(self, agenda: Agenda) -> None:
        super().__init__(agenda)
        # Predictions and persons of whom another correction may be the latest that fits.
        self._touched: dict[tuple[bytes, str], Prediction] = {}

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        if before is not None and (before.pid, before.slot) != (fact.pid, fact.slot):
            self._touch(before, was_about)
        self._touch(fact, about)

    def _touch(self, fact: Fact, prediction: Prediction | None) -> None:
        """Note whom a fact stands for: who has a slot has a person and a prediction."""
        if fits_slot(fact.slot) and fact.person is not None and prediction is not None:
            self._touched[prediction.pid, fact.person] = prediction

    def finish(self) -> None:
        """Find the latest: whatever may be it was loaded when the slots of these persons were settled."""
        latest: dict[tuple[bytes | None, str | None], Fact] = {}
        for fact in self.agenda.loaded.facts.values() if self._touched else ():
            # Most facts are of another kind, and that is asked for cheaply.
            if fact.kind == _CORRECTION and fits_slot(fact.slot) and (fact.pid, fact.person) in self._touched:
                known = latest.get((fact.pid, fact.person))
                if known is None or later(fact, known):
                    latest[fact.pid, fact.person] = fact
        for (pid, person), prediction in self._touched.items():
            if prediction.input_ref is None:
                continue
            chosen = latest.get((pid, person))
            if chosen is None:
                key = prediction.model, person, prediction.input_ref, pid
                self.agenda.changes.delete(OVERRIDES, key)
            else:
                self._put(chosen, person, prediction, prediction.input_ref)

    def _put(self, fact: Fact, person: str, prediction: Prediction, input_ref: str) -> None:
        assert fact.label is not None
        row = Override(
            model=prediction.model,
            person=person,
            input_ref=input_ref,
            pid=prediction.pid,
            env=prediction.env,
            label=fact.label,
            id=unpack(fact.id),
            source=fact.source,
            at=fact.at,
        )
        self.agenda.changes.put(OVERRIDES, as_row(row))
