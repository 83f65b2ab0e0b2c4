"""`GET /v1/feedback`, newest first, and `/v1/feedback/{id}`: what is true about one event now."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from schemas.describe.answers import KINDS_ASKED
from schemas.kinds import FEEDBACK
from streams.queries.feedback import feedback
from streams.queries.feedback_list import TOKEN, FeedbackFilter, feedback_list


def _list(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    kind = parameters.word("kind", KINDS_ASKED)
    wanted = FeedbackFilter(
        model=parameters.text("model"),
        kind=None if kind is None else kind.removeprefix(FEEDBACK),
        value=parameters.text("value"),
        person=parameters.text("person"),
        first_day=parameters.day("from"),
        last_day=parameters.day("to"),
        env=parameters.environment(),
    )
    return feedback_list(view.snapshot, view.payloads, wanted, parameters.page(TOKEN))


def _one(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    source = parameters.text("source")
    items = feedback(view.snapshot, view.payloads, path["id"], source, view.services.lineage)
    return {"items": items}


endpoint = route(
    "feedback_list",
    _list,
    ("model", "kind", "value", "person", "from", "to", "env", *PAGING),
    threads="blocks",
)
one = route("feedback", _one, ("source",), threads="timelines")
