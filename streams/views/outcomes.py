"""Outcomes: how often what befell a subject on a day."""

from __future__ import annotations

from schemas import kinds
from schemas.identity import unpack
from schemas.instants import utc_day
from streams.store.tables import OUTCOMES, Fact, Outcome, Prediction, as_row
from streams.views.dims import dims_of
from streams.views.port import View


class Outcomes(View):
    """The outcomes that count, by subject and day.

    An outcome's amount stays in the fact: floats do not add up to the same sum in every order.
    """

    tables = (OUTCOMES,)
    kinds = frozenset({kinds.OUTCOME.name})

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        n = fact.effective - (0 if before is None else before.effective)
        if n == 0:
            return
        assert fact.value is not None
        row = Outcome(
            subject=unpack(fact.key[1:]),
            dims=dims_of(fact.value, fact.model, fact.env),
            shard=self.agenda.shard,
            outcome=fact.value,
            model=fact.model,
            env=fact.env,
            day=utc_day(fact.at),
            n=n,
        )
        self.agenda.changes.add(OUTCOMES, as_row(row))
