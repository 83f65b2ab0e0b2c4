"""`GET /v1/dead-letters`: what was refused, why, and the bytes as they came."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from schemas.problems import COLLECTOR_CODES, WORKER_CODES
from streams.queries.dead_letters import TOKEN, dead_letters

CODES = (*COLLECTOR_CODES, *WORKER_CODES)


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    code = parameters.word("code", CODES)
    return dead_letters(view.snapshot, view.payloads, parameters.page(TOKEN), code)


endpoint = route("dead_letters", _query, ("code", *PAGING), threads="blocks")
