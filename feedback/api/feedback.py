"""`GET /v1/feedback/{id}`: what is true about a feedback event now."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.feedback import feedback


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    source = parameters.text("source")
    items = feedback(view.snapshot, view.originals, path["id"], source, view.services.lineage)
    return {"items": items}


endpoint = route("feedback", _query, ("source",))
