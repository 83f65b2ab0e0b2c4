"""The HTTP interface as an OpenAPI 3.1 document: routes, parameters, bodies and answers.

Event types come from the catalogue by way of `schemas.describe.json_schemas`, answers from
`schemas.describe.answers`. That the server keeps to it is left to the server's tests, which are driven by
this document.
"""

from __future__ import annotations

from typing import Any

from schemas.describe.answer_parts import reference
from schemas.describe.answers import (
    COUNT_FIELDS,
    ITEM_CODES,
    KINDS_ASKED,
    OUTCOME_FIELDS,
    SAID,
    SCHEMAS,
)
from schemas.describe.json_schemas import event_schema, names
from schemas.fields import MAX_EVENT_BYTES
from schemas.kinds import CORRECTION, PREFIX

Node = dict[str, Any]

VERSION = "1.0.0"
MAX_BATCH_ITEMS = 1000
LARGEST_PAGE = 1000
PAGE = 100

_PROBLEM = "application/problem+json"
_PART = "(dead|0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,17})"
_EXAMPLE = {
    "specversion": "1.0",
    "id": "0193f1c2-7f6e-7c3a-9d55-2f6b1c0a8e41",
    "source": "/shop/name-matcher",
    "type": CORRECTION.type,
    "time": "2026-11-20T09:12:31.402Z",
    "data": {"prediction_id": "p-81", "model": "name-matcher", "person": "u-7", "label": "smyth"},
}

_REFUSALS = {
    "400": "It cannot be read, or a parameter is malformed.",
    "403": "A page of another site asks (`Origin`, `Sec-Fetch-Site`); code `cross_site`.",
    "404": "There is nothing under this name.",
    "408": "It was not here whole within 10 seconds; code `timeout`.",
    "413": "Too large, or over 250 numbers such as `1e300` or `5e-324`; nothing of it was kept.",
    "415": "This media type is not accepted.",
    "421": "`Host` names another server; code `misdirected`. See the setting `allowed_hosts`.",
    "422": "The event was refused; it is kept as a dead letter, with its original bytes.",
    "431": "The headers are over 32 KiB, or more than 200; code `headers_too_large`.",
    "503": "Not possible now; try again after `Retry-After` seconds.",
    "504": "The views did not reach `after` within 5 seconds.",
}

AT_THE_DOOR = ("403", "408", "421", "431")
"""Answers of every route: they are given before anything looks at what is asked."""


def document() -> Node:
    """The whole document, as plain dicts and lists."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Loopline",
            "version": VERSION,
            "summary": "Predictions and what people did about them come in; labels and datasets go out.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "jsonSchemaDialect": "https://json-schema.org/draft/2020-12/schema",
        "tags": [
            {"name": "events", "description": "What products say."},
            {"name": "views", "description": "What follows from it. Every view is derived from the log."},
            {"name": "datasets", "description": "Immutable releases."},
            {"name": "server", "description": "The server about itself."},
        ],
        "paths": _behind_the_door(
            {**_event_paths(), **_list_paths(), **_view_paths(), **_dataset_paths(), **_server_paths()}
        ),
        "components": {
            "schemas": {**_event_schemas(), **SCHEMAS},
            "parameters": _PARAMETERS,
            "responses": {f"Refused{status}": _refusal(status, text) for status, text in _REFUSALS.items()},
        },
    }


def _behind_the_door(paths: Node) -> Node:
    """The paths, each with what any request may be answered with."""
    every = _refusals("400", *AT_THE_DOOR, "503")
    for methods in paths.values():
        for operation in methods.values():
            responses = {**every, **operation["responses"]}
            operation["responses"] = {status: responses[status] for status in sorted(responses)}
    return paths


def _event_schemas() -> Node:
    """One component an event type, and `Event`: any of them, told apart by `type`."""
    one_of = [reference(name) for name in names()]
    return {
        "Event": {
            "description": f"A CloudEvent, {MAX_EVENT_BYTES // 1024} KiB at most. Other attributes are kept.",
            "oneOf": one_of,
            "discriminator": {
                "propertyName": "type",
                "mapping": {PREFIX + name: reference(name)["$ref"] for name in names()},
            },
        },
        **{name: {key: part for key, part in event_schema(name).items() if key != "$id"} for name in names()},
    }


def _refusal(status: str, description: str) -> Node:
    response: Node = {"description": description, "content": {_PROBLEM: {"schema": reference("Problem")}}}
    if status == "503":
        response["headers"] = {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}}
    return response


def _query(name: str, schema: Node, description: str, **more: Any) -> Node:
    return {"name": name, "in": "query", "schema": schema, "description": description, **more}


def _words(name: str, words: tuple[str, ...]) -> Node:
    # An empty `by` is that of a form that was left alone: nothing to group by.
    schema = {"type": "array", "items": {"type": "string", "enum": [*words, ""]}, "uniqueItems": True}
    return _query(name, schema, "What to group by, separated by commas.", style="form", explode=False)


# Years of four digits, from 1000 on: earlier ones are no days that anybody asks for.
_DAY = {
    "type": "string",
    "format": "date",
    "pattern": "^[1-9][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$",
    "examples": ["2026-11-20"],
}

_BACKFILL: Node = {
    "name": "Loopline-Backfill",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "`1` says that these events are old: they are left out of latency metrics.",
}

_REPLAYING: Node = {
    "name": "Loopline-Replay",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": (
        "`1` says that dead letters are put back, each with `looplinereplay` in front: one that is refused"
        " again is not kept a second time when the letter that it names has the same bytes."
    ),
}

_PARAMETERS: Node = {
    "after": _query(
        "after",
        {"type": "string", "pattern": f"^{_PART}(,{_PART})*$", "examples": ["0:0"]},
        "A position that an answer gave: wait until the views have reached it, up to 5 seconds.",
    ),
    "next": _query("next", {"type": "string"}, "The token of the page before."),
    "limit": _query(
        "limit", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": PAGE}, "Items a page."
    ),
    "env": _query("env", {"type": "string", "default": "prod"}, "The environment; only `prod` unless asked."),
    "anyEnv": _query("env", {"type": "string"}, "One environment; all of them when left out."),
    "from": _query("from", _DAY, "The first UTC day."),
    "to": _query("to", _DAY, "The last UTC day; it is included."),
}


_CODE = _query("code", {"type": "string", "enum": list(ITEM_CODES)}, "Only what was refused for this.")
_DISAGREE = _query(
    "disagree",
    {"type": "string", "enum": ["0", "1", "true", "false"]},
    "Only predictions with more than one candidate.",
)
_WHOSE = [
    _query("person", {"type": "string", "minLength": 1}, "The pseudonymous id.", required=True),
    _query("input_ref", {"type": "string", "pattern": "^[0-9a-f]{64}$"}, "Its hash.", required=True),
]
_SOURCE = _query("source", {"type": "string"}, "Only events of this source.")
_FEEDBACK_LIMIT = _query(
    "limit",
    {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": LARGEST_PAGE},
    "So much of `feedback` on a page.",
)
_MODEL = _query("model", {"type": "string"}, "Only this model.")
_PERSON = _query("person", {"type": "string"}, "Only this person's, by the pseudonymous id.")
_OF_PREDICTIONS = [
    _MODEL,
    _query("model_version", {"type": "string"}, "Only this version."),
    _query("segment", {"type": "string"}, "Only this segment."),
    _query("action", {"type": "string"}, "Only where the product did this with the answer."),
    _PERSON,
    _query(
        "feedback",
        {"type": "string", "pattern": f"^{SAID}$", "examples": ["thumb:down", "correction"]},
        "Only those of which this was said, and counts: a kind, and perhaps a value of it.",
    ),
]
_OF_FEEDBACK = [
    _MODEL,
    _query(
        "kind",
        {"type": "string", "enum": list(KINDS_ASKED)},
        "Only this kind.",
    ),
    _query("value", {"type": "string"}, "Only with this word, as `down` or `copied`."),
    _PERSON,
]


def _shared(*parameters: str) -> list[Node]:
    return [{"$ref": f"#/components/parameters/{name}"} for name in parameters]


def _path(*parameters: str) -> list[Node]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string", "minLength": 1}}
        for name in parameters
    ]


def _refusals(*statuses: str) -> Node:
    return {status: {"$ref": f"#/components/responses/Refused{status}"} for status in statuses}


def _json(description: str, schema: str) -> Node:
    return {"description": description, "content": {"application/json": {"schema": reference(schema)}}}


def _not_ready() -> Node:
    """Not ready, or too many connections: the only answer of two kinds."""
    refused = _refusal("503", "Not ready, and why.")
    refused["content"] = {**_json("", "Readiness")["content"], **refused["content"]}
    return refused


def _view(
    operation: str,
    summary: str,
    schema: str,
    parameters: list[Node],
    *,
    missing: bool = False,
    tag: str = "views",
) -> Node:
    """A read route: it takes `after`, and answers JSON."""
    statuses = ("400", "404", "503", "504") if missing else ("400", "503", "504")
    return {
        "get": {
            "operationId": operation,
            "tags": [tag],
            "summary": summary,
            "parameters": [*parameters, *_shared("after")],
            "responses": {"200": _json(summary, schema), **_refusals(*statuses)},
        }
    }


def _event_paths() -> Node:
    one: Node = {"schema": reference("Event"), "examples": {"correction": {"value": _EXAMPLE}}}
    batch: Node = {
        "schema": {
            "type": "array",
            "description": f"At most {MAX_BATCH_ITEMS} events: more are 413.",
            "items": {
                "description": "Each item is judged by itself: what is no event is refused alone.",
                "anyOf": [reference("Event"), {}],
            },
        },
        "examples": {"correction": {"value": [_EXAMPLE]}},
    }
    lines: Node = {
        "schema": {"type": "string", "description": f"One event a line, at most {MAX_BATCH_ITEMS}."},
    }
    return {
        "/v1/events": {
            "post": {
                "operationId": "sendEvents",
                "tags": ["events"],
                "summary": "Send one event, a batch, or lines. A 2xx means that it is on disk.",
                "description": "A batch is answered with 200 even when every item is refused: see `items`.",
                "parameters": [_BACKFILL, _REPLAYING],
                "requestBody": {
                    "required": True,
                    "content": {
                        "application/cloudevents+json": one,
                        "application/json": one,
                        "application/cloudevents-batch+json": batch,
                        "application/x-ndjson": lines,
                    },
                },
                "responses": {
                    "200": _json("Written down.", "Acknowledged"),
                    **_refusals("400", "413", "415", "422", "503"),
                },
            }
        }
    }


def _list_paths() -> Node:
    """What one can read back: predictions and feedback, newest first, and models."""
    paging, days = _shared("limit", "next"), _shared("from", "to")
    return {
        "/v1/predictions": _view(
            "listPredictions",
            "Predictions, newest first.",
            "Predictions",
            [*_OF_PREDICTIONS, *days, *_shared("env"), *paging],
        ),
        "/v1/feedback": _view(
            "listFeedback",
            "What people said, newest first.",
            "Feedback",
            [*_OF_FEEDBACK, *days, *_shared("env"), *paging],
        ),
        "/v1/models": _view("listModels", "Models and their versions.", "Models", [*_shared("env"), *paging]),
        "/v1/models/{model}": _view(
            "getModel",
            "A model: its versions, which one serves, and how they did.",
            "Model",
            [*_path("model"), *_shared("env"), *paging],
            missing=True,
        ),
    }


def _view_paths() -> Node:
    paging, days = _shared("limit", "next"), _shared("from", "to")
    return {
        "/v1/predictions/{id}": _view(
            "getPrediction",
            "A prediction and what was said of it.",
            "Prediction",
            [*_path("id"), _FEEDBACK_LIMIT, *_shared("next")],
            missing=True,
        ),
        "/v1/feedback/{id}": _view(
            "getFeedback",
            "What is true of a feedback event now.",
            "FeedbackStatus",
            [*_path("id"), _SOURCE],
        ),
        "/v1/waiting": _view(
            "listWaiting", "What is parked, and for what.", "Waiting", [*_shared("anyEnv"), *paging]
        ),
        "/v1/counts": _view(
            "getCounts",
            "How many events of each kind.",
            "Counts",
            [_MODEL, *days, _words("by", COUNT_FIELDS), *_shared("env"), *paging],
        ),
        "/v1/labels/{model}": _view(
            "listLabels",
            "What people say the right labels are.",
            "Labels",
            [*_path("model"), _DISAGREE, *_shared("env"), *paging],
        ),
        "/v1/outcomes/{model}": _view(
            "getOutcomes",
            "What became of the subjects of a model's predictions, as a group.",
            "Outcomes",
            [*_path("model"), *days, _words("by", OUTCOME_FIELDS), *_shared("env"), *paging],
        ),
        "/v1/overrides/{model}": _view(
            "getOverride",
            "What this person gets for this input.",
            "Override",
            [*_path("model"), *_WHOSE, *_shared("env")],
            missing=True,
        ),
        "/v1/dead-letters": _view(
            "listDeadLetters", "What was refused, and why.", "DeadLetters", [_CODE, *paging]
        ),
    }


def _dataset_paths() -> Node:
    release = _path("model", "version")
    kinds = (
        "application/vnd.apache.parquet",
        "application/json",
        "text/markdown",
        "application/octet-stream",
    )
    file = _view("getDatasetFile", "A file of a release.", "Manifest", release, missing=True, tag="datasets")
    file["get"]["parameters"][2:2] = _path("name")
    file["get"]["responses"]["200"] = {
        "description": "The file as it was published.",
        "content": {kind: {} for kind in kinds},
    }
    return {
        "/v1/datasets": _view(
            "listDatasets", "The releases.", "Datasets", _shared("limit", "next"), tag="datasets"
        ),
        "/v1/datasets/{model}/{version}": _view(
            "getDataset", "A release's manifest.", "Manifest", release, missing=True, tag="datasets"
        ),
        "/v1/datasets/{model}/{version}/files/{name}": file,
    }


def _server_paths() -> Node:
    def about(operation: str, summary: str, responses: Node) -> Node:
        operation_node = {"operationId": operation, "tags": ["server"], "summary": summary}
        return {"get": {**operation_node, "responses": responses}}

    def text(kind: str, summary: str) -> Node:
        return {"200": {"description": summary, "content": {kind: {"schema": {"type": "string"}}}}}

    return {
        "/": about("getPage", "The state of the loop, for people.", text("text/html", "A page.")),
        "/healthz": about("getHealth", "The process answers.", {"200": _json("Alive.", "Alive")}),
        "/readyz": about(
            "getReadiness",
            "Events can be written down and become visible.",
            {"200": _json("Ready.", "Readiness"), "503": _not_ready()},
        ),
        "/metrics": about(
            "getMetrics", "Numbers for Prometheus.", text("text/plain", "Prometheus text format.")
        ),
        "/openapi.json": about(
            "getDescription",
            "This document.",
            {
                "200": {
                    "description": "OpenAPI 3.1.",
                    "content": {"application/json": {"schema": {"type": "object"}}},
                }
            },
        ),
    }
