"""The shapes of what the HTTP interface answers: CONTRACT's routes as JSON Schemas for OpenAPI 3.1.

Answers stay open, for a later version may say more; what is required here is what a client may rely
on. How routes are put together is left to `schemas.openapi`.
"""

from __future__ import annotations

from typing import Any

from schemas.catalog import CURRENT, FEEDBACK_KINDS, PREFIX
from schemas.problems import COLLECTOR_CODES, TITLES, WORKER_CODES

Schema = dict[str, Any]

STAGES = (
    "received",
    "waiting",
    "joined",
    "in_effect",
    "in_dataset",
    "in_model",
    "deployed",
    "person_told",
    "retracted",
    "discarded",
)
COUNT_FIELDS = ("model", "model_version", "segment", "action", "day", "kind", "value", "env")
SAID = rf"(feedback\.)?({'|'.join(FEEDBACK_KINDS)})(:[a-z0-9_]{{1,64}})?"
"""A kind of feedback and perhaps a value of it: `thumb:down`, `action:copied`, `correction`."""
OUTCOME_FIELDS = ("model_version", "segment", "action")
ITEM_CODES = (*COLLECTOR_CODES, *WORKER_CODES)


def reference(name: str) -> Schema:
    """A reference to the component called `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _object(
    required: dict[str, Schema], description: str, optional: dict[str, Schema] | None = None
) -> Schema:
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def _list_of(
    item: Schema,
    description: str,
    more: dict[str, Schema] | None = None,
    optional: dict[str, Schema] | None = None,
) -> Schema:
    required = {"items": {"type": "array", "items": item}, "next": _NEXT, **(more or {})}
    return _object(required, description, optional)


def _nullable(kind: str, **more: Any) -> Schema:
    return {"type": [kind, "null"], **more}


_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
_FLAG: Schema = {"type": "boolean"}
_TIME: Schema = {"type": "string", "format": "date-time"}
_TYPE: Schema = {"type": "string", "examples": [PREFIX + next(iter(CURRENT))]}
_NEXT = _nullable(
    "string", description="Sent back as `next` it gives the page that follows; null on the last."
)
_POSITION: Schema = {
    "type": "string",
    "description": "Covers everything acknowledged before it. A read with `after` this sees what was sent.",
    "examples": ["0:17,dead:2"],
}
_LABEL: Schema = {"description": "Any JSON value; null in a tie."}

_UP_TO = {
    "complete_up_to": _nullable(
        "string", format="date-time", description="Everything received up to here is in these numbers."
    ),
    "mature_up_to": _nullable(
        "string", format="date-time", description="Predictions up to here have had their time to be answered."
    ),
}

PROBLEM: Schema = _object(
    {
        "type": {"type": "string", "description": "A URN: `urn:loopline:problem:` and the code."},
        "title": _TEXT,
        "detail": {"type": "string", "description": "What to do about it."},
        "code": {"type": "string", "enum": sorted(TITLES)},
    },
    "An RFC 9457 problem.",
    {"status": {"type": "integer"}, "position": _POSITION},
)

ACKNOWLEDGED: Schema = _object(
    {
        "accepted": _COUNT,
        "refused": _COUNT,
        "position": _POSITION,
        "items": {
            "type": "array",
            "items": _object(
                {
                    "index": _COUNT,
                    "id": _nullable("string"),
                    "status": {"type": "string", "enum": ["accepted", "refused", "retry"]},
                },
                "What became of one item.",
                {"problem": reference("Problem")},
            ),
        },
    },
    "Everything in it is on disk: what was accepted, and what was refused with its original bytes.",
)

_STAGE = _object(
    {"stage": {"type": "string", "enum": list(STAGES)}, "at": _TIME},
    "One thing that is true about the event now; some stages say more.",
)

FEEDBACK_STATUS: Schema = _object(
    {
        "items": {
            "type": "array",
            "items": _object(
                {
                    "id": _nullable("string"),
                    "source": _nullable("string"),
                    "type": _nullable("string"),
                    "at": _TIME,
                    "person": _nullable("string"),
                    "prediction_id": _nullable("string"),
                    "timeline": {"type": "array", "items": _STAGE},
                },
                "One event of this id.",
            ),
        }
    },
    "What is true about it now; empty while the id is unknown.",
)

_MADE: Schema = {"type": "object", "description": "The data of its `prediction.made`."}
_SAID_OF_IT: dict[str, Schema] = {
    "id": _TEXT,
    "source": _TEXT,
    "type": _TYPE,
    "at": _TIME,
    "person": _nullable("string"),
    "effective": _FLAG,
    "data": {"type": "object"},
}
_ITS_LABEL: Schema = {
    "oneOf": [
        _object(
            {"label": _LABEL, "agreement": _SHARE, "people": _COUNT},
            "What people say the right answer is.",
        ),
        {"type": "null"},
    ]
}

PREDICTION: Schema = _object(
    {
        "prediction": _MADE,
        "feedback": {
            "type": "array",
            "items": _object(_SAID_OF_IT, "One thing that was said about it; `effective` when it counts."),
        },
        "label": _ITS_LABEL,
    },
    "A prediction with everything said about it.",
    {"feedback_next": {"type": "string", "description": "The token of the next page of `feedback`."}},
)

PREDICTIONS: Schema = _list_of(
    _object(
        {
            "prediction": _MADE,
            "at": _TIME,
            "label": _ITS_LABEL,
            "feedback_counts": {
                "type": "object",
                "additionalProperties": _COUNT,
                "description": "What counts of what was said of it: how often, by kind and value.",
                "examples": [{"thumb:down": 2, "correction": 1}],
            },
        },
        "One prediction.",
    ),
    "Predictions, newest first. A page may end early, with few items or none and a `next`.",
)

FEEDBACK: Schema = _list_of(
    _object(
        {**_SAID_OF_IT, "prediction_id": _nullable("string", description="Null while it waits.")},
        "One thing that somebody said.",
    ),
    "What people said, newest first. A page may end early, with few items or none and a `next`.",
)

_MODEL: Schema = _object(
    {
        "model": _TEXT,
        "serving": _nullable("string", description="The version that serves now."),
        "versions": {
            "type": "array",
            "items": _object(
                {
                    "model_version": _TEXT,
                    "declared": {
                        "oneOf": [
                            _object(
                                {
                                    "output_shape": {"type": "object"},
                                    "description": _nullable("string"),
                                    "from": _nullable(
                                        "string",
                                        description="The version whose declaration serves this one;"
                                        " null when it is its own.",
                                    ),
                                    "later_versions": {
                                        "type": "boolean",
                                        "description": "It serves every version without one of its own.",
                                    },
                                    "at": _TIME,
                                },
                                "What it may answer.",
                            ),
                            {"type": "null"},
                        ]
                    },
                    "deployed": {
                        "type": "array",
                        "items": _object(
                            {
                                "since": _TIME,
                                "until": _nullable("string", format="date-time"),
                                "by": {"type": "string", "enum": ["model.deployed", "model.rolled_back"]},
                                "why": _nullable("string"),
                            },
                            "A span in which it served; it still does where `until` is null.",
                        ),
                    },
                    "serving": _FLAG,
                    "evaluations": {
                        "type": "array",
                        "items": _object(
                            {
                                "at": _TIME,
                                "metrics": {
                                    "type": "array",
                                    "items": _object(
                                        {
                                            "name": _TEXT,
                                            "value": {"type": "number"},
                                            "n": _nullable("integer"),
                                            "low": _nullable("number"),
                                            "high": _nullable("number"),
                                        },
                                        "A measured number, how many cases it rests on, and its interval.",
                                    ),
                                },
                                "dataset": _nullable("string"),
                                "split": _nullable("string"),
                                "id": _TEXT,
                                "source": _TEXT,
                            },
                            "How it did once, the latest first.",
                        ),
                    },
                    "datasets": {
                        "type": "array",
                        "items": _TEXT,
                        "description": "What it learned from, as `MODEL@N`.",
                    },
                    "predictions": _COUNT,
                },
                "One version, the one that came last first.",
            ),
        },
    },
    "A model and its versions.",
)

MODELS: Schema = _list_of(reference("Model"), "Models by name.")

WAITING: Schema = _list_of(
    _object(
        {
            "id": _TEXT,
            "source": _TEXT,
            "type": _TYPE,
            "waits_for": {
                "type": "string",
                "description": "One of `prediction:ID`, `join_key:MODEL/KEY`,"
                " `declaration:MODEL@VERSION` and `event:ID`.",
            },
            "age_s": {"type": "number", "minimum": 0},
        },
        "One parked event.",
    ),
    "What is parked, and for what.",
    optional={
        "groups": {
            "type": "array",
            "description": "On the first page of all environments: how much waits for what.",
            "items": _object(
                {
                    "waits_for": {
                        "type": "string",
                        "description": "`declaration:MODEL@VERSION`, or `prediction`, `join_key`, `event`.",
                    },
                    "events": _COUNT,
                    "more": {"type": "boolean", "description": "There are more than were counted."},
                },
                "What waits for the same, or for the same kind of thing.",
            ),
        }
    },
)

COUNTS: Schema = _list_of(
    _object(
        {
            "n": {"type": "integer", "description": "What counts."},
            "events": {"type": "integer", "description": "All that were not retracted."},
        },
        "One group, with the fields that `by` asked for.",
        {name: _nullable("string") for name in COUNT_FIELDS},
    ),
    "Counts by the fields of `by`.",
    _UP_TO,
)

LABELS: Schema = _list_of(
    _object(
        {
            "prediction_id": _TEXT,
            "label": _LABEL,
            "agreement": _SHARE,
            "people": _COUNT,
            "candidates": {
                "type": "array",
                "items": _object(
                    {
                        "label": _LABEL,
                        "people": _COUNT,
                        "events": {
                            "type": "array",
                            "items": _object({"id": _TEXT, "source": _TEXT}, "An event behind it."),
                        },
                    },
                    "One label that somebody says is right.",
                ),
                "description": "Most votes first; where there are very many, the first 100 labels, and 100"
                " events of each.",
            },
        },
        "The label of one prediction.",
        {"rivals": {"type": "integer", "minimum": 1, "description": "How many labels there are, if more."}},
    ),
    "What people say the right labels are, one item a prediction.",
    optional={
        "refused": _object(
            {"label_invalid": _COUNT, "corrections": _COUNT},
            "On the first page: how many of all corrections have a label that does not fit what their"
            " prediction's version declared. They count as feedback, and are no labels.",
        )
    },
)

OUTCOMES: Schema = _list_of(
    _object(
        {
            "outcome": _TEXT,
            "subjects": {
                "type": "integer",
                "minimum": 0,
                "description": "Who saw its predictions.",
            },
            "n": {
                "type": "integer",
                "minimum": 0,
                "description": "How many of them had it.",
            },
            "rate": _nullable("number", description="Null: not enough data yet."),
            "low": _nullable("number"),
            "high": _nullable("number"),
        },
        "An association over a group, never a label of one prediction.",
        {name: _nullable("string") for name in OUTCOME_FIELDS},
    ),
    "What became of the subjects that saw a model's predictions, within the outcome window.",
)

OVERRIDE: Schema = _object(
    {"label": {"description": "Any JSON value."}, "id": _TEXT, "source": _TEXT, "at": _TIME},
    "What this person gets for this input: the person's own latest correction.",
)

DEAD_LETTERS: Schema = _list_of(
    _object(
        {
            "dead_letter": {"type": "string", "examples": ["dead:4:0", "0:17:3"]},
            "code": {"type": "string", "enum": list(ITEM_CODES)},
            "problem": reference("Problem"),
            "id": _nullable("string"),
            "source": _nullable("string"),
            "received": _TIME,
            "bytes": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "The item as sent.",
            },
        },
        "One refused item.",
    ),
    "What was refused, by the collector or by the worker's verdict.",
)

DATASETS: Schema = _list_of(
    _object(
        {"model": _TEXT, "version": {"type": "integer", "minimum": 1}},
        "One release. `name` is MODEL@VERSION, or MODEL.NAME@VERSION where it was released under a name;"
        " `dataset` is what stands before the @ and in the paths; the other fields are its manifest's.",
        {"name": _TEXT, "dataset": _TEXT, "release_name": _nullable("string")},
    ),
    "The releases of every model.",
)

MANIFEST: Schema = {"type": "object", "description": "The manifest of a release."}

ALIVE: Schema = _object(
    {
        "status": {"type": "string", "const": "ok"},
        "log": {**_TEXT, "description": "Which log is served: the same text for the same log."},
    },
    "The process answers.",
)

READINESS: Schema = _object(
    {
        "status": {"type": "string", "enum": ["ready", "unavailable"]},
        "reasons": {"type": "array", "items": _TEXT},
    },
    "Whether events can be written down and become visible; if not, why.",
)

SCHEMAS: dict[str, Schema] = {
    "Problem": PROBLEM,
    "Acknowledged": ACKNOWLEDGED,
    "Alive": ALIVE,
    "Counts": COUNTS,
    "Datasets": DATASETS,
    "DeadLetters": DEAD_LETTERS,
    "Feedback": FEEDBACK,
    "FeedbackStatus": FEEDBACK_STATUS,
    "Labels": LABELS,
    "Manifest": MANIFEST,
    "Model": _MODEL,
    "Models": MODELS,
    "Outcomes": OUTCOMES,
    "Override": OVERRIDE,
    "Prediction": PREDICTION,
    "Predictions": PREDICTIONS,
    "Readiness": READINESS,
    "Waiting": WAITING,
}
