"""`GET /v1/outcomes/{model}`: what became of the subjects who saw a model's predictions, as a group."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from schemas.describe.answers import OUTCOME_FIELDS
from streams.queries.outcomes import TOKEN, outcomes


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    found = outcomes(
        view.snapshot,
        path["model"],
        parameters.fields("by", OUTCOME_FIELDS),
        parameters.page(TOKEN),
        first_day=parameters.day("from"),
        last_day=parameters.day("to"),
        env=parameters.environment(),
        window_days=view.services.outcome_window_days,
    )
    return {**found, "window_days": view.services.outcome_window_days, **view.freshness()}


endpoint = route("outcomes", _query, ("from", "to", "by", "env", *PAGING), dated=True)
