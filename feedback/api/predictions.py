"""`GET /v1/predictions/{id}`: a prediction and everything that was said about it."""

from __future__ import annotations

from typing import Any

from feedback.api.errors import NotFound
from feedback.api.parameters import Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.predictions import prediction


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    found = prediction(view.snapshot, view.originals, path["id"])
    if found is None:
        raise NotFound("this prediction is unknown; what was said about it waits, see /v1/waiting")
    return found


endpoint = route("predictions", _query)
