"""Labels: what people say the right answer of a prediction is, and the candidates where many voted.

Few votes lie in the label's row with their events, and are resolved anew from all of them. Where there are
more than `LISTED`, each label has a row of its own with its tally, and a vote changes that row, the label's,
and nothing else: the winner is found along an index. Which of the two it is follows from the
number of votes alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from models.labels import LabelDecision, Tally, decide, leading, resolve
from schemas.kinds import VOTING
from streams.processors.votes import channel_of, label_name, label_of, listed_text, vote_of
from streams.store.tables import (
    CANDIDATES,
    CANDIDATES_BY_VOTES,
    FACTS,
    FACTS_BY_VOTE,
    LABELS,
    CandidateRow,
    Fact,
    Label,
    Prediction,
    Row,
    as_row,
)
from streams.views.port import Agenda, View
from streams.views.working_set import WHOLE, fact_key

LISTED = 32
"""So many votes lie in the label's row. What is loaded whole is never more."""

assert WHOLE <= LISTED


Votes = defaultdict[bytes, list[tuple[Fact, Prediction]]]
"""By prediction the facts that vote for a label of it."""


class Labels(View):
    """The labels of all predictions that somebody voted on, and their candidates where many did."""

    tables = (LABELS, CANDIDATES)
    kinds = VOTING

    def __init__(self, agenda: Agenda) -> None:
        super().__init__(agenda)
        self._loaded, self._changes = agenda.loaded, agenda.changes
        self._came: Votes = defaultdict(list)
        self._went: Votes = defaultdict(list)

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        was = (None, None) if before is None else (before.pid, before.vote)
        if was == (fact.pid, fact.vote):
            return
        if before is not None and before.vote is not None and was_about is not None:
            self._went[was_about.pid].append((before, was_about))
        if fact.vote is not None and about is not None:
            self._came[about.pid].append((fact, about))

    def finish(self) -> None:
        """Write the labels of all predictions of which a vote changed."""
        pids = list(dict.fromkeys((*self._went, *self._came)))
        if not pids:
            return
        here = self._votes_here(pids)
        labels = self._labels(pid for pid in pids if not self._loaded.holds_all_of(pid))
        few: list[bytes] = []
        many: list[bytes] = []
        totals: dict[bytes, tuple[int, int]] = {}
        for pid in pids:
            came, went = len(self._came.get(pid, ())), len(self._went.get(pid, ()))
            if self._loaded.holds_all_of(pid):
                after = len(here[pid])
                before = after - came + went
            else:
                label = labels.get(pid)
                before = 0 if label is None else label.votes
                after = before + came - went
            totals[pid] = before, after
            (few if before <= LISTED or after <= LISTED else many).append(pid)
        self._load_votes(few, here, max((len(self._went.get(pid, ())) for pid in few), default=0))
        for pid in few:
            self._settle_few(pid, list(here[pid].values()), *totals[pid])
        if many:
            self._settle_many(many, labels)

    def _prediction(self, pid: bytes) -> Prediction:
        prediction = self._loaded.predictions[pid]
        assert prediction is not None
        return prediction

    def _labels(self, pids: Iterable[bytes]) -> dict[bytes, Label]:
        keys = [(self._prediction(pid).model, pid) for pid in pids]
        return {label.pid: label for label in Label.read_all(self.agenda.snapshot.get(LABELS, keys))}

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
        rows = self.agenda.snapshot.along(FACTS, FACTS_BY_VOTE, starts, fixed=1, limit=LISTED + went)
        for fact in Fact.read_all(rows):
            # One that is loaded stands as it is there.
            if fact_key(fact) not in self._loaded.facts and fact.pid is not None:
                here[fact.pid][fact_key(fact)] = fact

    def _settle_few(self, pid: bytes, votes: list[Fact], before: int, after: int) -> None:
        """Settle a label from all of its votes: it has few of them, or had."""
        prediction = self._prediction(pid)
        if before > LISTED:
            for candidate in CandidateRow.read_all(self.agenda.snapshot.get(CANDIDATES, [(pid,)])):
                self._changes.delete(CANDIDATES, (candidate.pid, candidate.name))
        if after == 0:
            self._changes.delete(LABELS, (prediction.model, pid))
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
            label = _label(
                prediction, decision, rivals=len(tallies), candidates=None, votes=len(votes), gold=gold
            )
            self._changes.put(LABELS, as_row(label))

    def _settle_many(self, pids: list[bytes], labels: dict[bytes, Label]) -> None:
        """Settle labels with many votes, before and after: by their tallies."""
        touched: dict[bytes, set[bytes]] = {}
        for pid in pids:
            changed: list[tuple[Fact, Prediction]] = [*self._came.get(pid, ()), *self._went.get(pid, ())]
            touched[pid] = {label_name(label_of(fact, prediction.output)) for fact, prediction in changed}
        keys = [(pid, name) for pid, names in touched.items() for name in names]
        candidates = CandidateRow.read_all(self.agenda.snapshot.get(CANDIDATES, keys))
        before = {(candidate.pid, candidate.name): candidate for candidate in candidates}
        most = 2 + max(map(len, touched.values()))
        leaders: defaultdict[bytes, dict[bytes, Tally]] = defaultdict(dict)
        starts = [(pid,) for pid in pids]
        rows = self.agenda.snapshot.along(
            CANDIDATES, CANDIDATES_BY_VOTES, starts, fixed=1, limit=most, descending=True
        )
        for candidate in CandidateRow.read_all(rows):
            leaders[candidate.pid][candidate.name] = _tally(candidate)
        for pid in pids:
            known = {name: before[pid, name] for name in touched[pid] if (pid, name) in before}
            self._settle_tallies(pid, labels[pid], known, leaders[pid])

    def _settle_tallies(
        self,
        pid: bytes,
        label: Label,
        known: dict[bytes, CandidateRow],
        leaders: dict[bytes, Tally],
    ) -> None:
        prediction = self._prediction(pid)
        tallies = {name: _tally(candidate) for name, candidate in known.items()}
        given, gold, rivals = label.votes, label.gold, label.rivals
        for changed, sign in ((self._came.get(pid, ()), 1), (self._went.get(pid, ()), -1)):
            for fact, voted_on in changed:
                _count(tallies, fact, voted_on, sign)
                given += sign
                gold += sign * fact.gold
        for name, tally in tallies.items():
            rivals += (tally.votes > 0) - (name in known)
            leaders[name] = tally
            if tally.votes:
                self._changes.put(CANDIDATES, _candidate_row(pid, name, tally))
            elif name in known:
                self._changes.delete(CANDIDATES, (pid, name))
        decision = decide(leading(tally for tally in leaders.values() if tally.votes), given, gold)
        label = _label(prediction, decision, rivals=rivals, candidates=None, votes=given, gold=gold)
        self._changes.put(LABELS, as_row(label))


def _count(tallies: dict[bytes, Tally], fact: Fact, prediction: Prediction, sign: int) -> None:
    label = label_of(fact, prediction.output)
    name = label_name(label)
    tally = tallies.get(name)
    if tally is None:
        tally = tallies[name] = Tally(label)
    tally.count(channel_of(fact), sign)


def _tally(candidate: CandidateRow) -> Tally:
    return Tally(candidate.label, candidate.votes, candidate.gold, candidate.corrections)


def _candidate_row(pid: bytes, name: bytes, tally: Tally) -> Row:
    row = CandidateRow(
        pid=pid,
        name=name,
        label=tally.label,
        votes=tally.votes,
        gold=tally.gold,
        corrections=tally.corrections,
    )
    return as_row(row)


def _listed(prediction: Prediction, votes: list[Fact]) -> Label:
    """The label of a prediction with few votes, at least one."""
    resolution = resolve([vote_of(fact, prediction.output) for fact in votes])
    rivals, listed = len(resolution.candidates), listed_text(resolution.candidates)
    gold = sum(fact.gold for fact in votes)
    return _label(
        prediction, resolution.decision, rivals=rivals, candidates=listed, votes=len(votes), gold=gold
    )


def _label(
    prediction: Prediction,
    decision: LabelDecision,
    *,
    rivals: int,
    candidates: str | None,
    votes: int,
    gold: int,
) -> Label:
    return Label(
        model=prediction.model,
        pid=prediction.pid,
        env=prediction.env,
        label=decision.label,
        agreement=decision.agreement,
        people=decision.people,
        channel=decision.channel,
        rivals=rivals,
        candidates=candidates,
        votes=votes,
        gold=gold,
    )
