"""Audited inputs: what has a prediction that was drawn for an audit trains no model from then on."""

from __future__ import annotations

from schemas.kinds import PREDICTION_MADE
from streams.store.tables import AUDITED, AuditedInput, Prediction, as_row
from streams.views.port import View


class AuditedInputs(View):
    """The inputs with an audited prediction, each prediction a row."""

    tables = (AUDITED,)
    kinds = frozenset({PREDICTION_MADE.name})

    def add_prediction(self, prediction: Prediction) -> None:
        if prediction.audit and prediction.input_ref is not None:
            row = AuditedInput(
                model=prediction.model,
                env=prediction.env,
                input_ref=prediction.input_ref,
                pid=prediction.pid,
            )
            self.agenda.changes.put(AUDITED, as_row(row))
