"""Exposures: how many predictions of each group a subject saw on a day, to be joined with outcomes."""

from __future__ import annotations

from schemas.instants import utc_day
from schemas.kinds import PREDICTION_MADE
from streams.store.tables import EXPOSURES, Exposure, Prediction, as_row
from streams.views.dims import dims_of
from streams.views.port import View


class Exposures(View):
    """The predictions that name a subject, by the prediction's group and day."""

    tables = (EXPOSURES,)
    kinds = frozenset({PREDICTION_MADE.name})

    def add_prediction(self, prediction: Prediction) -> None:
        if prediction.subject is None:
            return
        row = Exposure(
            subject=prediction.subject,
            dims=dims_of(
                prediction.model,
                prediction.model_version,
                prediction.segment,
                prediction.action,
                prediction.env,
            ),
            shard=self.agenda.shard,
            model=prediction.model,
            model_version=prediction.model_version,
            segment=prediction.segment,
            action=prediction.action,
            env=prediction.env,
            day=utc_day(prediction.at),
            n=1,
        )
        self.agenda.changes.add(EXPOSURES, as_row(row))
