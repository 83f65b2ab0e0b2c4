"""Judgement: what declarations that have come change for labels that wait, or that were judged already.

A version is judged by its own declaration, or by one of its model's that serves later versions
(`streams.fold.declarations`). Another one may take over: the version's own that comes late, or a greater one
for later versions. Then what was said of its predictions is judged again, and what no longer holds is
withdrawn.

What is read for it are the declarations that came and those of versions that were judged by another, never
all of a model's; and of what was said only corrections and confirmations.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from schemas import kinds, waits
from streams.fold.declarations import Version, for_later
from streams.fold.fold import Fold
from streams.store.port import Range, Snapshot, Transaction
from streams.store.tables import (
    COUNTS,
    DECLARATIONS,
    FACTS,
    FACTS_BY_TIME,
    PREDICTIONS,
    Declaration,
    Fact,
    Prediction,
    Row,
    picking,
)
from streams.views.port import Views

_WAITING_AT_ONCE = 10_000
_SAID_AT_ONCE = 1_000
_VERSIONS_AT_ONCE = 1_000
_behind = picking(FACTS, FACTS_BY_TIME.columns[1:])
_key = picking(FACTS, FACTS.key)
_declared_version = DECLARATIONS.column("model_version")


class Declared(NamedTuple):
    """What a model declared: the shape of each version asked for that has its own, and that of all others."""

    own: dict[str, str]
    others: str | None


def declared(snapshot: Snapshot, versions: Collection[Version]) -> dict[str, Declared]:
    """What the models of these versions have declared so far, for these versions and for those without."""
    models = {model for model, _ in versions}
    own: dict[str, dict[str, str]] = {model: {} for model in models}
    for each in Declaration.read_all(snapshot.get(DECLARATIONS, sorted(versions))):
        own[each.model][each.model_version] = each.shape
    common = for_later(snapshot, models)
    return {model: Declared(own[model], common[model].shape if model in common else None) for model in models}


def judge_again(
    transaction: Transaction, views: Views, model: str, before: Declared, after: Declared
) -> None:
    """Settle all that a change of a model's declarations changes. The transaction is alone."""
    if before == after:
        return
    if before.others is None:
        # What was judged was judged by its version's own declaration, and that never changes.
        for version in after.own if after.others is None else _waiting(transaction, model):
            _judge_waiting(transaction, views, waits.for_declaration(model, version))
        return
    # Nothing waits. What no declaration of its own serves was judged by the one for later versions.
    for kind in sorted(kinds.VOTING):
        rows = transaction.totals(COUNTS, ["model_version"], {"model": model, "kind": kind})
        judged = {version: events for version, _, events in rows if events}
        changed = _taken_over(transaction, model, judged, before, after)
        _judge_again(transaction, views, model, kind, {version: judged[version] for version in changed})


def _taken_over(
    snapshot: Snapshot, model: str, judged: Iterable[str], before: Declared, after: Declared
) -> set[str]:
    """Those of some versions that another declaration serves now, with another shape."""
    arrived = after.own.keys() - before.own.keys()
    changed = {version for version in arrived.intersection(judged) if after.own[version] != before.others}
    if before.others == after.others:
        return changed
    rest = sorted(set(judged) - after.own.keys())
    for start in range(0, len(rest), _VERSIONS_AT_ONCE):
        some = rest[start : start + _VERSIONS_AT_ONCE]
        rows = snapshot.get(DECLARATIONS, [(model, version) for version in some])
        changed.update(set(some).difference(map(_declared_version, rows)))
    return changed


def _waiting(snapshot: Snapshot, model: str) -> Iterator[str]:
    """The versions of a model for whose declaration something waits."""
    prefix = waits.for_declaration(model, "")
    within, last = Range(prefix, prefix + "\U0010ffff"), None
    while names := snapshot.distinct(FACTS, "waits_for", within, after=last, limit=_VERSIONS_AT_ONCE):
        yield from (name.removeprefix(prefix) for name in names)
        last = names[-1]


def _judge_waiting(transaction: Transaction, views: Views, waits_for: str) -> None:
    """Settle what waited for a declaration that has come; a bounded number of facts at a time."""
    last = None
    while True:
        rows = list(transaction.scan(FACTS, {"waits_for": waits_for}, after=last, limit=_WAITING_AT_ONCE))
        if not rows:
            return
        last = _key(rows[-1])
        _settle(transaction, views, rows)


def _judge_again(
    transaction: Transaction, views: Views, model: str, kind: str, versions: dict[str, int]
) -> None:
    """Settle what was said in one way of the predictions of some versions; a bounded number at a time.

    It is looked for from the newest on, and no further than it all is found, for the counts say how much
    there is: a version that begins to be declared is mostly spoken of in the latest.
    """
    left = sum(versions.values())
    before = None
    while left > 0:
        rows = transaction.newest(FACTS, FACTS_BY_TIME, kind, before=before, limit=_SAID_AT_ONCE)
        if not rows:
            return
        before = _behind(rows[-1])
        found = _feedback_of(transaction, rows, model, versions)
        left -= len(found)
        if found:
            _settle(transaction, views, found)


def _feedback_of(snapshot: Snapshot, rows: list[Row], model: str, versions: Collection[str]) -> list[Row]:
    """Those of some facts that count as events of the predictions of some versions, and so are judged."""
    facts = list(Fact.read_all(rows))
    pids = {fact.pid for fact in facts if fact.pid is not None}
    predictions = Prediction.read_all(snapshot.get(PREDICTIONS, [(pid,) for pid in pids]))
    theirs = {each.pid for each in predictions if each.model == model and each.model_version in versions}
    return [
        row
        for row, fact in zip(rows, facts, strict=True)
        if fact.pid in theirs and fact.joined is not None and not fact.retracted
    ]


def _settle(transaction: Transaction, views: Views, rows: Iterable[Row]) -> None:
    fold = Fold(transaction, views)
    fold.load(rows)
    fold.settle()
