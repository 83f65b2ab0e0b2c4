"""A view that only tests have: how many comments there were on the predictions of a model and day."""

from __future__ import annotations

from schemas import kinds
from schemas.instants import utc_day
from streams.store.tables import Fact, Prediction, Table, ViewRow, as_row
from streams.views.port import View


class DayOfComments(ViewRow, gc=False):
    """How many comments count on the predictions of one day."""

    model: str
    env: str
    day: str
    shard: int
    comments: int


COMMENTS = Table("comments_in_tests", DayOfComments, ("model", "env", "day", "shard"), sums=("comments",))


class Comments(View):
    """The comments that count, by the model, environment and day of their predictions."""

    tables = (COMMENTS,)
    kinds = frozenset({kinds.COMMENT.name})

    def change_fact(
        self, before: Fact | None, was_about: Prediction | None, fact: Fact, about: Prediction | None
    ) -> None:
        for each, prediction, sign in ((before, was_about, -1), (fact, about, 1)):
            if each is not None and each.effective and prediction is not None:
                day = utc_day(prediction.at)
                row = DayOfComments(prediction.model, prediction.env, day, self.agenda.shard, sign)
                self.agenda.changes.add(COMMENTS, as_row(row))
