"""Labels: what people say the right answer of one prediction is.

Corrections and yes-confirmations are votes, checked against the declared output of exactly the
prediction's model version; without that declaration they wait. A correction that does not fit keeps
counting as feedback; only its label is refused.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b

from msgspec import Struct, json

from models.labels import CONFIRMATION, CORRECTION, GOLD, Candidate, Vote
from schemas import kinds, waits
from schemas.identity import unpack
from schemas.problems import LABEL_INVALID
from schemas.shapes import Shape
from streams.processors.slots import FITS, REFUSED, WAITS, fits_slot, judged_slot, later, slot_of
from streams.store.tables import Fact, Prediction

Fits = Shape
"""Whether a label, as canonical JSON text, fits a declared shape."""

_encode = json.Encoder().encode

_NO_OUTPUT = "null"
_LONGEST_NAME = 48


def label_name(label: str) -> bytes:
    """A label as a key: the text itself where it is short, else its digest."""
    text = label.encode()
    # No text in UTF-8 begins with this byte.
    return text if len(text) <= _LONGEST_NAME else b"\xff" + blake2b(text, digest_size=16).digest()


def label_of(fact: Fact, output: str) -> str:
    """The label that a correction, or a yes-confirmation of an output, votes for."""
    return output if fact.label is None else fact.label


def channel_of(fact: Fact) -> str:
    """How a fact votes."""
    if fact.kind == kinds.CONFIRMATION.name:
        return CONFIRMATION
    return GOLD if fact.gold else CORRECTION


def vote_of(fact: Fact, output: str) -> Vote:
    """A fact about a prediction with this output as a vote."""
    return Vote(label_of(fact, output), channel_of(fact), fact.source, unpack(fact.id))


class _Event(Struct, gc=False):
    id: str
    source: str


class _Listed(Struct, gc=False):
    label: str
    people: int
    events: list[_Event]


def listed_text(candidates: Iterable[Candidate]) -> str:
    """Candidates with all their events as JSON: what a label's row holds while they are few."""
    listed = [
        _Listed(each.label, each.people, [_Event(event_id, source) for source, event_id in each.events])
        for each in candidates
    ]
    return _encode(listed).decode()


def judge(fact: Fact, prediction: Prediction, fits: Fits | None) -> None:
    """Settle `code`, `waits_for` and `slot` of a correction that is joined and not retracted.

    `fits` is None while the version is not declared.
    """
    assert fact.label is not None
    if fits is None:
        fact.waits_for, judgement = _declaration(prediction), WAITS
    elif fits(fact.label):
        judgement = FITS
    else:
        fact.code, judgement = LABEL_INVALID, REFUSED
    fact.slot = judged_slot(slot_of(fact), judgement)


def _declaration(prediction: Prediction) -> str:
    return waits.for_declaration(prediction.model, prediction.model_version)


def vote_alone(fact: Fact, prediction: Prediction, fits: Fits | None) -> None:
    """Settle `vote` of a fact that no person gave, which is its own voter."""
    if fact.kind == kinds.CORRECTION.name:
        votes = fact.effective == 1 and fits is not None and fact.code is None
    else:
        votes = _confirms(fact, prediction, fits)
    fact.vote = label_name(label_of(fact, prediction.output)) if votes else None


def _confirms(fact: Fact, prediction: Prediction, fits: Fits | None) -> bool:
    """Whether a confirmation votes for the output; settles `waits_for` on the way."""
    fact.waits_for = None
    if not fact.effective or fact.value != "yes" or prediction.output == _NO_OUTPUT:
        return False
    if fits is None:
        fact.waits_for = _declaration(prediction)
        return False
    return fits(prediction.output)


def vote_once(facts: Iterable[Fact], prediction: Prediction, fits: Fits | None) -> None:
    """Settle `vote` among one person's candidates: it is the latest of fitting correction and yes."""
    chosen: Fact | None = None
    for fact in facts:
        fact.vote = None
        if fact.kind == kinds.CONFIRMATION.name:
            votes = _confirms(fact, prediction, fits)
        else:
            votes = fits_slot(fact.slot)
        if votes and (chosen is None or later(fact, chosen)):
            chosen = fact
    if chosen is not None:
        chosen.vote = label_name(label_of(chosen, prediction.output))
