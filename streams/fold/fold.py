"""The fold: from a batch of events and the rows they can change to the rows that are true after them.

A batch is folded in these steps; a vote becomes a label in the last of them (`streams.views.labels`):

1. hold the join keys and predictions that it can change, and load the rows (`streams.views.working_set`);
2. enter each new event's row once, telling copies and conflicts apart;
3. settle what is new, and what changes with it (`streams.fold.settlement`);
4. compare with the rows as they were loaded, write the differences, and tell the views (`streams.views`);
5. where one event changes very many rows, as a prediction does that many facts wait for: settle those
   likewise, some at a time (`streams.views.working_set.Walk`).

What is true is a function of the set of facts, so the order in which they came does not matter; what is
loaded of the set is what the batch can change, so its cost does not grow with what lies there.
No clock, no randomness; the only I/O is the transaction it is given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from msgspec import json

from schemas import problems
from schemas.identity import PREDICTION, join_key, pack, unpack
from schemas.kinds import KINDS
from schemas.logged_data import LoggedDeclaration
from streams.fold.declarations import rank
from streams.fold.join_key_locks import lock_what_changes
from streams.fold.settlement import Settlement
from streams.processors.arrivals import Arrival, Identity, declaration_of, model_event_row, second_prediction
from streams.store.port import Transaction
from streams.store.tables import (
    DECLARATIONS,
    MODEL_EVENTS,
    CaseEntry,
    DeadLetterRow,
    Declaration,
    Fact,
    ModelEvent,
    Prediction,
    Replayed,
    Row,
    as_row,
)
from streams.views.port import Views
from streams.views.working_set import FactKey, WorkingSet, fact_key

_encode = json.Encoder().encode

_PAGE = 5_000
"""How many rows of a walk are settled at once."""


class Fold:
    """One batch's working set, on one transaction, for these views.

    Use once: `enter` or `load`, then `settle`.
    """

    def __init__(
        self, transaction: Transaction, views: Views, marked_anew: set[FactKey] | None = None
    ) -> None:
        self._tx = transaction
        self._views = views
        self._loaded = WorkingSet(transaction)
        # Shared by the folds of a batch: once is enough for all of its walks.
        self._marked_anew: set[FactKey] = set() if marked_anew is None else marked_anew
        self._settlement = Settlement(transaction, self._loaded, views, self._marked_anew)
        self._identities: dict[bytes, Identity] = {}

    # 1. and 2.

    def enter(self, rows: Sequence[Prediction | Fact]) -> None:
        """Enter the rows of a batch's events, in the order of the log within each partition."""
        made = [row for row in rows if isinstance(row, Prediction)]
        facts = [row for row in rows if isinstance(row, Fact)]
        lock_what_changes(self._tx, made, facts)
        keys = {row.pid for row in made}
        keys.update(fact.key for fact in facts if fact.key[:1] == PREDICTION)
        self._loaded.load_keys(keys)
        is_whole = self._loaded.is_whole
        identities = [fact_key(fact) for fact in facts if not is_whole(fact.key)]
        identities += [(row.pid, pack(row.id), row.source) for row in made if not is_whole(row.pid)]
        self._loaded.load_facts(identities)
        for row in rows:
            if isinstance(row, Prediction):
                self._enter_prediction(row)
            else:
                self._enter_fact(row)

    def enter_refused(self, letters: Iterable[DeadLetterRow]) -> None:
        """Enter items that were refused before they could be facts."""
        self._settlement.letters += letters

    def enter_replays(self, replays: Iterable[Replayed]) -> None:
        """Enter what events say that they were."""
        self._settlement.replays += replays

    def load(self, rows: Iterable[Row]) -> None:
        """Load facts, to be settled anew."""
        facts = self._loaded.take(rows)
        self._loaded.load_predictions(fact.key for fact in facts if fact.key[:1] == PREDICTION)
        self._loaded.load_predictions(fact.pid for fact in facts if fact.pid is not None)
        self._settlement.agenda.update((fact_key(fact), fact) for fact in facts)

    def _enter_prediction(self, row: Prediction) -> None:
        loaded = self._loaded
        first = loaded.predictions[row.pid]
        if first is not None and (first.id, first.source) == (row.id, row.source):
            if first.digest != row.digest:
                self._refuse(second_prediction(row), problems.ID_CONFLICT, _OTHER_CONTENT)
        elif first is not None:
            second = second_prediction(row)
            if self._enter_fact(second) and first.data_digest != row.data_digest:
                second.code = problems.PREDICTION_CONFLICT
        elif loaded.knows_any(row.pid) and (row.pid, pack(row.id), row.source) in loaded.facts:
            self._enter_fact(second_prediction(row))
        else:
            loaded.predictions[row.pid] = row
            loaded.fresh.add(row.pid)
            self._settlement.predictions.append(row)
            if row.join_key is not None:
                key = join_key(row.model, row.join_key)
                entry = CaseEntry(key=key, pid=row.pid, at=row.at, id=row.id, source=row.source)
                loaded.new_cases[key].append(entry)

    def _enter_fact(self, fact: Fact) -> bool:
        """Whether it is new."""
        key = fact_key(fact)
        known: Fact | Prediction | None = self._loaded.facts.get(key)
        if known is None:
            known = self._prediction_as(key)
        if known is not None:
            if known.digest != fact.digest:
                self._refuse(fact, problems.ID_CONFLICT, _OTHER_CONTENT)
            return False
        # A fold that failed may have settled it: it is entered again, by itself.
        fact.retracted, fact.retracted_at, fact.effective, fact.code = 0, None, 0, None
        self._loaded.enter(fact)
        self._settlement.agenda[key] = fact
        return True

    def _prediction_as(self, key: tuple[bytes, bytes, str]) -> Prediction | None:
        """The prediction of a key, if its event has this identity."""
        prediction = self._loaded.predictions.get(key[0])
        if prediction is None:
            return None
        identity = self._identities.get(key[0])
        if identity is None:
            identity = self._identities[key[0]] = pack(prediction.id), prediction.source
        return prediction if identity == key[1:] else None

    def _refuse(self, fact: Fact | ModelEvent, code: str, detail: str) -> None:
        self._settlement.letters.append(
            DeadLetterRow(
                partition=fact.partition,
                offset=fact.offset,
                place=fact.place,
                code=code,
                detail=detail,
                id=unpack(fact.id),
                source=fact.source,
                type=KINDS[fact.kind].type,
                received=fact.received,
            )
        )

    # Models: declarations, deployments, evaluations, releases

    def enter_models(self, arrivals: Sequence[Arrival]) -> list[tuple[str, str]]:
        """Enter the events of models. Returns the model versions that were declared by them."""
        declared: list[tuple[str, str]] = []
        for arrival in arrivals:
            row = model_event_row(arrival, _encode(arrival.event.data).decode())
            known = self._tx.get(MODEL_EVENTS, [(row.model, row.id, row.source)])
            if known:
                if ModelEvent.read(known[0]).digest != row.digest:
                    self._refuse(row, problems.ID_CONFLICT, _OTHER_CONTENT)
                continue
            self._tx.put(MODEL_EVENTS, [as_row(row)])
            data = declaration_of(arrival)
            if data is not None and self._declare(arrival, data, row):
                declared.append((data.model, data.model_version))
        return declared

    def _declare(self, arrival: Arrival, data: LoggedDeclaration, told: ModelEvent) -> bool:
        row = Declaration(
            model=data.model,
            model_version=data.model_version,
            shape=_encode(data.output_shape).decode(),
            data_digest=arrival.data_digest,
            id=arrival.event.id,
            source=arrival.event.source,
            at=arrival.at,
            received=arrival.received,
            later=data.model if data.later_versions is True else None,
        )
        known = self._tx.get(DECLARATIONS, [(row.model, row.model_version)])
        if known:
            first = Declaration.read(known[0])
            if (first.data_digest, first.later) != (row.data_digest, row.later):
                self._refuse(told, problems.DECLARATION_CONFLICT, _OTHER_SHAPE)
                return False
            if rank(row) > rank(first):
                return False
            # Said twice, it was declared when it was said first, whichever came first.
            row.received = first.received
        self._tx.put(DECLARATIONS, [as_row(row)])
        return True

    # 3. to 5.

    def settle(self) -> None:
        """Settle what was entered or loaded and what changes with it, and write the differences."""
        walks = deque(self._settlement.run())
        while walks:
            walk = walks.popleft()
            rows, rest = walk.page(self._tx, _PAGE)
            if rest is not None:
                walks.appendleft(rest)
            if rows:
                further = Fold(self._tx, self._views, self._marked_anew)
                further.load(rows)
                walks.extend(further._settlement.run())


_OTHER_CONTENT = "this source used the id before, for the same target, with another type, time or data"
_OTHER_SHAPE = "a declaration is immutable: declare a new model version"
