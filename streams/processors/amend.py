"""Amend and retract: which facts are taken back, and which one of a person's votes counts.

Both are functions of the set of facts, whatever order they came in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from schemas.identity import unpack
from streams.store.tables import Fact

RETRACTION = "feedback.retraction"
THUMB = "feedback.thumb"
REASON = "feedback.reason"

_ONE_A_PERSON = frozenset({THUMB, "feedback.confirmation", "feedback.correction"})
_ONE_A_WORD = frozenset({"feedback.action", REASON})


def rank(fact: Fact) -> tuple[int, str, str, bytes]:
    """What "latest" compares: the greatest (at, id, source, partition key)."""
    return fact.at, unpack(fact.id), fact.source, fact.key


def later(fact: Fact, other: Fact) -> bool:
    """Whether a fact is the latest of the two. Their instants nearly always tell."""
    if fact.at != other.at:
        return fact.at > other.at
    return rank(fact) > rank(other)


def mark_retracted(facts: Mapping[tuple[bytes, str], Fact]) -> None:
    """Settle `retracted` for all facts of one partition key, and what its retractions wait for.

    A retraction counts from the same person, or when it names none. It marks one feedback event of the
    same source and key; a thumb takes the reasons that explain it along.
    """
    retractions = [fact for fact in facts.values() if fact.kind == RETRACTION]
    for fact in facts.values():
        fact.retracted, fact.retracted_at = 0, None
    for retraction in retractions:
        if retraction.code is not None:
            retraction.effective = 0
            continue
        assert retraction.explains is not None
        marked = facts.get((retraction.explains, retraction.source))
        retraction.waits_for = None if marked else f"event:{unpack(retraction.explains)}"
        counts = marked is not None and _may_retract(retraction, marked)
        retraction.effective = int(counts)
        if counts and marked is not None:
            _retract(marked, retraction.at)
    for fact in facts.values():
        if fact.kind == REASON and fact.explains is not None:
            thumb = facts.get((fact.explains, fact.source))
            if thumb is not None and thumb.kind == THUMB and thumb.retracted_at is not None:
                _retract(fact, thumb.retracted_at)


def _may_retract(retraction: Fact, marked: Fact) -> bool:
    retractable = marked.kind.startswith("feedback.") and marked.kind != RETRACTION
    return retractable and retraction.person in (None, marked.person)


def _retract(fact: Fact, at: int) -> None:
    fact.retracted = 1
    fact.waits_for = None
    fact.retracted_at = at if fact.retracted_at is None else min(at, fact.retracted_at)


def settle_effective(facts: Iterable[Fact]) -> None:
    """Settle `effective` among the facts joined to one prediction: what counts in `n`.

    Per person one thumb, one confirmation, one correction: the latest. Per person and word one action
    and one reason. Everything else counts each time. Without a person, each event is its own voter.
    """
    best: dict[tuple[str, str, str | None], Fact] = {}
    for fact in facts:
        if fact.kind == RETRACTION:
            continue
        fact.effective = 0
        if fact.retracted or fact.joined is None:
            continue
        by_word = fact.kind in _ONE_A_WORD
        if fact.person is None or not (by_word or fact.kind in _ONE_A_PERSON):
            fact.effective = 1
            continue
        voter = (fact.person, fact.kind, fact.value if by_word else None)
        other = best.get(voter)
        if other is None or later(fact, other):
            best[voter] = fact
    for fact in best.values():
        fact.effective = 1
