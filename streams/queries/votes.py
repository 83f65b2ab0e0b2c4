"""The votes behind a label: with the label while they are few, else read from the facts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import json

from models.labels import resolve
from schemas.identity import unpack
from streams.processors.votes import listed_text, vote_of
from streams.store.port import Snapshot
from streams.store.tables import (
    CANDIDATES,
    CANDIDATES_BY_VOTES,
    FACTS,
    FACTS_BY_VOTE,
    CandidateRow,
    Fact,
    Label,
    picking,
)

MOST_SHOWN = 100
"""So many labels of a prediction are shown, and so many events of each, where there are many."""

_PAGE = 5_000


def votes(snapshot: Snapshot, pid: bytes) -> Iterator[Fact]:
    """Every vote about a prediction, some at a time."""
    start: Sequence[Any] = (pid,)
    while True:
        rows = snapshot.along(FACTS, FACTS_BY_VOTE, [start], fixed=1, limit=_PAGE)
        yield from Fact.read_all(rows)
        if len(rows) < _PAGE:
            return
        start = picking(FACTS, FACTS_BY_VOTE.order)(rows[-1])


def all_candidates(snapshot: Snapshot, pid: bytes, output: str) -> str:
    """Every candidate with every event, as the label's row has them while they are few."""
    return listed_text(resolve([vote_of(fact, output) for fact in votes(snapshot, pid)]).candidates)


def shown_candidates(snapshot: Snapshot, labels: Sequence[Label]) -> dict[bytes, list[dict[str, Any]]]:
    """Of each prediction the candidates with their events: all of them, or the first where there are many."""
    shown = {row.pid: json.decode(row.candidates) for row in labels if row.candidates is not None}
    many = [(row.pid,) for row in labels if row.candidates is None]
    if not many:
        return shown
    rows = snapshot.along(CANDIDATES, CANDIDATES_BY_VOTES, many, fixed=1, limit=MOST_SHOWN, descending=True)
    found = list(CandidateRow.read_all(rows))
    events: defaultdict[tuple[bytes, bytes | None], list[dict[str, str]]] = defaultdict(list)
    starts = [(candidate.pid, candidate.name) for candidate in found]
    for fact in Fact.read_all(snapshot.along(FACTS, FACTS_BY_VOTE, starts, fixed=2, limit=MOST_SHOWN)):
        assert fact.pid is not None
        events[fact.pid, fact.vote].append({"id": unpack(fact.id), "source": fact.source})
    for candidate in sorted(found, key=lambda each: (-each.votes, each.label)):
        given = events[candidate.pid, candidate.name]
        item = {"label": candidate.label, "people": candidate.votes, "events": given}
        shown.setdefault(candidate.pid, []).append(item)
    return shown
