"""Judgement: what declarations that have come change for labels that wait, or that were judged already.

A version is judged by its own declaration, or by one of its model's that serves later versions
(`streams.declarations`). Another one may take over: the version's own that comes late, or a greater one for
later versions. Then the labels of its predictions are judged again, and what no longer holds is withdrawn.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

from streams.declarations import for_later
from streams.fold import Fold
from streams.processors.join import PREDICTION_MADE
from streams.processors.labels import LABELLING
from streams.store.port import Range, Snapshot, Transaction
from streams.store.tables import (
    COUNTS,
    DECLARATIONS,
    FACTS,
    FACTS_FROM_CASES,
    PREDICTIONS,
    PREDICTIONS_BY_TIME,
    Declaration,
    Prediction,
    Row,
    picking,
)

_AT_ONCE = 10_000
_PREDICTIONS_AT_ONCE, _FACTS_AT_ONCE = 500, 500
_VERSIONS_AT_ONCE = 1000
_KIND = FACTS.columns.index("kind")


class Declared(NamedTuple):
    """What a model declared: the shape of each version that has one of its own, and that of all others."""

    own: dict[str, str]
    others: str | None

    def shape(self, version: str) -> str | None:
        """What a version may answer, as JSON; None while nothing serves it."""
        return self.own.get(version, self.others)


def declared(snapshot: Snapshot, models: Collection[str]) -> dict[str, Declared]:
    """What each of these models has declared so far."""
    own: dict[str, dict[str, str]] = {model: {} for model in models}
    for row in snapshot.get(DECLARATIONS, [(model,) for model in models]):
        own[row[0]][row[1]] = Declaration(*row).shape
    common = for_later(snapshot, models)
    return {model: Declared(own[model], common[model].shape if model in common else None) for model in models}


def judge_again(transaction: Transaction, model: str, before: Declared, after: Declared) -> None:
    """Settle all that a change of a model's declarations changes. The transaction is alone."""
    if before == after:
        return
    for version in _waiting(transaction, model):
        if after.shape(version) is not None:
            _judge_waiting(transaction, f"declaration:{model}@{version}")
    if before.others is None:
        # Whatever was judged was judged by its version's own declaration, and that never changes.
        return
    rows = transaction.totals(COUNTS, ["model_version"], {"model": model, "kind": PREDICTION_MADE})
    changed = {
        version: n
        for version, n, _ in rows
        if before.shape(version) is not None and before.shape(version) != after.shape(version)
    }
    pids = _predictions(transaction, model, changed)
    while some := list(islice(pids, _PREDICTIONS_AT_ONCE)):
        _judge_said_of(transaction, some)


def _waiting(snapshot: Snapshot, model: str) -> Iterator[str]:
    """The versions of a model for whose declaration something waits."""
    prefix = f"declaration:{model}@"
    within, last = Range(prefix, prefix + "\U0010ffff"), None
    while names := snapshot.distinct(FACTS, "waits_for", within, after=last, limit=_VERSIONS_AT_ONCE):
        yield from (name.removeprefix(prefix) for name in names)
        last = names[-1]


def _judge_waiting(transaction: Transaction, waits_for: str) -> None:
    """Settle what waited for a declaration that has come; a bounded number of facts at a time."""
    last = None
    while True:
        rows = list(transaction.scan(FACTS, {"waits_for": waits_for}, after=last, limit=_AT_ONCE))
        if not rows:
            return
        last = rows[-1][:3]
        _settle(transaction, rows)


def _predictions(transaction: Transaction, model: str, versions: dict[str, int]) -> Iterator[bytes]:
    """The predictions of these versions of a model, each of which has so many.

    They are looked for from the newest on, and no further than they all are found: a version that begins to
    be declared has mostly made the latest.
    """
    left = sum(versions.values())
    before = None
    while left > 0:
        rows = transaction.newest(PREDICTIONS, PREDICTIONS_BY_TIME, model, before=before, limit=_AT_ONCE)
        if not rows:
            return
        last = Prediction(*rows[-1])
        before = (last.at, last.pid)
        found = [row[0] for row in rows if Prediction(*row).model_version in versions]
        left -= len(found)
        yield from found


def _judge_said_of(transaction: Transaction, pids: Sequence[bytes]) -> None:
    """Settle all labels that were given to these predictions, by their ids and by join keys."""
    for index in (FACTS.by_key, FACTS_FROM_CASES):
        whose, place = picking(FACTS, index.columns[:1]), picking(FACTS, index.order)
        starts: list[Row] = [(pid,) for pid in pids]
        while starts:
            rows = transaction.along(FACTS, index, starts, fixed=1, limit=_FACTS_AT_ONCE)
            _settle(transaction, [row for row in rows if row[_KIND] in LABELLING])
            counts = Counter(map(whose, rows))
            last = {whose(row): place(row) for row in rows}
            starts = [last[pid] for pid, count in counts.items() if count == _FACTS_AT_ONCE]


def _settle(transaction: Transaction, rows: Iterable[Row]) -> None:
    fold = Fold(transaction)
    fold.load(rows)
    fold.settle()
