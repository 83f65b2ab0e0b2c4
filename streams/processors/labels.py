"""Labels and overrides: what people say the right answer of one prediction is.

Corrections and yes-confirmations are votes, checked against the declared output of exactly the
prediction's model version; without that declaration they wait. A correction that does not fit keeps
counting as feedback; only its label is refused. A person's own correction is also that person's
override for the same input.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, json

from models.labels import CONFIRMATION, CORRECTION, GOLD, Vote, resolve
from schemas.identity import unpack
from schemas.problems import LABEL_INVALID
from schemas.shapes import Shape
from streams.processors.amend import later
from streams.store.tables import Fact, Label, Override, Prediction

Fits = Shape
"""Whether a label, as canonical JSON text, fits a declared shape."""

CORRECTING = "feedback.correction"
CONFIRMING = "feedback.confirmation"
LABELLING = frozenset({CORRECTING, CONFIRMING})

_encode = json.Encoder().encode


def settle_labels(prediction: Prediction, facts: Sequence[Fact], fits: Fits | None) -> list[Fact]:
    """Settle `label_used`, `code` and `waits_for` of the labelling facts joined to a prediction.

    Returns the facts that are votes, one a voter. `fits` is None while the version is not declared.
    """
    proposals: dict[str | tuple[str, bytes, bytes], Fact] = {}
    for fact in facts:
        if fact.kind not in LABELLING or fact.joined is None:
            continue
        fact.label_used = 0
        fact.waits_for = None
        # Standing anew: a verdict that no longer holds is withdrawn.
        fact.code = None
        if not _is_vote(prediction, fact, fits):
            continue
        voter = fact.person if fact.person is not None else (fact.source, fact.id, fact.key)
        other = proposals.get(voter)
        if other is None or later(fact, other):
            proposals[voter] = fact
    for fact in proposals.values():
        fact.label_used = 1
    return list(proposals.values())


def _is_vote(prediction: Prediction, fact: Fact, fits: Fits | None) -> bool:
    if fact.retracted:
        return False
    if fact.kind == CONFIRMING and (fact.value != "yes" or not fact.effective):
        return False
    if fits is None:
        fact.waits_for = f"declaration:{prediction.model}@{prediction.model_version}"
        return False
    if fact.kind == CONFIRMING:
        return fits(prediction.output)
    assert fact.label is not None
    if not fits(fact.label):
        fact.code = LABEL_INVALID
        return False
    return True


class _Candidate(Struct, gc=False):
    """A label that somebody voted for, as pages show it."""

    label: str
    people: int
    events: list[_Event]


class _Event(Struct, gc=False):
    id: str
    source: str


def label_row(prediction: Prediction, votes: Sequence[Fact]) -> Label | None:
    """The label of a prediction by its votes; None without any."""
    if not votes:
        return None
    resolution = resolve([_vote(prediction, fact) for fact in votes])
    candidates = [
        _Candidate(
            candidate.label,
            candidate.people,
            [_Event(event_id, source) for source, event_id in candidate.events],
        )
        for candidate in resolution.candidates
    ]
    return Label(
        prediction.model,
        prediction.pid,
        prediction.env,
        resolution.label,
        resolution.agreement,
        resolution.people,
        resolution.channel,
        len(candidates),
        _encode(candidates).decode(),
    )


def _vote(prediction: Prediction, fact: Fact) -> Vote:
    if fact.kind == CONFIRMING:
        return Vote(prediction.output, CONFIRMATION, fact.source, unpack(fact.id))
    assert fact.label is not None
    return Vote(fact.label, GOLD if fact.gold else CORRECTION, fact.source, unpack(fact.id))


def override_rows(prediction: Prediction, facts: Sequence[Fact], fits: Fits | None) -> list[Override]:
    """What each person who corrected this prediction gets next time for the same input."""
    if prediction.input_ref is None or fits is None:
        return []
    latest: dict[str, Fact] = {}
    for fact in facts:
        stands = fact.kind == CORRECTING and fact.joined is not None and not fact.retracted
        if not stands or fact.person is None or fact.code is not None:
            continue
        other = latest.get(fact.person)
        if other is None or later(fact, other):
            latest[fact.person] = fact
    return [_override(prediction, person, fact) for person, fact in latest.items()]


def _override(prediction: Prediction, person: str, fact: Fact) -> Override:
    assert prediction.input_ref is not None
    assert fact.label is not None
    return Override(
        prediction.model,
        person,
        prediction.input_ref,
        prediction.pid,
        prediction.env,
        fact.label,
        unpack(fact.id),
        fact.source,
        fact.at,
    )
