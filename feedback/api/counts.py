"""`GET /v1/counts`: how many events of each kind, by whatever is asked for."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, PRODUCTION, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from schemas.describe.answers import COUNT_FIELDS
from streams.queries.counts import TOKEN, counts


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    by = parameters.fields("by", COUNT_FIELDS)
    # Grouped by environment, each one is told apart: all are shown.
    env = parameters.text("env") or (None if "env" in by else PRODUCTION)
    found = counts(
        view.snapshot,
        by,
        parameters.page(TOKEN),
        model=parameters.text("model"),
        first_day=parameters.day("from"),
        last_day=parameters.day("to"),
        env=env,
    )
    return {**found, **view.freshness()}


endpoint = route("counts", _query, ("model", "from", "to", "by", "env", *PAGING), dated=True)
