"""Reconciling: one look of one decider. The difference between what should be and what was decided is sent.

1. read what the decider judges by: the outside first, then the views;
2. judge what should be, and leave out what the views hold, as an event or as its dead letter;
3. send the event of each decision that is left, until the log has acknowledged it;
4. wait until the views hold what the log acknowledged, before the next look.

Nothing is remembered on disk. A process that dies at a step leaves the same difference, or less of it: the
next look finds that and sends the same events with the same ids, and each counts once. Step 4 is the
runner's; it only spares the log a second copy.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple, TypeVar

from streams.crash_points import reached
from streams.deciders.port import Decider, Decision, DecisionRefused, Send
from streams.store.port import Snapshot, Store
from streams.store.tables import DEAD_LETTERS, DeadLetterRow

S = TypeVar("S")


class Reconciled(NamedTuple):
    """What a look did: which events are in the log now, which were refused, and where the log stands."""

    sent: list[Decision]
    refused: list[tuple[Decision, DecisionRefused]]
    position: str | None


def reconcile(decider: Decider[S], store: Store, send: Send, *, refused_too: bool = False) -> Reconciled:
    """Look once, and send what is missing. Raises what reading and sending raise; what was sent is sent.

    Args:
        refused_too: send what was refused before once more, because a person asks for it.
    """
    seen = decider.read(store)
    reached("decide.1")
    missing = difference(decider, seen, store, refused_too=refused_too)
    done = Reconciled([], [], None)
    if not missing:
        return done
    reached("decide.2")
    for decision in missing:
        try:
            position = send(decision.event())
            done.sent.append(decision)
        except DecisionRefused as refusal:
            # The others may be taken all the same.
            position = refusal.position
            done.refused.append((decision, refusal))
        reached("decide.3")
        done = done._replace(position=position or done.position)
    return done


def difference(decider: Decider[S], seen: S, store: Store, *, refused_too: bool = False) -> list[Decision]:
    """The decisions that should be and of which the views have no event, nor a dead letter."""
    wanted = list(decider.judge(seen))
    if not wanted:
        return []
    with store.snapshot() as views:
        settled = decider.decided(views, wanted)
        if not refused_too:
            settled |= refused_before(views, wanted)
    return [decision for decision in wanted if decision.id not in settled]


def refused_before(views: Snapshot, decisions: Collection[Decision]) -> set[str]:
    """The ids of those of the decisions whose event is among the dead letters: a person puts it back."""
    rows = views.find(DEAD_LETTERS, "id", [decision.id for decision in decisions])
    letters = {(letter.id, letter.source) for letter in DeadLetterRow.read_all(rows)}
    return {decision.id for decision in decisions if (decision.id, decision.source) in letters}
