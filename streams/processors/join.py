"""Join: every fact finds the prediction that it is about, or waits for it, visibly.

By prediction id, facts and prediction share a partition key. By join key, a fact belongs to that
key's prediction with the greatest (at, id) not later than itself; a better one that arrives late
moves it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from schemas.identity import unpack
from schemas.problems import MODEL_MISMATCH
from streams.processors.amend import RETRACTION
from streams.store.tables import CaseEntry, Fact, Prediction

PREDICTION_MADE = "prediction.made"


def join_by_id(facts: Iterable[Fact], prediction: Prediction | None) -> None:
    """Settle `joined`, `code` and `waits_for` of the facts that name this prediction by its id."""
    for fact in facts:
        if fact.kind == PREDICTION_MADE:
            continue
        fact.code = None
        if prediction is None:
            fact.joined = None
            fact.waits_for = f"prediction:{unpack(fact.key[1:])}"
        elif fact.model is not None and fact.model != prediction.model:
            fact.joined, fact.waits_for, fact.code = None, None, MODEL_MISMATCH
        else:
            fact.joined = max(fact.received, prediction.received)
            fact.waits_for = None


class Case:
    """The predictions that answer for one join key, in the order of (at, id)."""

    def __init__(self, entries: Iterable[CaseEntry]) -> None:
        self._entries = sorted(entries, key=lambda entry: (entry.at, entry.id, entry.source, entry.pid))
        self._instants = [entry.at for entry in self._entries]

    def choose(self, fact: Fact) -> bytes | None:
        """The prediction that a fact belongs to: the greatest that is not later than the fact."""
        place = bisect_right(self._instants, fact.at)
        return self._entries[place - 1].pid if place else None


def join_by_case(fact: Fact, prediction: Prediction | None) -> None:
    """Settle `pid`, `joined` and `waits_for` of a fact by join key, given the prediction that was chosen."""
    if prediction is None:
        fact.pid, fact.joined = None, None
        fact.waits_for = f"join_key:{fact.key[1:].decode()}"
    else:
        fact.pid, fact.joined = prediction.pid, max(fact.received, prediction.received)
        fact.waits_for = None


def join_subject(fact: Fact) -> None:
    """Settle a fact about a subject: it needs no prediction."""
    if fact.kind != RETRACTION:
        fact.effective = int(not fact.retracted)
