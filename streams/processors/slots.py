"""Amend and retract: which facts are taken back, and for what a fact stands as its person's candidate.

A person has slots on a prediction: one thumb, one confirmation, one correction; one action and one
reason of each word. What stands for a slot is settled by the set of its candidates: the latest counts.
"""

from __future__ import annotations

from functools import lru_cache

from schemas import kinds
from schemas.identity import unpack
from schemas.kinds import KINDS
from streams.store.tables import Fact

CORRECTION_SLOT, CONFIRMATION_SLOT = kinds.CORRECTION.short, kinds.CONFIRMATION.short
FITS, REFUSED, WAITS = "+", "-", "?"
"""Of a correction's slot: whether the label fits what was declared, or waits for that."""

# Packed ids of UUIDs and of other texts are each in the order of their texts, but not among each other.
_TEXT_ID = "~"


def rank(fact: Fact) -> tuple[int, str, str, bytes]:
    """What "latest" compares: the greatest (at, id, source, partition key)."""
    return fact.at, unpack(fact.id), fact.source, fact.key


def later(fact: Fact, other: Fact) -> bool:
    """Whether a fact is the latest of the two. Their instants nearly always tell."""
    if fact.at != other.at:
        return fact.at > other.at
    return rank(fact) > rank(other)


def may_retract(retraction: Fact, marked: Fact) -> bool:
    """Whether a retraction counts: from the same person, or from a server, which names none."""
    return KINDS[marked.kind].retractable and retraction.person in (None, marked.person)


def slot_of(fact: Fact) -> str | None:
    """The slot that a fact stands for, while it is joined and not retracted; None where all count.

    Without a person, each event is its own voter.
    """
    if fact.person is None:
        return None
    kind = KINDS[fact.kind]
    if kind.once == "person":
        name = kind.short
    elif kind.once == "word":
        name = f"{kind.short}:{fact.value}"
    else:
        return None
    return name + _TEXT_ID if fact.id[:1] == b"t" else name


def judged_slot(slot: str | None, judgement: str) -> str | None:
    """A correction's slot with what was judged about its label."""
    return None if slot is None else slot + judgement


@lru_cache(maxsize=4096)
def slot_name(slot: str) -> str:
    """What candidates compete for, whatever their ids look like and was judged about them."""
    return slot.rstrip(_TEXT_ID + FITS + REFUSED + WAITS)


def slots(name: str) -> tuple[str, ...]:
    """Every slot of a name."""
    if name != CORRECTION_SLOT:
        return name, name + _TEXT_ID
    return tuple(name + text + judgement for text in ("", _TEXT_ID) for judgement in (FITS, REFUSED, WAITS))


def fits_slot(slot: str | None) -> bool:
    """Whether a slot is that of corrections whose label fits."""
    return slot is not None and slot[-1] == FITS
