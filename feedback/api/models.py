"""`GET /v1/models` and `/v1/models/{model}`: versions, what was said of each, and which one serves."""

from __future__ import annotations

from typing import Any

from feedback.api.errors import NotFound
from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.models import TOKEN, model, models


def _list(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    return models(view.snapshot, parameters.page(TOKEN), parameters.environment())


def _one(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    found = model(view.snapshot, path["model"], parameters.page(TOKEN), parameters.environment())
    if found is None:
        raise NotFound(
            "nothing is known of this model; /v1/models lists those that are known. If it was sent a moment"
            " ago, ask again in a moment, or with ?after= and the position that the sender was told"
        )
    return found


endpoint = route("models", _list, ("env", *PAGING))
one = route("model", _one, ("env", *PAGING))
