"""Join: every fact finds the prediction that it is about, or waits for it, visibly.

By prediction id, facts and prediction share a partition key. By join key, a fact belongs to that
key's prediction with the greatest (at, id) not later than itself; a better one that arrives late
moves it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from schemas import waits
from schemas.identity import unpack
from schemas.problems import MODEL_MISMATCH
from streams.store.tables import CaseEntry, Fact, Prediction


def contradicts(fact: Fact, prediction: Prediction | None) -> bool:
    """Whether a fact that names a prediction by its id names another model than the prediction's."""
    return prediction is not None and fact.model is not None and fact.model != prediction.model


def join_by_id(fact: Fact, prediction: Prediction | None) -> None:
    """Settle `pid`, `joined`, `code` and `waits_for` of a fact that names a prediction by its id."""
    fact.pid, fact.joined, fact.code, fact.waits_for = None, None, None, None
    if prediction is None:
        fact.waits_for = waits.for_prediction(unpack(fact.key[1:]))
    elif contradicts(fact, prediction):
        fact.code = MODEL_MISMATCH
    else:
        fact.pid, fact.joined = prediction.pid, max(fact.received, prediction.received)


def join_by_case(fact: Fact, prediction: Prediction | None) -> None:
    """The same for a fact by join key, given the prediction that was chosen."""
    fact.pid, fact.joined, fact.code, fact.waits_for = None, None, None, None
    if prediction is None:
        fact.waits_for = waits.for_join_key(fact.key[1:].decode())
    else:
        fact.pid, fact.joined = prediction.pid, max(fact.received, prediction.received)


class Case:
    """Some of the predictions that answer for one join key, in the order of (at, id)."""

    def __init__(self, entries: Iterable[CaseEntry]) -> None:
        self._entries = sorted(entries, key=lambda entry: (entry.at, entry.id, entry.source, entry.pid))
        self._instants = [entry.at for entry in self._entries]

    def at(self, instant: int) -> bytes | None:
        """The prediction that a fact of an instant belongs to: the greatest that is not later."""
        index = bisect_right(self._instants, instant)
        return self._entries[index - 1].pid if index else None

    def after(self, instant: int) -> int | None:
        """The instant of the next prediction that is later."""
        index = bisect_right(self._instants, instant)
        return self._instants[index] if index < len(self._instants) else None
