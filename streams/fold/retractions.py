"""Retractions: what they mark, and what a mark takes along.

A fact is marked with the instant of the earliest retraction that counts. A retraction counts if it comes from
the same person or a server, and names no other model than its prediction's; that may turn out only when the
prediction comes. A thumb's reasons go with it: they change when it begins or ceases to be retracted,
not when its mark moves.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

from schemas import kinds, waits
from schemas.identity import unpack
from streams.processors.join import contradicts
from streams.processors.slots import may_retract
from streams.store.port import Transaction
from streams.store.tables import FACTS, FACTS_BY_EXPLAINED, Fact, Row, picking
from streams.views.working_set import FEW, FactKey, Walk, WorkingSet, fact_key

_PAGE = 5_000
"""About so many retractions are read at once."""

_MOVING_OTHERS = frozenset({kinds.RETRACTION.name, kinds.REASON.name})
"""What explains something may change with it: a retraction marks it, a reason goes with its thumb."""

_retracted_at = FACTS.column("retracted_at")


def explained(fact: Fact) -> FactKey | None:
    """The identity of what a fact explains."""
    return None if fact.explains is None else (fact.key, fact.explains, fact.source)


class Retractions:
    """Those of one agenda, and those that wait for what is new in it.

    `marked_anew` are the facts whose marks were settled from all retractions that name them, in this batch.
    """

    def __init__(
        self,
        transaction: Transaction,
        loaded: WorkingSet,
        agenda: dict[FactKey, Fact],
        marked_anew: set[FactKey],
    ) -> None:
        self._tx = transaction
        self._loaded = loaded
        self._agenda = agenda
        self._marked_anew = marked_anew
        self._walks: list[Walk] = []
        # What is marked otherwise than before.
        self._changed: dict[FactKey, Fact] = {}
        # What was marked by a retraction of which it is known now that it never counted.
        self._doubtful: dict[FactKey, Fact] = {}

    def settle(self) -> tuple[list[Fact], list[Walk]]:
        """Mark what is retracted; gives what is to be settled besides, and what is left for later."""
        loaded, agenda = self._loaded, self._agenda
        new = [key for key in agenda if key not in loaded.before]
        early = loaded.explaining(new, kinds.RETRACTION.name, FEW)
        self._leave_rest(new, early, kinds.RETRACTION.name)
        added = {fact_key(fact): fact for fact in early if fact_key(fact) not in agenda}
        facts = [*agenda.values(), *added.values()]
        loaded.load_facts(key for fact in facts if fact.kind in _MOVING_OTHERS and (key := explained(fact)))
        for fact in facts:
            if fact.kind == kinds.RETRACTION.name:
                self._mark(fact)
        self._mark_anew()
        self._take_reasons_along()
        added.update((key, fact) for key, fact in self._changed.items() if key not in agenda)
        return list(added.values()), self._walks

    def _leave_rest(self, named: Collection[FactKey], found: list[Fact], kind: str) -> None:
        """Leave to walks what explains these, where there was more of it than was loaded."""
        counts: defaultdict[FactKey | None, list[Fact]] = defaultdict(list)
        for fact in found:
            counts[explained(fact)].append(fact)
        for key in named:
            given = counts.get(key, ())
            if len(given) >= FEW and not self._loaded.is_whole(key[0]):
                under, id_, source = key
                start = (under, id_, kind, source, max(fact.id for fact in given))
                self._walks.append(Walk(FACTS_BY_EXPLAINED, 4, start))

    def _mark(self, retraction: Fact) -> None:
        """Settle what a retraction marks."""
        key = explained(retraction)
        assert key is not None
        marked = self._loaded.facts.get(key)
        counted = retraction.effective
        retraction.effective = 0
        if retraction.code is not None:
            # It named another model, as is known since the prediction came: it never counted.
            if counted and marked is not None:
                self._doubtful[key] = marked
            return
        retraction.waits_for = None if marked else waits.for_event(unpack(key[1]))
        if marked is None or not may_retract(retraction, marked):
            return
        retraction.effective = 1
        if marked.retracted_at is None or retraction.at < marked.retracted_at:
            marked.retracted_at = retraction.at
            self._changed[key] = marked

    def _mark_anew(self) -> None:
        """Settle the marks that are in doubt from all retractions that name their facts.

        Once in a batch: this leaves out all that name another model, those that are settled later as well.
        """
        doubtful = {key: fact for key, fact in self._doubtful.items() if key not in self._marked_anew}
        if not doubtful:
            return
        self._marked_anew.update(doubtful)
        for marked in doubtful.values():
            marked.retracted_at = None
        # New ones are not in the store yet.
        naming = [fact for fact in self._agenda.values() if fact.kind == kinds.RETRACTION.name]
        order_of = picking(FACTS, FACTS_BY_EXPLAINED.order)
        start = picking(FACTS, FACTS_BY_EXPLAINED.columns[:4])
        starts: list[tuple[Any, ...]] = [
            (key, id_, kinds.RETRACTION.name, source) for key, id_, source in doubtful
        ]
        while True:
            for retraction in naming:
                key = explained(retraction)
                if key in doubtful:
                    self._count(retraction, doubtful[key])
            if not starts:
                break
            most = 1 + _PAGE // len(starts)
            rows = self._tx.along(FACTS, FACTS_BY_EXPLAINED, starts, fixed=4, limit=most)
            naming = list(Fact.read_all(rows))
            last: dict[Row, Row] = {start(row): order_of(row) for row in rows}
            counts = Counter(map(start, rows))
            starts = [last[fixed] for fixed, count in counts.items() if count == most]
        self._changed.update(doubtful)

    def _count(self, retraction: Fact, marked: Fact) -> None:
        """Mark a fact by one more of the retractions that name it, if that one counts."""
        prediction = self._loaded.predictions.get(marked.key)
        if may_retract(retraction, marked) and not contradicts(retraction, prediction):
            known = marked.retracted_at
            marked.retracted_at = retraction.at if known is None else min(known, retraction.at)

    def _take_reasons_along(self) -> None:
        """Add the reasons of thumbs that are retracted now and were not, or the other way round."""
        loaded, changed = self._loaded, self._changed
        loaded.load_facts(
            key for fact in changed.values() if fact.kind == kinds.REASON.name and (key := explained(fact))
        )
        thumbs = [
            key for key, fact in changed.items() if fact.kind == kinds.THUMB.name and self._turned(key, fact)
        ]
        if thumbs:
            reasons = loaded.explaining(thumbs, kinds.REASON.name, FEW)
            self._leave_rest(thumbs, reasons, kinds.REASON.name)
            changed.update((fact_key(reason), reason) for reason in reasons)

    def _turned(self, key: FactKey, fact: Fact) -> bool:
        """Whether a fact is retracted now and was not, or was and is not."""
        row = self._loaded.before.get(key)
        was = row is not None and _retracted_at(row) is not None
        return was != (fact.retracted_at is not None)
