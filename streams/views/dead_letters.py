"""Dead letters: what was refused, by the collector or by the worker's verdict, and what came of it.

A verdict on a fact is withdrawn when it no longer holds. What an event says that it was is kept as a claim:
whether it is true, who reads it can tell.
"""

from __future__ import annotations

from schemas import problems
from schemas.identity import unpack
from schemas.kinds import KINDS
from streams.store.tables import (
    DEAD_LETTERS,
    REPLAYED,
    DeadLetterRow,
    Fact,
    Prediction,
    Replayed,
    as_row,
)
from streams.views.port import Agenda, View

_DETAILS = {
    problems.MODEL_MISMATCH: "the prediction was made by another model than `model` says",
    problems.PREDICTION_CONFLICT: "this prediction id was used before, with other data",
}


class DeadLetters(View):
    """Refused items and verdicts by their place in the log, and what events say which of them they were."""

    tables = (DEAD_LETTERS, REPLAYED)
    kinds = frozenset(kind.name for kind in KINDS.values() if not kind.about_model)

    def __init__(self, agenda: Agenda) -> None:
        super().__init__(agenda)
        self._replays: list[Replayed] = []

    def add_letter(self, letter: DeadLetterRow) -> None:
        self.agenda.changes.put(DEAD_LETTERS, as_row(letter))

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        if fact.code is None:
            if before is not None and before.code is not None:
                self.agenda.changes.delete(DEAD_LETTERS, (fact.partition, fact.offset, fact.place))
        elif before is None or before.code != fact.code:
            self.add_letter(self._verdict(fact, fact.code, about))

    def _verdict(self, fact: Fact, code: str, prediction: Prediction | None) -> DeadLetterRow:
        return DeadLetterRow(
            partition=fact.partition,
            offset=fact.offset,
            place=fact.place,
            code=code,
            detail=_DETAILS[code] if code in _DETAILS else self._misfit(fact, prediction),
            id=unpack(fact.id),
            source=fact.source,
            type=KINDS[fact.kind].type,
            received=fact.received,
            model=fact.model if prediction is None else prediction.model,
            env=fact.env if prediction is None else prediction.env,
        )

    def _misfit(self, fact: Fact, prediction: Prediction | None) -> str:
        """Why a label does not fit what was declared."""
        shape = None if prediction is None else self.agenda.shape_of(prediction)
        assert shape is not None
        assert fact.label is not None
        return shape.verdict(fact.label).value

    def add_replay(self, replay: Replayed) -> None:
        self._replays.append(replay)

    def finish(self) -> None:
        """Keep what events claim to have been; of several that claim the same, the instant of the latest."""
        if not self._replays:
            return
        keys = {(row.dead_letter, row.claim, row.partition) for row in self._replays}
        known = Replayed.read_all(self.agenda.snapshot.get(REPLAYED, keys))
        latest: dict[tuple[str, bytes, int], Replayed] = {}
        for row in (*known, *self._replays):
            key = row.dead_letter, row.claim, row.partition
            if key not in latest or row.received > latest[key].received:
                latest[key] = row
        for row in latest.values():
            self.agenda.changes.put(REPLAYED, as_row(row))
