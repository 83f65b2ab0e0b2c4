"""What a view is: a plug that is told what changed, and gives rows to put, delete or add to.

A view follows from the set of predictions and facts, whatever order they came in. So it adds what is true
now and takes back what was true before, keeps environments apart, reads no more than changed, and is built
anew by replay. `tests/streams/views` has a check for each of these, which every view in `registry` passes.

What is true about a fact, and which prediction it is about, is settled before (`streams.fold.settlement`).
How rows are kept is the bookkeeping of `streams.views.changes`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, NamedTuple, Protocol

from schemas.kinds import KINDS, PREDICTION_MADE
from schemas.shapes import Shape
from streams.store.port import Snapshot
from streams.store.tables import DeadLetterRow, Fact, Prediction, Replayed, Table
from streams.views.changes import Changes
from streams.views.working_set import WorkingSet


class Agenda(NamedTuple):
    """What views of one agenda write to, and what they may read."""

    changes: Changes
    """Takes the rows."""
    shard: int
    """The shard of counters to add to: for the column `shard` of their rows."""
    loaded: WorkingSet
    """The facts and predictions of the agenda as they are now, and candidates beside them."""
    snapshot: Snapshot
    """What lies in the store: as it was before the agenda, until all views are done."""
    shape_of: Callable[[Prediction], Shape | None]
    """What a prediction's model version declared that it answers, if it has."""


class View(Protocol):
    """A view, made new for each agenda: it may note what it is told, and write when all is told.

    A view overrides what it wants to hear of. Inherit, and name it in `registry.VIEWS`.
    """

    tables: ClassVar[tuple[Table, ...]]
    """Its own tables: nobody else writes to them. A key comes first in its table, unless that has sums."""

    kinds: ClassVar[frozenset[str]]
    """The kinds of events that it is told of."""

    agenda: Agenda

    def __init__(self, agenda: Agenda) -> None:
        self.agenda = agenda

    def add_prediction(self, prediction: Prediction) -> None:
        """A prediction is new. It never changes."""
        return

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        """A fact is new (`before` is None), or was settled anew and changed.

        A fact is about the prediction beside it where its `joined` is not None. Else it waits, is about a
        subject, or names a prediction that it does not fit, and which it was judged by.
        """
        return

    def add_letter(self, letter: DeadLetterRow) -> None:
        """An item was refused, by the collector or as it was entered: it is no fact."""
        return

    def add_replay(self, replay: Replayed) -> None:
        """An event says which dead letter it was, whatever else is told of it."""
        return

    def finish(self) -> None:
        """Everything was told: what needs all of it, or must read, comes now."""
        return


Views = tuple[type[View], ...]
"""The views that a store holds, in the order in which their tables are written."""


class Audience:
    """The views of one agenda, by what they are told of: looked up once, for it is asked at every event."""

    def __init__(self, views: Views, agenda: Agenda) -> None:
        self._views = [view(agenda) for view in views]
        self.of_predictions = [
            view.add_prediction for view in self._views if PREDICTION_MADE.name in view.kinds
        ]
        self.of_facts = {
            kind: [view.change_fact for view in self._views if kind in view.kinds] for kind in KINDS
        }

    def tell_beside(self, letters: Iterable[DeadLetterRow], replays: Iterable[Replayed]) -> None:
        """Tell of refused items, and of what events say that they were."""
        for view in self._views:
            for letter in letters:
                view.add_letter(letter)
            for replay in replays:
                view.add_replay(replay)

    def finish(self) -> None:
        """Let each view write what it noted."""
        for view in self._views:
            view.finish()
