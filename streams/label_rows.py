"""The label of a prediction as rows: what people voted for, and how often.

Few votes lie in the label's row with their events, and are resolved anew from all of them. Where there are
more than `LISTED`, each label has a row of its own with its tally, and a vote changes that row, the label's,
and nothing else: the winner is found along an index. Which of the two it is follows from the
number of votes alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from models.labels import Decision, Tally, decide, leading, resolve
from streams.changes import Changes
from streams.processors.labels import channel_of, label_name, label_of, listed_text, vote_of
from streams.store.port import Transaction
from streams.store.tables import (
    CANDIDATES,
    CANDIDATES_BY_VOTES,
    FACTS,
    FACTS_BY_VOTE,
    LABELS,
    Candidate,
    Fact,
    Label,
    Prediction,
    Row,
    as_row,
)
from streams.working_set import WHOLE, WorkingSet, fact_key

LISTED = 32
"""So many votes lie in the label's row. What is loaded whole is never more."""

assert WHOLE <= LISTED


class VoteChanges:
    """The votes that came and went in a fold, by prediction."""

    def __init__(self) -> None:
        self.came: defaultdict[bytes, list[tuple[Fact, Prediction]]] = defaultdict(list)
        self.went: defaultdict[bytes, list[tuple[Fact, Prediction]]] = defaultdict(list)

    def note(self, old: Fact | None, old_home: Prediction | None, new: Fact, home: Prediction | None) -> None:
        """Note a fact that is new or changed."""
        was = None if old is None else (old.pid, old.vote)
        if was == (new.pid, new.vote):
            return
        if old is not None and old.vote is not None and old_home is not None:
            self.went[old_home.pid].append((old, old_home))
        if new.vote is not None and home is not None:
            self.came[home.pid].append((new, home))

    def pids(self) -> Iterable[bytes]:
        """The predictions whose votes changed."""
        return dict.fromkeys((*self.went, *self.came))


class LabelRows:
    """Writes the labels of the predictions whose votes changed in a fold."""

    def __init__(self, transaction: Transaction, loaded: WorkingSet, changes: Changes) -> None:
        self._tx = transaction
        self._loaded = loaded
        self._changes = changes

    def settle(self, votes: VoteChanges) -> None:
        """Settle the labels of all predictions of which a vote changed."""
        pids = list(votes.pids())
        if not pids:
            return
        here = self._votes_here(pids)
        labels = self._labels(pid for pid in pids if not self._loaded.holds_all_of(pid))
        few: list[bytes] = []
        many: list[bytes] = []
        totals: dict[bytes, tuple[int, int]] = {}
        for pid in pids:
            came, went = len(votes.came.get(pid, ())), len(votes.went.get(pid, ()))
            if self._loaded.holds_all_of(pid):
                after = len(here[pid])
                before = after - came + went
            else:
                label = labels.get(pid)
                before = 0 if label is None else label.votes
                after = before + came - went
            totals[pid] = before, after
            (few if before <= LISTED or after <= LISTED else many).append(pid)
        self._load_votes(few, here, max((len(votes.went.get(pid, ())) for pid in few), default=0))
        for pid in few:
            self._settle_few(pid, list(here[pid].values()), *totals[pid])
        if many:
            self._settle_many(many, votes, labels)

    def _prediction(self, pid: bytes) -> Prediction:
        prediction = self._loaded.predictions[pid]
        assert prediction is not None
        return prediction

    def _labels(self, pids: Iterable[bytes]) -> dict[bytes, Label]:
        keys = [(self._prediction(pid).model, pid) for pid in pids]
        return {row[1]: Label(*row) for row in self._tx.get(LABELS, keys)}

    def _votes_here(self, pids: Iterable[bytes]) -> dict[bytes, dict[tuple[bytes, bytes, str], Fact]]:
        """Of each prediction the votes that are loaded."""
        here: dict[bytes, dict[tuple[bytes, bytes, str], Fact]] = {pid: {} for pid in pids}
        for key, fact in self._loaded.facts.items():
            if fact.vote is not None and fact.pid in here:
                here[fact.pid][key] = fact
        return here

    def _load_votes(
        self, pids: list[bytes], here: dict[bytes, dict[tuple[bytes, bytes, str], Fact]], went: int
    ) -> None:
        """Add the votes that are not loaded, of predictions that have few before or after."""
        starts = [(pid,) for pid in pids if not self._loaded.holds_all_of(pid)]
        if not starts:
            return
        # What had many and has few now lost all that is between.
        for row in self._tx.along(FACTS, FACTS_BY_VOTE, starts, fixed=1, limit=LISTED + went):
            fact = Fact(*row)
            # One that is loaded stands as it is there.
            if fact_key(fact) not in self._loaded.facts and fact.pid is not None:
                here[fact.pid][fact_key(fact)] = fact

    def _settle_few(self, pid: bytes, votes: list[Fact], before: int, after: int) -> None:
        """Settle a label from all of its votes: it has few of them, or had."""
        prediction = self._prediction(pid)
        if before > LISTED:
            for row in self._tx.get(CANDIDATES, [(pid,)]):
                self._changes.deletes[CANDIDATES.name][row[:2]] = None
        if after == 0:
            self._changes.deletes[LABELS.name][prediction.model, pid] = None
        elif after <= LISTED:
            self._changes.put(LABELS, as_row(_listed(prediction, votes)))
        else:
            tallies: dict[bytes, Tally] = {}
            for fact in votes:
                _count(tallies, fact, prediction, 1)
            for name, tally in tallies.items():
                self._changes.put(CANDIDATES, _candidate_row(pid, name, tally))
            gold = sum(tally.gold for tally in tallies.values())
            decision = decide(leading(tallies.values()), len(votes), gold)
            label = _label(prediction, decision, len(tallies), None, len(votes), gold)
            self._changes.put(LABELS, as_row(label))

    def _settle_many(self, pids: list[bytes], votes: VoteChanges, labels: dict[bytes, Label]) -> None:
        """Settle labels with many votes, before and after: by their tallies."""
        touched: dict[bytes, set[bytes]] = {}
        for pid in pids:
            changed: list[tuple[Fact, Prediction]] = [*votes.came.get(pid, ()), *votes.went.get(pid, ())]
            touched[pid] = {label_name(label_of(fact, home.output)) for fact, home in changed}
        keys = [(pid, name) for pid, names in touched.items() for name in names]
        before = {row[:2]: Candidate(*row) for row in self._tx.get(CANDIDATES, keys)}
        most = 2 + max(map(len, touched.values()))
        leaders: defaultdict[bytes, dict[bytes, Tally]] = defaultdict(dict)
        starts = [(pid,) for pid in pids]
        for row in self._tx.along(
            CANDIDATES, CANDIDATES_BY_VOTES, starts, fixed=1, limit=most, descending=True
        ):
            leaders[row[0]][row[1]] = _tally(Candidate(*row))
        for pid in pids:
            known = {name: before[pid, name] for name in touched[pid] if (pid, name) in before}
            self._settle_tallies(pid, votes, labels[pid], known, leaders[pid])

    def _settle_tallies(
        self,
        pid: bytes,
        votes: VoteChanges,
        label: Label,
        known: dict[bytes, Candidate],
        leaders: dict[bytes, Tally],
    ) -> None:
        prediction = self._prediction(pid)
        tallies = {name: _tally(candidate) for name, candidate in known.items()}
        given, gold, rivals = label.votes, label.gold, label.rivals
        for changed, sign in ((votes.came.get(pid, ()), 1), (votes.went.get(pid, ()), -1)):
            for fact, home in changed:
                _count(tallies, fact, home, sign)
                given += sign
                gold += sign * fact.gold
        for name, tally in tallies.items():
            rivals += (tally.votes > 0) - (name in known)
            leaders[name] = tally
            if tally.votes:
                self._changes.put(CANDIDATES, _candidate_row(pid, name, tally))
            elif name in known:
                self._changes.deletes[CANDIDATES.name][pid, name] = None
        decision = decide(leading(tally for tally in leaders.values() if tally.votes), given, gold)
        self._changes.put(LABELS, as_row(_label(prediction, decision, rivals, None, given, gold)))


def _count(tallies: dict[bytes, Tally], fact: Fact, prediction: Prediction, sign: int) -> None:
    label = label_of(fact, prediction.output)
    name = label_name(label)
    tally = tallies.get(name)
    if tally is None:
        tally = tallies[name] = Tally(label)
    tally.count(channel_of(fact), sign)


def _tally(candidate: Candidate) -> Tally:
    return Tally(candidate.label, candidate.votes, candidate.gold, candidate.corrections)


def _candidate_row(pid: bytes, name: bytes, tally: Tally) -> Row:
    return as_row(Candidate(pid, name, tally.label, tally.votes, tally.gold, tally.corrections))


def _listed(prediction: Prediction, votes: list[Fact]) -> Label:
    """The label of a prediction with few votes, at least one."""
    resolution = resolve([vote_of(fact, prediction.output) for fact in votes])
    rivals, listed = len(resolution.candidates), listed_text(resolution.candidates)
    gold = sum(fact.gold for fact in votes)
    return _label(prediction, resolution.decision, rivals, listed, len(votes), gold)


def _label(
    prediction: Prediction, decision: Decision, rivals: int, listed: str | None, votes: int, gold: int
) -> Label:
    return Label(
        prediction.model,
        prediction.pid,
        prediction.env,
        decision.label,
        decision.agreement,
        decision.people,
        decision.channel,
        rivals,
        listed,
        votes,
        gold,
    )
