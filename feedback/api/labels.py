"""`GET /v1/labels/{model}`: what people say the right labels are."""

from __future__ import annotations

from typing import Any

from feedback.api.parameters import PAGING, Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.labels import TOKEN, labels, refused


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    page, env = parameters.page(TOKEN), parameters.environment()
    found = labels(view.snapshot, path["model"], page, env=env, disagree=parameters.flag("disagree"))
    if page.after is None and (told := refused(view.snapshot, path["model"], env)):
        found["refused"] = told
    return found


endpoint = route("labels", _query, ("disagree", "env", *PAGING))
