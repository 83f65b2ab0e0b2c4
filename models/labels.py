"""From people's votes to one label: majority, with its agreement.

One vote a person comes in; what a person's vote is was settled before. A better resolver can take
the place of `resolve`: nothing else knows how the label is found.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

GOLD, CORRECTION, CONFIRMATION = "gold", "correction", "confirmation"


class Vote(Struct, frozen=True, gc=False):
    """One person's say: the label as canonical JSON text, how it was given, and by which event."""

    label: str
    channel: str
    source: str
    id: str


class Candidate(Struct, frozen=True, gc=False):
    """A label that somebody voted for, with how many people did and by which (source, id) events."""

    label: str
    people: int
    events: tuple[tuple[str, str], ...]


class Resolution(Struct, frozen=True, gc=False):
    """The label (None in a tie), the winner's share of the votes, the voters, and every candidate.

    `channel` is how the winner was voted for: gold, correction if anybody corrected, else confirmation.
    """

    label: str | None
    agreement: float
    people: int
    channel: str | None
    candidates: tuple[Candidate, ...]


def resolve(votes: Sequence[Vote]) -> Resolution:
    """The majority among the votes, at least one; where there is gold, among the gold votes alone."""
    if len(votes) == 1:
        (vote,) = votes
        alone = Candidate(vote.label, 1, ((vote.source, vote.id),))
        return Resolution(vote.label, 1.0, 1, vote.channel, (alone,))
    candidates = _tally(votes)
    gold = [vote for vote in votes if vote.channel == GOLD]
    counted = _tally(gold) if gold else candidates
    people = sum(candidate.people for candidate in counted)
    winner = counted[0]
    tie = len(counted) > 1 and counted[1].people == winner.people
    if tie:
        return Resolution(None, winner.people / people, people, None, candidates)
    channels = {vote.channel for vote in gold or votes if vote.label == winner.label}
    channel = next(name for name in (GOLD, CORRECTION, CONFIRMATION) if name in channels)
    return Resolution(winner.label, winner.people / people, people, channel, candidates)


def _tally(votes: Sequence[Vote]) -> tuple[Candidate, ...]:
    events: dict[str, list[tuple[str, str]]] = {}
    for vote in votes:
        events.setdefault(vote.label, []).append((vote.source, vote.id))
    candidates = [Candidate(label, len(given), tuple(sorted(given))) for label, given in events.items()]
    return tuple(sorted(candidates, key=lambda candidate: (-candidate.people, candidate.label)))
