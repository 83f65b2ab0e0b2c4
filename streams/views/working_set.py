"""What a fold has at hand: the rows that a batch can change, and no others that lie beside them.

A prediction about which little was said is loaded whole, by its key: `WHOLE` facts at most, in one read
for all predictions of a batch. Whatever lies under any other key is loaded row by row as it is asked for: by
identity, by what explains what, by the slots that a person's facts stand for, by the neighbours in time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from streams.processors.join import Case
from streams.store.port import Transaction
from streams.store.tables import (
    CASES,
    CASES_BY_TIME,
    FACTS,
    FACTS_BY_EXPLAINED,
    FACTS_BY_SLOT,
    PREDICTIONS,
    CaseEntry,
    Fact,
    Index,
    Prediction,
    Row,
    picking,
)

WHOLE = 24
"""So many facts about one prediction are loaded together, not asked for one by one."""

FEW = 16
"""So many rows that change with a fact are settled along with it; further ones are left to a walk."""

_case_at = FACTS.column("case_at")
_key = FACTS.column("key")
_identity = picking(FACTS, FACTS.key)

FactKey = tuple[bytes, bytes, str]
"""An event's partition key, packed id and source: its identity."""


def fact_key(fact: Fact) -> FactKey:
    """The identity of a fact."""
    return fact.key, fact.id, fact.source


class Walk(NamedTuple):
    """Facts that are still to be settled: those along an index behind a start; `before` ends it, in time."""

    along: Index
    fixed: int
    start: tuple[Any, ...]
    before: int | None = None

    def page(self, transaction: Transaction, most: int) -> tuple[list[Row], Walk | None]:
        """The next rows, at most so many, and the walk that is left."""
        rows = transaction.along(FACTS, self.along, [self.start], fixed=self.fixed, limit=most)
        rest = None if len(rows) < most else self._replace(start=picking(FACTS, self.along.order)(rows[-1]))
        if self.before is not None and rows and _case_at(rows[-1]) >= self.before:
            return [row for row in rows if _case_at(row) < self.before], None
        return rows, rest


class WorkingSet:
    """Facts, predictions and join keys of one fold, on its transaction."""

    def __init__(self, transaction: Transaction) -> None:
        self._tx = transaction
        self.facts: dict[FactKey, Fact] = {}
        self.before: dict[FactKey, Row] = {}
        """The facts' rows as they were loaded; new facts have none."""
        self.predictions: dict[bytes, Prediction | None] = {}
        self.fresh: set[bytes] = set()
        """Predictions that are new: nothing is joined to them in the store."""
        self.new_cases: defaultdict[bytes, list[CaseEntry]] = defaultdict(list)
        self._whole: set[bytes] = set()
        self._under: defaultdict[bytes, list[Fact]] = defaultdict(list)
        self._explaining: defaultdict[FactKey, list[Fact]] = defaultdict(list)

    # Facts

    def enter(self, fact: Fact) -> None:
        """Take in a fact, new or just loaded."""
        key = fact.key
        self.facts[key, fact.id, fact.source] = fact
        if key in self._whole:
            self._under[key].append(fact)
            if fact.explains is not None:
                self._explaining[key, fact.explains, fact.source].append(fact)

    def take(self, rows: Iterable[Row]) -> list[Fact]:
        """The facts of some rows; one that was loaded before stays as it stands in this fold."""
        taken = []
        facts = self.facts
        for row in rows:
            key = _identity(row)
            fact = facts.get(key)
            if fact is None:
                fact = Fact.read(row)
                self.before[key] = row
                self.enter(fact)
            taken.append(fact)
        return taken

    def load_keys(self, keys: Iterable[bytes]) -> None:
        """Load these predictions, and what lies under their keys if it is little."""
        wanted = sorted(keys)
        self.load_predictions(wanted)
        starts = [(key,) for key in wanted]
        rows = self._tx.along(FACTS, FACTS.by_key, starts, fixed=1, limit=WHOLE + 1)
        counts: defaultdict[bytes, int] = defaultdict(int)
        for key in map(_key, rows):
            counts[key] += 1
        self._whole.update(key for key in wanted if counts.get(key, 0) <= WHOLE)
        self.take(row for row in rows if counts[_key(row)] <= WHOLE)

    def is_whole(self, key: bytes) -> bool:
        """Whether everything that lies under a partition key is here."""
        return key in self._whole

    def knows_any(self, key: bytes) -> bool:
        """Whether anything may lie under a partition key."""
        return key in self._under or key not in self._whole

    def under(self, key: bytes) -> list[Fact]:
        """What lies under a key that is whole."""
        return self._under.get(key, [])

    def load_facts(self, identities: Iterable[FactKey]) -> None:
        """Load facts by identity, where they are not here and may be there."""
        facts, whole = self.facts, self._whole
        wanted = sorted({key for key in identities if key not in facts and key[0] not in whole})
        if wanted:
            self.take(self._tx.get(FACTS, wanted))

    def explaining(self, identities: Sequence[FactKey], kind: str, limit: int) -> list[Fact]:
        """The facts of a kind that explain these: all that are here, and `limit` of each of the others."""
        found = [
            fact
            for key in identities
            if key[0] in self._whole
            for fact in self._explaining.get(key, ())
            if fact.kind == kind
        ]
        starts = [(key, id_, kind, source) for key, id_, source in identities if key not in self._whole]
        if starts:
            found += self.take(self._tx.along(FACTS, FACTS_BY_EXPLAINED, starts, fixed=4, limit=limit))
        return found

    def holds_all_of(self, pid: bytes) -> bool:
        """Whether every fact that is joined to a prediction is here."""
        if pid in self.fresh:
            return True
        prediction = self.predictions.get(pid)
        return pid in self._whole and prediction is not None and prediction.join_key is None

    def load_candidates(self, slots: Iterable[tuple[bytes, str, str]], most: int) -> None:
        """Load the latest candidates of slots (prediction, person, slot), at most so many of each."""
        self.take(self._tx.along(FACTS, FACTS_BY_SLOT, sorted(slots), fixed=3, limit=most, descending=True))

    # Predictions and join keys

    def load_predictions(self, pids: Iterable[bytes]) -> None:
        """Load predictions that were not asked for yet."""
        known = self.predictions
        wanted = sorted({pid for pid in pids if pid not in known})
        if not wanted:
            return
        known.update(dict.fromkeys(wanted))
        for prediction in Prediction.read_all(self._tx.get(PREDICTIONS, [(pid,) for pid in wanted])):
            known[prediction.pid] = prediction

    def prediction_of(self, fact: Fact) -> Prediction | None:
        """The prediction that a fact is joined to, or was judged by: the one that it names."""
        return self.predictions.get(fact.prediction_key)

    def cases(self, instants: Iterable[tuple[bytes, int]], *, following: bool = False) -> dict[bytes, Case]:
        """For each join key, of the predictions that answer for it those around the given instants.

        The last one that is not later than an instant, and, if `following`, the next one that is.
        """
        wanted = list(instants)
        at_most = [(key, instant + 1) for key, instant in wanted]
        rows = self._tx.along(CASES, CASES_BY_TIME, at_most, fixed=1, limit=1, descending=True)
        if following:
            rows += self._tx.along(CASES, CASES_BY_TIME, wanted, fixed=1, limit=1)
        entries: defaultdict[bytes, dict[bytes, CaseEntry]] = defaultdict(dict)
        for entry in CaseEntry.read_all(rows):
            entries[entry.key][entry.pid] = entry
        for key in {key for key, _ in wanted}:
            for entry in self.new_cases.get(key, ()):
                entries[key][entry.pid] = entry
        return {key: Case(found.values()) for key, found in entries.items()}
