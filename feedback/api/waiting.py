"""`GET /v1/waiting`: what is parked, for what, and since when."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.waiting import TOKEN, waiting


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    # What waits is a matter of operation: every environment's is shown unless one is asked for.
    return waiting(view.snapshot, view.now, parameters.page(TOKEN), parameters.text("env"))


endpoint = route("waiting", _query, ("env", *PAGING))
