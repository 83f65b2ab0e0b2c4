"""Views that each break one rule, for the checks that are to refuse them."""

from __future__ import annotations

from schemas import kinds
from streams.store.tables import Fact, Prediction, Table, ViewRow, as_row
from streams.views.port import Agenda, View


class _Beside(ViewRow, gc=False):
    pid: bytes
    id: bytes
    env: str
    beside: int


class _Total(ViewRow, gc=False):
    about: str
    env: str
    shard: int
    n: int


class OrderOfArrival(View):
    """Each comment with how much else was settled along with it: another order, another row."""

    tables = (Table("beside", _Beside, ("pid", "id")),)
    kinds = frozenset({kinds.COMMENT.name})

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        [table] = self.tables
        if before is not None and was_about is not None:
            self.agenda.changes.delete(table, (was_about.pid, before.id))
        if fact.effective and about is not None:
            beside = sum(each.pid == about.pid for each in self.agenda.loaded.facts.values())
            self.agenda.changes.put(table, as_row(_Beside(about.pid, fact.id, about.env, beside)))


class EverSaid(View):
    """How many comments there ever were, also those that were taken back."""

    tables = (Table("ever_said", _Total, ("about", "env", "shard"), sums=("n",)),)
    kinds = frozenset({kinds.COMMENT.name})

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        [table] = self.tables
        if before is None:
            row = _Total(fact.source, fact.env, self.agenda.shard, 1)
            self.agenda.changes.add(table, as_row(row))


class OneEnvironment(View):
    """How many comments count, of whatever environment: all of them as if in production."""

    tables = (Table("one_environment", _Total, ("about", "env", "shard"), sums=("n",)),)
    kinds = frozenset({kinds.COMMENT.name})

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        [table] = self.tables
        for each, prediction, sign in ((before, was_about, -1), (fact, about, 1)):
            if each is not None and each.effective and prediction is not None:
                row = _Total(prediction.model, "prod", self.agenda.shard, sign)
                self.agenda.changes.add(table, as_row(row))


class _Comment(ViewRow, gc=False):
    pid: bytes
    key: bytes
    id: bytes
    source: str
    env: str


class _Sum(ViewRow, gc=False):
    pid: bytes
    env: str
    n: int


_EACH = Table("each_comment", _Comment, ("pid", "key", "id", "source"))
_SUM = Table("sum_of_comments", _Sum, ("pid",))


class ReadsEverything(View):
    """How many comments a prediction has, read anew from all of them whenever one comes."""

    tables = (_EACH, _SUM)
    kinds = frozenset({kinds.COMMENT.name})

    def __init__(self, agenda: Agenda) -> None:
        super().__init__(agenda)
        self._touched: dict[bytes, tuple[Prediction, dict[tuple[bytes, ...], Fact | None]]] = {}

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        for each, prediction, stands in ((before, was_about, False), (fact, about, True)):
            if each is not None and each.effective and prediction is not None:
                changed = self._touched.setdefault(prediction.pid, (prediction, {}))[1]
                changed[each.key, each.id, each.source.encode()] = each if stands else None

    def finish(self) -> None:
        changes = self.agenda.changes
        for pid, (prediction, changed) in self._touched.items():
            known = {(row[1], row[2], row[3].encode()) for row in self.agenda.snapshot.get(_EACH, [(pid,)])}
            for (key, id_, source), fact in changed.items():
                known.discard((key, id_, source))
                if fact is None:
                    changes.delete(_EACH, (pid, key, id_, source.decode()))
                else:
                    known.add((key, id_, source))
                    changes.put(_EACH, as_row(_Comment(pid, key, id_, source.decode(), prediction.env)))
            if known:
                changes.put(_SUM, as_row(_Sum(pid, prediction.env, len(known))))
            else:
                changes.delete(_SUM, (pid,))
