"""Every reason for which Loopline refuses something, as RFC 9457 problems with a code.

The codes are part of the contract. The collector judges the first group from the item alone; the
worker judges the second from other events, after the item was accepted.
"""

from __future__ import annotations

import msgspec

INVALID_JSON = "invalid_json"
NOT_UTF8 = "not_utf8"
INVALID_VALUE = "invalid_value"
UNKNOWN_TYPE = "unknown_type"
UNKNOWN_FIELD = "unknown_field"
DUPLICATE_KEY = "duplicate_key"
TOO_LARGE = "too_large"
TOO_DEEP = "too_deep"

MODEL_MISMATCH = "model_mismatch"
LABEL_INVALID = "label_invalid"
ID_CONFLICT = "id_conflict"
PREDICTION_CONFLICT = "prediction_conflict"
DECLARATION_CONFLICT = "declaration_conflict"
CANNOT_FOLD = "cannot_fold"

COLLECTOR_CODES = (
    INVALID_JSON,
    NOT_UTF8,
    INVALID_VALUE,
    UNKNOWN_TYPE,
    UNKNOWN_FIELD,
    DUPLICATE_KEY,
    TOO_LARGE,
    TOO_DEEP,
)
WORKER_CODES = (
    MODEL_MISMATCH,
    LABEL_INVALID,
    ID_CONFLICT,
    PREDICTION_CONFLICT,
    DECLARATION_CONFLICT,
    CANNOT_FOLD,
)

TITLES = {
    INVALID_JSON: "This is not JSON",
    NOT_UTF8: "This is not UTF-8",
    INVALID_VALUE: "A value is missing or not allowed",
    UNKNOWN_TYPE: "This event type is not known here",
    UNKNOWN_FIELD: "A field is not known here",
    DUPLICATE_KEY: "An object has the same key twice",
    TOO_LARGE: "This is too large",
    TOO_DEEP: "This is nested too deeply",
    MODEL_MISMATCH: "The prediction is another model's",
    LABEL_INVALID: "The label does not fit the declared output",
    ID_CONFLICT: "This id was used before, with other content",
    PREDICTION_CONFLICT: "This prediction was made before, with other content",
    DECLARATION_CONFLICT: "This model version was declared before, with another shape",
    CANNOT_FOLD: "This event could not be brought into the views",
    # Answers of the HTTP interface that are about a request, not about an event.
    "not_found": "There is no such thing here",
    "invalid_request": "The request cannot be answered as it stands",
    "unsupported_media_type": "This media type is not accepted here",
    "not_durable": "This cannot be written down now",
    "not_caught_up": "The views have not reached that position yet",
    "method_not_allowed": "This method is not allowed here",
    "misdirected": "This request names another server",
    "cross_site": "This request comes from another site's page",
    "timeout": "The request took too long to arrive",
    "headers_too_large": "The headers are too large",
    "busy": "There are too many connections now",
    "unavailable": "This cannot be answered now",
}


class Problem(msgspec.Struct, frozen=True):
    """An RFC 9457 problem object: `type`, `title`, `detail`, and the contract's `code`."""

    type: str
    title: str
    detail: str
    code: str


def problem(code: str, detail: str) -> Problem:
    """The problem of `code`, one of `TITLES`, with a detail that says what to do about it."""
    return Problem(f"urn:loopline:problem:{code}", TITLES[code], detail, code)
