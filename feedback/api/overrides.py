"""`GET /v1/overrides/{model}`: what one person gets for one input, by that person's own correction."""

from __future__ import annotations

import re
from typing import Any

from feedback.api.errors import InvalidRequest, NotFound
from feedback.api.parameters import Parameters
from feedback.api.reading import route
from feedback.api.services import View
from streams.queries.labels import override

_REFERENCE = re.compile("[0-9a-f]{64}")


def _query(view: View, path: dict[str, str], parameters: Parameters) -> dict[str, Any]:
    person, reference = parameters.required("person"), parameters.required("input_ref")
    if not _REFERENCE.fullmatch(reference):
        raise InvalidRequest("`input_ref` is 64 lower-case hex digits")
    found = override(view.snapshot, path["model"], person, reference, parameters.environment())
    if found is None:
        raise NotFound("this person has not corrected this input")
    return found


endpoint = route("overrides", _query, ("person", "input_ref", "env"), threads="overrides")
