"""`GET /v1/predictions`, newest first, and `/v1/predictions/{id}`: one, with all that was said about it."""

from __future__ import annotations

import re
from typing import Any

from feedback.api.errors import InvalidRequest, NotFound
from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from schemas.describe.answers import SAID
from schemas.kinds import FEEDBACK
from streams.queries.prediction_list import TOKEN, PredictionFilter, prediction_list
from streams.queries.predictions import MOST_FEEDBACK, prediction
from streams.queries.predictions import TOKEN as FEEDBACK_TOKEN


def _list(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    wanted = PredictionFilter(
        model=parameters.text("model"),
        model_version=parameters.text("model_version"),
        segment=parameters.text("segment"),
        action=parameters.text("action"),
        person=parameters.text("person"),
        word=_word(parameters),
        first_day=parameters.day("from"),
        last_day=parameters.day("to"),
        env=parameters.environment(),
    )
    return prediction_list(view.snapshot, view.payloads, wanted, parameters.page(TOKEN))


def _word(parameters: Parameters) -> tuple[str, str | None] | None:
    text = parameters.text("feedback")
    if text is None:
        return None
    if re.fullmatch(SAID, text) is None:
        raise InvalidRequest(
            "`feedback` is a kind and perhaps a value of it, as in thumb:down, action:copied, correction"
        )
    kind, sign, value = text.removeprefix(FEEDBACK).partition(":")
    return kind, value if sign else None


def _one(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    page = parameters.page(FEEDBACK_TOKEN, default=MOST_FEEDBACK)
    found = prediction(view.snapshot, view.payloads, path["id"], page)
    if found is None:
        raise NotFound(
            "this prediction is unknown; what was said about it waits, see /v1/waiting. If it was sent"
            " a moment ago, ask again in a moment, or with ?after= and the position that the sender was told"
        )
    return found


endpoint = route(
    "prediction_list",
    _list,
    ("model", "model_version", "segment", "action", "person", "feedback", "from", "to", "env", *PAGING),
    threads="blocks",
)
one = route("predictions", _one, PAGING, threads="blocks")
