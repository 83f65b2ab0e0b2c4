"""The shapes of what the HTTP interface answers: CONTRACT's routes as JSON Schemas for OpenAPI 3.1.

Answers stay open, for a later version may say more; what is required here is what a client may rely
on. How routes are put together is left to `schemas.describe.openapi`.
"""

from __future__ import annotations

from schemas import kinds
from schemas.describe.answer_parts import (
    COUNT,
    FLAG,
    SHARE,
    TEXT,
    TIME,
    TYPE,
    Schema,
    list_of,
    nullable,
    object_of,
    reference,
)
from schemas.describe.model_answers import MODEL, MODELS
from schemas.kinds import FEEDBACK_KINDS
from schemas.problems import COLLECTOR_CODES, TITLES, WORKER_CODES
from schemas.stages import Stage

COUNT_FIELDS = ("model", "model_version", "segment", "action", "day", "kind", "value", "env")
KINDS_ASKED = (*FEEDBACK_KINDS, *(kinds.FEEDBACK + short for short in FEEDBACK_KINDS))
"""How a kind of feedback is asked for: `thumb` or `feedback.thumb`."""
SAID = rf"(feedback\.)?({'|'.join(FEEDBACK_KINDS)})(:[a-z0-9_]{{1,64}})?"
"""A kind of feedback and perhaps a value of it: `thumb:down`, `action:copied`, `correction`."""
OUTCOME_FIELDS = ("model_version", "segment", "action")
ITEM_CODES = (*COLLECTOR_CODES, *WORKER_CODES)


_POSITION: Schema = {
    "type": "string",
    "description": "Covers everything acknowledged before it. A read with `after` this sees what was sent.",
    "examples": ["0:17,dead:2"],
}
_LABEL: Schema = {"description": "Any JSON value; null in a tie."}

_UP_TO = {
    "complete_up_to": nullable(
        "string",
        format="date-time",
        description="Everything received up to here is in these numbers. Older while the log does not answer:"
        " then it is when its end was known last. Where several collectors write, 4.02 s older than now: so"
        " long what another one acknowledges may be on its way.",
    ),
    "mature_up_to": nullable(
        "string", format="date-time", description="Predictions up to here have had their time to be answered."
    ),
}

PROBLEM: Schema = object_of(
    {
        "type": {"type": "string", "description": "A URN: `urn:loopline:problem:` and the code."},
        "title": TEXT,
        "detail": {"type": "string", "description": "What to do about it."},
        "code": {"type": "string", "enum": sorted(TITLES)},
    },
    "An RFC 9457 problem.",
    {"status": {"type": "integer"}, "position": _POSITION},
)

ACKNOWLEDGED: Schema = object_of(
    {
        "accepted": COUNT,
        "refused": COUNT,
        "position": _POSITION,
        "items": {
            "type": "array",
            "items": object_of(
                {
                    "index": COUNT,
                    "id": nullable("string"),
                    "status": {"type": "string", "enum": ["accepted", "refused", "retry"]},
                },
                "What became of one item.",
                {"problem": reference("Problem")},
            ),
        },
    },
    "Everything in it is on disk: what was accepted, and what was refused with its original bytes.",
)

_STAGE = object_of(
    {"stage": {"type": "string", "enum": [stage.value for stage in Stage]}, "at": TIME},
    "One thing that is true about the event now; some stages say more.",
)

FEEDBACK_STATUS: Schema = object_of(
    {
        "items": {
            "type": "array",
            "items": object_of(
                {
                    "id": nullable("string"),
                    "source": nullable("string"),
                    "type": nullable("string"),
                    "at": TIME,
                    "person": nullable("string"),
                    "prediction_id": nullable("string"),
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
    "id": TEXT,
    "source": TEXT,
    "type": TYPE,
    "at": TIME,
    "person": nullable("string"),
    "effective": FLAG,
    "data": {"type": "object"},
}
_ITS_LABEL: Schema = {
    "oneOf": [
        object_of(
            {"label": _LABEL, "agreement": SHARE, "people": COUNT},
            "What people say the right answer is.",
        ),
        {"type": "null"},
    ]
}

PREDICTION: Schema = object_of(
    {
        "prediction": _MADE,
        "feedback": {
            "type": "array",
            "items": object_of(_SAID_OF_IT, "One thing that was said about it; `effective` when it counts."),
        },
        "label": _ITS_LABEL,
    },
    "A prediction with everything said about it.",
    {"feedback_next": {"type": "string", "description": "The token of the next page of `feedback`."}},
)

PREDICTIONS: Schema = list_of(
    object_of(
        {
            "prediction": _MADE,
            "at": TIME,
            "label": _ITS_LABEL,
            "feedback_counts": {
                "type": "object",
                "additionalProperties": COUNT,
                "description": "What counts of what was said of it: how often, by kind and value.",
                "examples": [{"thumb:down": 2, "correction": 1}],
            },
        },
        "One prediction.",
        {
            "feedback_counts_more": {
                "type": "boolean",
                "description": "There where more was said of it than the 1,000 pieces that were counted.",
            }
        },
    ),
    "Predictions, newest first. A page may end early, with few items or none and a `next`.",
)

FEEDBACK: Schema = list_of(
    object_of(
        {**_SAID_OF_IT, "prediction_id": nullable("string", description="Null while it waits.")},
        "One thing that somebody said.",
    ),
    "What people said, newest first. A page may end early, with few items or none and a `next`.",
)

WAITING: Schema = list_of(
    object_of(
        {
            "id": TEXT,
            "source": TEXT,
            "type": TYPE,
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
            "items": object_of(
                {
                    "waits_for": {
                        "type": "string",
                        "description": "`declaration:MODEL@VERSION`, or `prediction`, `join_key`, `event`.",
                    },
                    "events": COUNT,
                    "more": {"type": "boolean", "description": "There are more than were counted."},
                },
                "What waits for the same, or for the same kind of thing.",
            ),
        }
    },
)

COUNTS: Schema = list_of(
    object_of(
        {
            "n": {"type": "integer", "description": "What counts."},
            "events": {"type": "integer", "description": "All that were not retracted."},
        },
        "One group, with the fields that `by` asked for.",
        {name: nullable("string") for name in COUNT_FIELDS},
    ),
    "Counts by the fields of `by`.",
    _UP_TO,
)

LABELS: Schema = list_of(
    object_of(
        {
            "prediction_id": TEXT,
            "label": _LABEL,
            "agreement": SHARE,
            "people": COUNT,
            "candidates": {
                "type": "array",
                "items": object_of(
                    {
                        "label": _LABEL,
                        "people": COUNT,
                        "events": {
                            "type": "array",
                            "items": object_of({"id": TEXT, "source": TEXT}, "An event behind it."),
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
        "refused": object_of(
            {"label_invalid": COUNT, "corrections": COUNT},
            "On the first page: how many of all corrections have a label that does not fit what their"
            " prediction's version declared. They count as feedback, and are no labels.",
        )
    },
)

OUTCOMES: Schema = list_of(
    object_of(
        {
            "outcome": TEXT,
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
            "rate": nullable("number", description="Null below 30 subjects: not enough data yet."),
            "low": nullable("number"),
            "high": nullable("number"),
        },
        "An association over a group, never a label of one prediction.",
        {name: nullable("string") for name in OUTCOME_FIELDS},
    ),
    "What became of the subjects that saw a model's predictions, within the outcome window.",
)

OVERRIDE: Schema = object_of(
    {"label": {"description": "Any JSON value."}, "id": TEXT, "source": TEXT, "at": TIME},
    "What this person gets for this input: the person's own latest correction.",
)

DEAD_LETTERS: Schema = list_of(
    object_of(
        {
            "dead_letter": {"type": "string", "examples": ["dead:4:0", "0:17:3"]},
            "code": {"type": "string", "enum": list(ITEM_CODES)},
            "problem": reference("Problem"),
            "id": nullable("string"),
            "source": nullable("string"),
            "received": TIME,
            "bytes": {
                "type": "string",
                "contentEncoding": "base64",
                "description": "The item as sent.",
            },
        },
        "One refused item.",
        {
            "settled": {
                "type": "boolean",
                "description": "Whether it was put back and accepted since.",
            },
            "replayed": {
                "type": "boolean",
                "description": "The older name of `settled`, with the same value.",
            },
        },
    ),
    "What was refused, by the collector or by the worker's verdict.",
)

DATASETS: Schema = list_of(
    object_of(
        {"model": TEXT, "version": {"type": "integer", "minimum": 1}},
        "One release. `name` is MODEL@VERSION, or MODEL.NAME@VERSION where it was released under a name;"
        " `dataset` is what stands before the @ and in the paths; the other fields are its manifest's.",
        {"name": TEXT, "dataset": TEXT, "release_name": nullable("string")},
    ),
    "The releases of every model.",
)

MANIFEST: Schema = {"type": "object", "description": "The manifest of a release."}

ALIVE: Schema = object_of(
    {
        "status": {"type": "string", "const": "ok"},
        "log": {**TEXT, "description": "Which log is served: the same text for the same log."},
    },
    "The process answers.",
)

READINESS: Schema = object_of(
    {
        "status": {"type": "string", "enum": ["ready", "degraded", "unavailable"]},
        "reasons": {"type": "array", "items": TEXT},
    },
    "Whether events can be written down and become visible; if not, why.",
    {
        "position": {**TEXT, "description": "Where the log ends, as far as that is known."},
        "views_at": {**TEXT, "description": "Where the views stood when they were seen last."},
        "lag_blocks": nullable(
            "integer",
            minimum=0,
            description="Blocks that the views have not seen; null while the views cannot be seen, or nobody"
            " knows where the log ends.",
        ),
        "worker": {**TEXT, "description": "What the worker does; `elsewhere` on many machines."},
    },
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
    "Model": MODEL,
    "Models": MODELS,
    "Outcomes": OUTCOMES,
    "Override": OVERRIDE,
    "Prediction": PREDICTION,
    "Predictions": PREDICTIONS,
    "Readiness": READINESS,
    "Waiting": WAITING,
}
