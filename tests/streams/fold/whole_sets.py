"""The slow reference: what is true about facts, computed from the whole set of them at once.

It reads what never changes (events, predictions, join keys, declarations) from a store, and says what the
other columns and tables have to be. It loads everything and keeps no tallies: it knows nothing of how the
fold goes about it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from schemas import problems
from schemas.identity import JOIN_KEY, PREDICTION, SUBJECT, unpack
from schemas.instants import DAY, utc_day
from schemas.shapes import fits
from streams.store.port import Snapshot
from streams.store.tables import (
    CANDIDATES,
    CASES,
    COUNTS,
    DECLARATIONS,
    FACTS,
    LABELS,
    OVERRIDES,
    PREDICTIONS,
    CandidateRow,
    CaseEntry,
    Fact,
    Label,
    Override,
    Prediction,
)

FactKey = tuple[bytes, bytes, str]
_ONE_A_PERSON = {"feedback.thumb", "feedback.confirmation", "feedback.correction"}
_ONE_A_WORD = {"feedback.action", "feedback.reason"}
_LABELLING = {"feedback.correction", "feedback.confirmation"}


class Truth:
    """What one fact should be."""

    def __init__(self, fact: Fact) -> None:
        self.fact = fact
        self.home: Prediction | None = None
        self.retracted_at: int | None = None
        self.effective = False
        self.votes = False
        self.code: str | None = None
        self.waits_for: str | None = None

    @property
    def rank(self) -> tuple[Any, ...]:
        return self.fact.at, unpack(self.fact.id), self.fact.source, self.fact.key

    def shown(self) -> tuple[Any, ...]:
        """As it is compared."""
        pid = None if self.home is None else self.home.pid
        taken = self.retracted_at is not None
        return pid, taken, self.effective, self.votes, self.code, self.waits_for


def truths(snapshot: Snapshot) -> dict[FactKey, Truth]:
    """What every fact of a store should be."""
    predictions = {row[0]: Prediction(*row) for row in snapshot.scan(PREDICTIONS)}
    shapes = {(row[0], row[1]): fits(row[2]) for row in snapshot.scan(DECLARATIONS)}
    cases: defaultdict[bytes, list[CaseEntry]] = defaultdict(list)
    for row in snapshot.scan(CASES):
        cases[row[0]].append(CaseEntry(*row))
    found = {row[:3]: Truth(Fact(*row)) for row in snapshot.scan(FACTS)}
    for truth in found.values():
        _join(truth, predictions, cases)
    _retract(found)
    by_home: defaultdict[bytes, list[Truth]] = defaultdict(list)
    for truth in found.values():
        if truth.home is not None and truth.fact.kind != "feedback.retraction":
            by_home[truth.home.pid].append(truth)
        elif truth.fact.key[:1] == SUBJECT and truth.fact.kind != "feedback.retraction":
            truth.effective = truth.retracted_at is None
    for pid, group in by_home.items():
        _count_once(group)
        home = predictions[pid]
        _vote(group, home, shapes.get((home.model, home.model_version)))
    return found


def _join(truth: Truth, predictions: dict[bytes, Prediction], cases: dict[bytes, list[CaseEntry]]) -> None:
    fact = truth.fact
    if fact.kind == "prediction.made":
        # A second prediction: only its place tells whether it conflicts, which is not judged here.
        truth.code = fact.code
    elif fact.key[:1] == PREDICTION:
        home = predictions.get(fact.key)
        if home is None:
            truth.waits_for = f"prediction:{unpack(fact.key[1:])}"
        elif fact.model not in (None, home.model):
            truth.code = problems.MODEL_MISMATCH
        else:
            truth.home = home
    elif fact.key[:1] == JOIN_KEY:
        before = [each for each in cases.get(fact.key, ()) if each.at <= fact.at]
        if before:
            chosen = max(before, key=lambda each: (each.at, each.id, each.source, each.pid))
            truth.home = predictions[chosen.pid]
        else:
            truth.waits_for = f"join_key:{fact.key[1:].decode()}"


def _retract(found: dict[FactKey, Truth]) -> None:
    for truth in found.values():
        fact = truth.fact
        if fact.kind != "feedback.retraction" or truth.code is not None:
            continue
        marked = found.get((fact.key, fact.explains or b"", fact.source))
        truth.waits_for = None if marked else f"event:{unpack(fact.explains or b'')}"
        if marked is None or fact.person not in (None, marked.fact.person):
            continue
        if marked.fact.kind.startswith("feedback.") and marked.fact.kind != "feedback.retraction":
            truth.effective = True
            instants = {fact.at, marked.retracted_at or fact.at}
            marked.retracted_at = min(instants)
    for truth in found.values():
        fact = truth.fact
        if fact.kind == "feedback.reason" and fact.explains is not None:
            thumb = found.get((fact.key, fact.explains, fact.source))
            if thumb is not None and thumb.fact.kind == "feedback.thumb" and thumb.retracted_at is not None:
                truth.retracted_at = min(thumb.retracted_at, truth.retracted_at or thumb.retracted_at)
    for truth in found.values():
        if truth.retracted_at is not None:
            truth.waits_for = None


def _count_once(group: Iterable[Truth]) -> None:
    best: dict[Any, Truth] = {}
    for truth in group:
        fact = truth.fact
        if truth.retracted_at is not None:
            continue
        if fact.person is None or fact.kind not in _ONE_A_PERSON | _ONE_A_WORD:
            truth.effective = True
            continue
        voter = fact.person, fact.kind, fact.value if fact.kind in _ONE_A_WORD else None
        if voter not in best or truth.rank > best[voter].rank:
            best[voter] = truth
    for truth in best.values():
        truth.effective = True


def _vote(group: Iterable[Truth], home: Prediction, tester: Any) -> None:
    best: dict[Any, Truth] = {}
    for truth in group:
        fact = truth.fact
        if fact.kind not in _LABELLING or truth.retracted_at is not None:
            continue
        says_yes = fact.value == "yes" and truth.effective and home.output != "null"
        if fact.kind == "feedback.confirmation" and not says_yes:
            continue
        if tester is None:
            truth.waits_for = f"declaration:{home.model}@{home.model_version}"
            continue
        if not tester(home.output if fact.label is None else fact.label):
            if fact.label is not None:
                truth.code = problems.LABEL_INVALID
            continue
        voter = fact.person if fact.person is not None else fact_key(fact)
        if voter not in best or truth.rank > best[voter].rank:
            best[voter] = truth
    for truth in best.values():
        truth.votes = True


def fact_key(fact: Fact) -> FactKey:
    """The identity of a fact."""
    return fact.key, fact.id, fact.source


def differences(snapshot: Snapshot) -> list[str]:
    """Where a store says otherwise than the reference."""
    found = truths(snapshot)
    wrong = []
    for truth in found.values():
        fact = truth.fact
        said = (
            fact.pid,
            bool(fact.retracted),
            bool(fact.effective),
            fact.vote is not None,
            fact.code,
            fact.waits_for,
        )
        if said != truth.shown():
            wrong.append(f"{fact.key!r} {fact.id!r} {fact.kind}: {said} and not {truth.shown()}")
    wrong += _labels(snapshot, found.values())
    wrong += _overrides(snapshot, found.values())
    wrong += _counts(snapshot, found.values())
    return wrong


def _labels(snapshot: Snapshot, found: Iterable[Truth]) -> list[str]:
    votes: defaultdict[bytes, list[Truth]] = defaultdict(list)
    for truth in found:
        if truth.votes and truth.home is not None:
            votes[truth.home.pid].append(truth)
    wanted = {pid: _label(given) for pid, given in votes.items()}
    labels = [Label(*row) for row in snapshot.scan(LABELS)]
    said = {
        row.pid: (row.label, row.agreement, row.people, row.channel, row.rivals, row.votes, row.gold)
        for row in labels
    }
    wrong = [] if said == wanted else [f"labels: {said} and not {wanted}"]
    tallies = {
        (pid, label): n for pid, given in votes.items() for label, n in Counter(map(_text, given)).items()
    }
    few = {row.pid for row in labels if row.candidates is not None}
    rows = [CandidateRow(*row) for row in snapshot.scan(CANDIDATES)]
    said_tallies = {(row.pid, row.label): row.votes for row in rows}
    many = {key: n for key, n in tallies.items() if key[0] not in few}
    return wrong if said_tallies == many else [*wrong, f"candidates: {said_tallies} and not {many}"]


def _text(truth: Truth) -> str:
    assert truth.home is not None
    return truth.home.output if truth.fact.label is None else truth.fact.label


def _label(given: list[Truth]) -> tuple[Any, ...]:
    gold = [truth for truth in given if truth.fact.gold]
    counted = gold or given
    tally = Counter(map(_text, counted)).most_common()
    most = tally[0][1]
    winners = [label for label, n in tally if n == most]
    rivals = len(set(map(_text, given)))
    rest = len(counted), rivals, len(given), len(gold)
    people, rivals, votes, gold_votes = rest
    if len(winners) > 1:
        return None, most / people, people, None, rivals, votes, gold_votes
    how = {truth.fact.kind for truth in given if _text(truth) == winners[0]}
    channel = "gold" if gold else "correction" if "feedback.correction" in how else "confirmation"
    return winners[0], most / people, people, channel, rivals, votes, gold_votes


def _overrides(snapshot: Snapshot, found: Iterable[Truth]) -> list[str]:
    latest: dict[Any, Truth] = {}
    declared = {row[:2] for row in snapshot.scan(DECLARATIONS)}
    for truth in found:
        fact, home = truth.fact, truth.home
        if fact.kind != "feedback.correction" or home is None or home.input_ref is None:
            continue
        stands = (
            truth.retracted_at is None and truth.code is None and (home.model, home.model_version) in declared
        )
        if stands and fact.person is not None:
            key = home.model, fact.person, home.input_ref, home.pid
            if key not in latest or truth.rank > latest[key].rank:
                latest[key] = truth
    wanted = {key: (unpack(truth.fact.id), truth.fact.label) for key, truth in latest.items()}
    rows = [Override(*row) for row in snapshot.scan(OVERRIDES)]
    said = {(row.model, row.person, row.input_ref, row.pid): (row.id, row.label) for row in rows}
    return [] if said == wanted else [f"overrides: {said} and not {wanted}"]


def _counts(snapshot: Snapshot, found: Iterable[Truth]) -> list[str]:
    by = ("model", "model_version", "segment", "action", "day", "kind", "value", "env")
    wanted: Counter[Any] = Counter()
    events: Counter[Any] = Counter()
    for row in snapshot.scan(PREDICTIONS):
        home = Prediction(*row)
        group = _group(home, "prediction.made", None)
        wanted[group] += 1
        events[group] += 1
    for truth in found:
        fact, home_of = truth.fact, truth.home
        if fact.kind in ("feedback.retraction", "prediction.made") or truth.retracted_at is not None:
            continue
        if home_of is not None:
            group = _group(home_of, fact.kind, fact.value)
        elif fact.key[:1] == SUBJECT:
            value = None if fact.kind == "feedback.outcome" else fact.value
            group = (fact.model, None, None, None, utc_day(fact.at), fact.kind, value, fact.env)
        else:
            continue
        wanted[group] += truth.effective
        events[group] += 1
    said = {row[:-2]: row[-2:] for row in snapshot.totals(COUNTS, by)}
    right = {group: (wanted[group], events[group]) for group in events}
    return [] if said == right else [f"counts: {said} and not {right}"]


def _group(home: Prediction, kind: str, value: str | None) -> tuple[Any, ...]:
    day = utc_day(home.at // DAY * DAY)
    return home.model, home.model_version, home.segment, home.action, day, kind, value, home.env
