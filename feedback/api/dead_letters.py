"""`GET /v1/dead-letters`: what was refused, why, and the bytes as they came."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.dead_letters import TOKEN, dead_letters


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    return dead_letters(view.snapshot, view.originals, parameters.page(TOKEN), parameters.text("code"))


endpoint = route("dead_letters", _query, ("code", *PAGING))
