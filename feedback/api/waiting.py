"""`GET /v1/waiting`: what is parked, for what, and since when."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.parked import parked
from streams.queries.waiting import TOKEN, waiting


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    # What waits is a matter of operation: every environment's is shown unless one is asked for.
    page, env = parameters.page(TOKEN), parameters.text("env")
    found = waiting(view.snapshot, view.now, page, env)
    if page.after is None and env is None and (groups := parked(view.snapshot)):
        found["groups"] = groups
    return found


endpoint = route("waiting", _query, ("env", *PAGING))
