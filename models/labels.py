"""From people's votes to one label: majority, with its agreement.

One vote a person comes in; what a person's vote is was settled before. A better resolver can take
the place of `resolve` and `decide`: nothing else knows how the label is found.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct

GOLD, CORRECTION, CONFIRMATION = "gold", "correction", "confirmation"


class Vote(Struct, frozen=True, gc=False):
    """One person's say: the label as canonical JSON text, how it was given, and by which event."""

    label: str
    channel: str
    source: str
    id: str


class Tally(Struct, gc=False):
    """How many people voted for one label: all of them, those of gold, and those who corrected."""

    label: str
    votes: int = 0
    gold: int = 0
    corrections: int = 0

    def count(self, channel: str, sign: int) -> None:
        """Add a vote, or take one back."""
        self.votes += sign
        if channel == GOLD:
            self.gold += sign
        elif channel == CORRECTION:
            self.corrections += sign


class Candidate(Struct, frozen=True, gc=False):
    """A label that somebody voted for, with how many people did and by which (source, id) events."""

    label: str
    people: int
    events: tuple[tuple[str, str], ...]


class LabelDecision(Struct, frozen=True, gc=False):
    """The label (None in a tie), the winner's share of the votes, and the voters.

    `channel` is how the winner was voted for: gold, correction if anybody corrected, else confirmation.
    """

    label: str | None
    agreement: float
    people: int
    channel: str | None


class Resolution(Struct, frozen=True, gc=False):
    """A decision, and every candidate, most votes first."""

    decision: LabelDecision
    candidates: tuple[Candidate, ...]


def decide(leaders: Sequence[Tally], votes: int, gold: int) -> LabelDecision:
    """The majority among the votes, at least one; where there is gold, among the gold votes alone.

    `leaders` are the first two by (gold, votes), of all that were voted for.
    """
    winner = leaders[0]
    people, given = (gold, winner.gold) if gold else (votes, winner.votes)
    if len(leaders) > 1 and given == (leaders[1].gold if gold else leaders[1].votes):
        return LabelDecision(None, given / people, people, None)
    channel = GOLD if gold else CORRECTION if winner.corrections else CONFIRMATION
    return LabelDecision(winner.label, given / people, people, channel)


def leading(tallies: Iterable[Tally]) -> list[Tally]:
    """The first two, as `decide` takes them."""
    return sorted(tallies, key=lambda tally: (tally.gold, tally.votes), reverse=True)[:2]


def resolve(votes: Sequence[Vote]) -> Resolution:
    """The label of some votes, at least one."""
    if len(votes) == 1:
        (vote,) = votes
        alone = Candidate(vote.label, 1, ((vote.source, vote.id),))
        return Resolution(LabelDecision(vote.label, 1.0, 1, vote.channel), (alone,))
    tallies: dict[str, Tally] = {}
    events: dict[str, list[tuple[str, str]]] = {}
    for vote in votes:
        tallies.setdefault(vote.label, Tally(vote.label)).count(vote.channel, 1)
        events.setdefault(vote.label, []).append((vote.source, vote.id))
    gold = sum(tally.gold for tally in tallies.values())
    candidates = [Candidate(label, len(given), tuple(sorted(given))) for label, given in events.items()]
    candidates.sort(key=lambda candidate: (-candidate.people, candidate.label))
    return Resolution(decide(leading(tallies.values()), len(votes), gold), tuple(candidates))
