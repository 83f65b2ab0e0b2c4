"""Counts: the numerators and denominators of every rate, as differences.

What a fact counts is a function of the fact and its prediction; a change of either takes back what it counted
before and adds what it counts now. Sums only, so the partitions' order does not matter.
"""

from __future__ import annotations

from collections import defaultdict

from msgspec import Struct

from schemas.identity import SUBJECT
from schemas.instants import DAY, utc_day
from schemas.kinds import KINDS, PREDICTION_MADE
from streams.store.tables import COUNTS, Count, Fact, Prediction, as_row
from streams.views.dims import dims_of
from streams.views.port import Agenda, View

Word = tuple[str, str | None]
"""What is counted in a group: a kind of event, and the value where it has one."""

Tally = defaultdict[Word, list[int]]
"""In one group, for each word the differences of `n` and `events`."""


class CountGroup(Struct, gc=False):
    """Whose counts belong together: by their prediction, or by model where they have none."""

    model: str | None
    model_version: str | None
    segment: str | None
    action: str | None
    day: str
    env: str
    tally: Tally


_MADE: Word = (PREDICTION_MADE.name, None)


class Counts(View):
    """How many events of each kind and value there are in each group.

    `n` by the rules of what counts once, `events` all that are not retracted.
    """

    tables = (COUNTS,)
    kinds = frozenset(kind.name for kind in KINDS.values() if kind.counted) | {PREDICTION_MADE.name}

    def __init__(self, agenda: Agenda) -> None:
        super().__init__(agenda)
        # By the same columns as a plain tuple: one is made for every prediction.
        self._groups: dict[tuple[object, ...], CountGroup] = {}
        # By the prediction: its group is looked up once, and more is said about it.
        self._tallies: dict[bytes, Tally] = {}

    def add_prediction(self, prediction: Prediction) -> None:
        sums = self._tally_of(prediction)[_MADE]
        sums[0] += 1
        sums[1] += 1

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        if before is not None:
            self._count(before, was_about, -1)
        self._count(fact, about, 1)

    def _count(self, fact: Fact, prediction: Prediction | None, sign: int) -> None:
        """Add what a fact counts as it stands, under its prediction if it has one, or take it back."""
        kind = KINDS[fact.kind]
        if fact.retracted or not kind.counted:
            return
        word = kind.name, fact.value if kind.by_word else None
        if prediction is not None and fact.joined is not None:
            tally = self._tallies.get(prediction.pid)
            sums = (self._tally_of(prediction) if tally is None else tally)[word]
        elif fact.key[:1] == SUBJECT:
            sums = self._tally_alone(fact)[word]
        else:
            return
        sums[0] += sign * fact.effective
        sums[1] += sign

    def _tally_of(self, prediction: Prediction) -> Tally:
        key = (
            prediction.model,
            prediction.model_version,
            prediction.segment,
            prediction.action,
            prediction.at // DAY,
            prediction.env,
        )
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = CountGroup(
                model=prediction.model,
                model_version=prediction.model_version,
                segment=prediction.segment,
                action=prediction.action,
                day=utc_day(prediction.at),
                env=prediction.env,
                tally=_tally(),
            )
        self._tallies[prediction.pid] = group.tally
        return group.tally

    def _tally_alone(self, fact: Fact) -> Tally:
        """Of a fact about a subject."""
        key = fact.model, None, None, None, fact.at // DAY, fact.env
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = CountGroup(
                model=fact.model,
                model_version=None,
                segment=None,
                action=None,
                day=utc_day(fact.at),
                env=fact.env,
                tally=_tally(),
            )
        return group.tally

    def finish(self) -> None:
        for group in self._groups.values():
            for word, (n, events) in group.tally.items():
                if n or events:
                    self.agenda.changes.add(COUNTS, as_row(self._row(group, word, n=n, events=events)))

    def _row(self, group: CountGroup, word: Word, *, n: int, events: int) -> Count:
        kind, value = word
        return Count(
            dims=dims_of(
                group.model,
                group.model_version,
                group.segment,
                group.action,
                group.day,
                kind,
                value,
                group.env,
            ),
            shard=self.agenda.shard,
            model=group.model,
            model_version=group.model_version,
            segment=group.segment,
            action=group.action,
            day=group.day,
            kind=kind,
            value=value,
            env=group.env,
            n=n,
            events=events,
        )


def _tally() -> Tally:
    return defaultdict(lambda: [0, 0])
