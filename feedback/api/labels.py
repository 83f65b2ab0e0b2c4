"""`GET /v1/labels/{model}`: what people say the right labels are."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.labels import TOKEN, labels


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    return labels(
        view.snapshot,
        path["model"],
        parameters.page(TOKEN),
        env=parameters.environment(),
        disagree=parameters.flag("disagree"),
    )


endpoint = route("labels", _query, ("disagree", "env", *PAGING))
