"""What is answered of models: their versions, what each declared, when it served and how it did."""

from __future__ import annotations

from schemas import kinds
from schemas.describe.answer_parts import (
    COUNT,
    FLAG,
    TEXT,
    TIME,
    Schema,
    list_of,
    nullable,
    object_of,
    reference,
)

_MORE: Schema = {"type": "boolean", "description": "There where there are more than the latest."}

_BY = [kinds.MODEL_DEPLOYED.name, kinds.MODEL_ROLLED_BACK.name]

MODEL: Schema = object_of(
    {
        "model": TEXT,
        "serving": nullable("string", description="The version that serves now."),
        "predictions": {**COUNT, "description": "Those of all its versions."},
        "versions_total": {**COUNT, "description": "How many versions it has, also those on other pages."},
        "versions": {
            "type": "array",
            "items": object_of(
                {
                    "model_version": TEXT,
                    "declared": {
                        "oneOf": [
                            object_of(
                                {
                                    "output_shape": {"type": "object"},
                                    "description": nullable("string"),
                                    "from": nullable(
                                        "string",
                                        description="The version whose declaration serves this one;"
                                        " null when it is its own.",
                                    ),
                                    "later_versions": {
                                        "type": "boolean",
                                        "description": "It serves every version without one of its own.",
                                    },
                                    "at": TIME,
                                },
                                "What it may answer.",
                            ),
                            {"type": "null"},
                        ]
                    },
                    "deployed": {
                        "type": "array",
                        "items": object_of(
                            {
                                "since": TIME,
                                "until": nullable("string", format="date-time"),
                                "by": {
                                    "type": "string",
                                    "enum": [kinds.MODEL_DEPLOYED.name, kinds.MODEL_ROLLED_BACK.name],
                                },
                                "why": nullable("string"),
                            },
                            "A span in which it served; it still does where `until` is null.",
                        ),
                    },
                    "serving": FLAG,
                    "evaluations": {
                        "type": "array",
                        "items": object_of(
                            {
                                "at": TIME,
                                "metrics": {
                                    "type": "array",
                                    "items": object_of(
                                        {
                                            "name": TEXT,
                                            "value": {"type": "number"},
                                            "n": nullable("integer"),
                                            "low": nullable("number"),
                                            "high": nullable("number"),
                                        },
                                        "A measured number, how many cases it rests on, and its interval.",
                                    ),
                                },
                                "dataset": nullable("string"),
                                "split": nullable("string"),
                                "id": TEXT,
                                "source": TEXT,
                            },
                            "How it did once, the latest first.",
                        ),
                    },
                    "datasets": {
                        "type": "array",
                        "items": TEXT,
                        "description": "What it learned from, as `MODEL@N`.",
                    },
                    "predictions": COUNT,
                },
                "One version, the one that came last first, with its 20 latest evaluations, spans and"
                " datasets. In a list of models: the 10 latest versions and the one that serves, 5 of each.",
                {f"{name}_more": _MORE for name in ("deployed", "evaluations", "datasets")},
            ),
        },
    },
    "A model and its versions.",
    {
        "versions_next": {
            "type": "string",
            "description": "The token of the next page of `versions`, for `?next=` of `/v1/models/{model}`.",
        }
    },
)

MODELS: Schema = list_of(reference("Model"), "Models by name.")
