"""Locks on what a batch changes: join keys, then predictions, so that several writers follow each other.

A writer changes facts by join key while it holds the locks of the key and of the prediction that they are
joined to. It reads which prediction that is once it holds the key, and everything else once it holds the
predictions.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from schemas import kinds
from schemas.identity import JOIN_KEY, PREDICTION, join_key
from streams.processors.slots import may_retract
from streams.store.port import Transaction
from streams.store.tables import (
    CASES,
    CASES_BY_TIME,
    FACTS,
    FACTS_BY_EXPLAINED,
    Fact,
    Prediction,
    picking,
)
from streams.views.working_set import FactKey, fact_key

_PAGE = 5_000
_case_pid = CASES.column("pid")
_pid = FACTS.column("pid")


def lock_what_changes(tx: Transaction, made: Sequence[Prediction], facts: Sequence[Fact]) -> None:
    """Hold the join keys of a batch's events, and the predictions of which something may change."""
    by_case = [fact for fact in facts if fact.key[:1] == JOIN_KEY]
    entries = [(join_key(row.model, row.join_key), row.at) for row in made if row.join_key is not None]
    tx.lock_join_keys(sorted({fact.key for fact in by_case} | {key for key, _ in entries}))
    pids = {row.pid for row in made}
    pids.update(fact.key for fact in facts if fact.key[:1] == PREDICTION)
    instants = {(key, at + 1) for key, at in entries}
    instants.update((fact.key, fact.at + 1) for fact in by_case)
    # What a fact belongs to, and what a new prediction takes facts over from.
    before = tx.along(CASES, CASES_BY_TIME, sorted(instants), fixed=1, limit=1, descending=True)
    pids.update(map(_case_pid, before))
    pids.update(_retracted(tx, by_case))
    tx.lock_predictions(sorted(pids))


def _retracted(tx: Transaction, facts: Sequence[Fact]) -> Iterable[bytes]:
    """The predictions of what these facts retract, and of the reasons that go with a thumb.

    Reasons change only when their thumb begins to be retracted: not with a further retraction, nor with one
    that does not count, nor with a copy of the thumb.
    """
    naming: defaultdict[FactKey, list[Fact]] = defaultdict(list)
    for fact in facts:
        if fact.kind == kinds.RETRACTION.name and fact.explains:
            naming[fact.key, fact.explains, fact.source].append(fact)
    thumbs = {fact_key(fact) for fact in facts if fact.kind == kinds.THUMB.name}
    known = Fact.read_all(tx.get(FACTS, sorted(naming.keys() | thumbs)))
    stored = {fact_key(fact): fact for fact in known}
    found = {fact.pid for key, fact in stored.items() if key in naming and fact.pid is not None}
    doomed: list[FactKey] = [
        key
        for key, fact in stored.items()
        if fact.kind == kinds.THUMB.name
        and fact.retracted_at is None
        and any(may_retract(retraction, fact) for retraction in naming.get(key, ()))
    ]
    new = sorted(thumbs - stored.keys())
    doomed += [key for key in new if key in naming]
    starts = [(key, id_, kinds.RETRACTION.name, source) for key, id_, source in new]
    for row in tx.along(FACTS, FACTS_BY_EXPLAINED, starts, fixed=4, limit=1):
        retraction = Fact.read(row)
        assert retraction.explains is not None
        doomed.append((retraction.key, retraction.explains, retraction.source))
    for key, id_, source in doomed:
        start: tuple[object, ...] | None = (key, id_, kinds.REASON.name, source)
        while start is not None:
            rows = tx.along(FACTS, FACTS_BY_EXPLAINED, [start], fixed=4, limit=_PAGE)
            found.update(pid for pid in map(_pid, rows) if pid is not None)
            start = picking(FACTS, FACTS_BY_EXPLAINED.order)(rows[-1]) if len(rows) == _PAGE else None
    return found
