"""Labels from votes: the majority, gold above any number of others, and no label in a tie."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.labels import (
    CONFIRMATION,
    CORRECTION,
    GOLD,
    Candidate,
    LabelDecision,
    Tally,
    Vote,
    decide,
    leading,
    resolve,
)

LABELS = st.sampled_from(['"a"', '"b"', '"c"'])
CHANNELS = st.sampled_from([GOLD, CORRECTION, CONFIRMATION])


@st.composite
def votes(draw: st.DrawFn) -> list[Vote]:
    """Some votes, one a person, each by an event of its own."""
    drawn = draw(st.lists(st.tuples(LABELS, CHANNELS), min_size=1, max_size=12))
    return [Vote(label, channel, "/shop", f"e-{n}") for n, (label, channel) in enumerate(drawn)]


def vote(label: str, channel: str = CORRECTION, event: str = "e-1") -> Vote:
    """One vote."""
    return Vote(label, channel, "/shop", event)


def test_the_majority_wins() -> None:
    """Two of three votes make the label, and every candidate is listed with its events, most votes first."""
    given_votes = [vote("x", event="e-1"), vote("y", event="e-2"), vote("x", event="e-3")]
    found = resolve(given_votes)
    assert found.decision == LabelDecision("x", 2 / 3, 3, CORRECTION)
    assert found.candidates == (
        Candidate("x", 2, (("/shop", "e-1"), ("/shop", "e-3"))),
        Candidate("y", 1, (("/shop", "e-2"),)),
    )


def test_a_tie_gives_no_label() -> None:
    """Where two labels have as many votes there is none, nor a channel; both are candidates."""
    found = resolve([vote("x", event="e-1"), vote("y", event="e-2")])
    assert found.decision == LabelDecision(None, 0.5, 2, None)
    assert {each.label for each in found.candidates} == {"x", "y"}


def test_one_gold_vote_outranks_any_number() -> None:
    """Gold votes are tallied alone: agreement and people are those of gold."""
    others = [vote("x", event=f"e-{n}") for n in range(50)]
    assert resolve([*others, vote("y", GOLD, "e-99")]).decision == LabelDecision("y", 1.0, 1, GOLD)


def test_a_tie_of_gold_is_a_tie() -> None:
    """However many others agree with one of the two."""
    others = [vote("x", event=f"e-{n}") for n in range(50)]
    found = resolve([*others, vote("x", GOLD, "g-1"), vote("y", GOLD, "g-2")])
    assert found.decision == LabelDecision(None, 0.5, 2, None)


@pytest.mark.parametrize(
    "channels, said",
    [([CONFIRMATION, CONFIRMATION], CONFIRMATION), ([CONFIRMATION, CORRECTION], CORRECTION)],
)
def test_the_channel_is_how_the_winner_was_voted_for(channels: list[str], said: str) -> None:
    """A correction if anybody corrected, else a confirmation."""
    found = resolve([vote("x", channel, f"e-{n}") for n, channel in enumerate(channels)])
    assert found.decision.channel == said


@given(votes(), st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(given_votes: list[Vote], chance: Random) -> None:
    """A label is a function of the set of its votes."""
    shuffled = list(given_votes)
    chance.shuffle(shuffled)
    assert resolve(shuffled) == resolve(given_votes)


@given(votes())
def test_the_winner_has_most_votes(given_votes: list[Vote]) -> None:
    """Agreement is the winner's votes of all that decide, which are the gold ones where there are any."""
    deciding = [each for each in given_votes if each.channel == GOLD] or given_votes
    counted = Counter(each.label for each in deciding)
    most = max(counted.values())
    decision = resolve(given_votes).decision
    assert (decision.people, decision.agreement) == (len(deciding), most / len(deciding))
    winners = [label for label, n in counted.items() if n == most]
    assert decision.label == (winners[0] if len(winners) == 1 else None)


@given(votes())
def test_tallies_decide_as_votes_do(given_votes: list[Vote]) -> None:
    """Counting votes label by label, and deciding by the first two, gives what all votes give."""
    tallies: dict[str, Tally] = {}
    for each in given_votes:
        tallies.setdefault(each.label, Tally(each.label)).count(each.channel, 1)
    gold = sum(tally.gold for tally in tallies.values())
    decision = decide(leading(tallies.values()), len(given_votes), gold)
    assert decision == resolve(given_votes).decision


@given(votes(), votes())
def test_a_tally_takes_back_what_it_counted(kept: list[Vote], withdrawn: list[Vote]) -> None:
    """Votes that came and went leave nothing."""
    tally = Tally("x")
    for each in (*withdrawn, *kept):
        tally.count(each.channel, 1)
    for each in withdrawn:
        tally.count(each.channel, -1)
    plain = Tally("x")
    for each in kept:
        plain.count(each.channel, 1)
    assert tally == plain
