"""The OpenAPI document: valid, complete, and no more than the contract."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from schemas.catalog import CURRENT
from schemas.describe.openapi import AT_THE_DOOR, document
from schemas.kinds import PREFIX
from schemas.problems import COLLECTOR_CODES, WORKER_CODES

GOLDEN = Path(__file__).parents[3] / "schemas" / "golden"

_LISTED = {"after", "env", "limit", "next", "from", "to", "model", "person"}
READS = {
    "/v1/predictions": _LISTED | {"model_version", "segment", "action", "feedback"},
    "/v1/feedback": _LISTED | {"kind", "value"},
    "/v1/models": {"after", "env", "limit", "next"},
    "/v1/models/{model}": {"after", "env", "limit", "next"},
    "/v1/predictions/{id}": {"after", "limit", "next"},
    "/v1/feedback/{id}": {"after", "source"},
    "/v1/waiting": {"after", "env", "limit", "next"},
    "/v1/counts": {"after", "env", "limit", "next", "model", "from", "to", "by"},
    "/v1/labels/{model}": {"after", "env", "limit", "next", "disagree"},
    "/v1/outcomes/{model}": {"after", "env", "limit", "next", "from", "to", "by"},
    "/v1/overrides/{model}": {"after", "env", "person", "input_ref"},
    "/v1/dead-letters": {"after", "limit", "next", "code"},
    "/v1/datasets": {"after", "limit", "next"},
    "/v1/datasets/{model}/{version}": {"after"},
    "/v1/datasets/{model}/{version}/files/{name}": {"after"},
}
OTHERS = {"/", "/v1/events", "/healthz", "/readyz", "/metrics", "/openapi.json"}


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    """The document as a client gets it."""
    return json.loads(json.dumps(document()))  # type: ignore[no-any-return]


def resolved(spec: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    """A node, or what it refers to."""
    while "$ref" in node:
        found: Any = spec
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def parameters(spec: dict[str, Any], path: str, place: str) -> dict[str, dict[str, Any]]:
    """The parameters of a read route, by name."""
    nodes = [resolved(spec, node) for node in spec["paths"][path]["get"]["parameters"]]
    return {node["name"]: node for node in nodes if node["in"] == place}


def validator(spec: dict[str, Any], name: str) -> Any:
    """A validator of one component."""
    return Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": spec["components"]})


def test_the_document_is_valid(spec: dict[str, Any]) -> None:
    """By the specification's own schema, and every reference leads somewhere."""
    OpenAPIV31SpecValidator(spec).validate()


def test_every_route_of_the_contract_is_described(spec: dict[str, Any]) -> None:
    """And no other."""
    assert set(spec["paths"]) == set(READS) | OTHERS
    operations = [node["operationId"] for item in spec["paths"].values() for node in item.values()]
    assert len(set(operations)) == len(operations)


@pytest.mark.parametrize("path", READS)
def test_a_read_takes_its_parameters_and_can_be_refused(spec: dict[str, Any], path: str) -> None:
    """Reads wait with `after` and say 504; a malformed parameter is 400; all problems are RFC 9457's."""
    assert set(parameters(spec, path, "query")) == READS[path]
    assert set(parameters(spec, path, "path")) == set(re.findall(r"\{(\w+)\}", path))
    responses = spec["paths"][path]["get"]["responses"]
    assert {"200", "400", "503", "504"} <= set(responses)
    for status, response in responses.items():
        if status != "200":
            content = resolved(spec, response)["content"]
            assert content == {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            }


def test_events_are_taken_in_four_media_types(spec: dict[str, Any]) -> None:
    """One event, a batch, and lines; refused whole with 400, 413, 415, 422 or 503."""
    post = spec["paths"]["/v1/events"]["post"]
    assert set(post["requestBody"]["content"]) == {
        "application/cloudevents+json",
        "application/json",
        "application/cloudevents-batch+json",
        "application/x-ndjson",
    }
    assert set(post["responses"]) - set(AT_THE_DOOR) == {"200", "400", "413", "415", "422", "503"}
    assert "Retry-After" in resolved(spec, post["responses"]["503"])["headers"]


def test_an_event_is_told_by_its_type(spec: dict[str, Any]) -> None:
    """The discriminator maps every type of the catalogue to its schema."""
    event = spec["components"]["schemas"]["Event"]
    assert event["discriminator"]["propertyName"] == "type"
    assert set(event["discriminator"]["mapping"]) == {PREFIX + name for name in CURRENT}
    assert [node["$ref"] for node in event["oneOf"]] == list(event["discriminator"]["mapping"].values())


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.name)
def test_golden_samples_are_bodies(spec: dict[str, Any], path: Path) -> None:
    """A golden sample is one event, of exactly one type; the example in the document is one as well."""
    validator(spec, "Event").validate(json.loads(path.read_bytes()))


def test_the_examples_are_valid(spec: dict[str, Any]) -> None:
    """What people copy from the document is accepted."""
    content = spec["paths"]["/v1/events"]["post"]["requestBody"]["content"]
    for example in content["application/json"]["examples"].values():
        validator(spec, "Event").validate(example["value"])
    for example in content["application/cloudevents-batch+json"]["examples"].values():
        for value in example["value"]:
            validator(spec, "Event").validate(value)


@pytest.mark.parametrize(
    "name, good, bad",
    [
        ("after", ["0:17", "0:0,1:3,dead:2", "dead:0"], ["", "0", "0:1,", "-1:3", "0:01", "0:1 ", "x:1"]),
        ("from", ["2026-11-20"], ["2026-1-2", "0026-11-20"]),
        ("limit", [1, 1000], [0, 1001, "x"]),
        ("code", [*COLLECTOR_CODES, *WORKER_CODES], ["not_found", ""]),
        ("by", [[], ["day", "env"]], [["colour"], ["day", "day"]]),
        ("disagree", ["1", "0"], ["yes", ""]),
        ("input_ref", ["a" * 64], ["A" * 64, "a" * 63]),
    ],
)
def test_parameters_say_what_they_take(
    spec: dict[str, Any], name: str, good: list[Any], bad: list[Any]
) -> None:
    """Each one's schema allows what the server takes and nothing else."""
    paths = ["/v1/counts", "/v1/labels/{model}", "/v1/overrides/{model}", "/v1/dead-letters"]
    found = {key: node for path in paths for key, node in parameters(spec, path, "query").items()}
    schema = Draft202012Validator(found[name]["schema"])
    for value in good:
        schema.validate(value)
    for value in bad:
        assert not schema.is_valid(value)


PROBLEM = {"type": "urn:loopline:problem:label_invalid", "title": "t", "detail": "d", "code": "label_invalid"}
AT = "2026-11-20T09:12:31.402Z"
ANSWERS: dict[str, dict[str, Any]] = {
    "Problem": {**PROBLEM, "status": 422, "position": "0:17"},
    "Acknowledged": {
        "accepted": 1,
        "refused": 1,
        "position": "0:17,dead:2",
        "items": [
            {"index": 0, "id": "e-1", "status": "accepted"},
            {"index": 1, "id": None, "status": "refused", "problem": PROBLEM},
        ],
    },
    "Prediction": {
        "prediction": {"prediction_id": "p-81", "model": "m", "model_version": "1", "output": None},
        "feedback": [
            {"id": "e", "source": "/s", "type": "t", "at": AT, "person": None, "effective": True, "data": {}}
        ],
        "label": {"label": None, "agreement": 0.5, "people": 2},
    },
    "FeedbackStatus": {
        "items": [
            {
                "id": "e",
                "source": "/s",
                "type": "t",
                "at": AT,
                "person": "u-7",
                "prediction_id": None,
                "timeline": [
                    {"stage": "received", "at": AT},
                    {"stage": "waiting", "at": AT, "for": "prediction:p"},
                ],
            }
        ]
    },
    "Waiting": {
        "items": [{"id": "e", "source": "/s", "type": "t", "waits_for": "prediction:p", "age_s": 0.5}],
        "next": None,
    },
    "Counts": {
        "items": [{"model": "m", "segment": None, "n": 1, "events": 2}],
        "next": "abc",
        "complete_up_to": AT,
        "mature_up_to": None,
    },
    "Labels": {
        "items": [
            {
                "prediction_id": "p",
                "label": {"any": 1},
                "agreement": 1,
                "people": 1,
                "candidates": [{"label": "a", "people": 1, "events": [{"id": "e", "source": "/s"}]}],
            }
        ],
        "next": None,
    },
    "Outcomes": {
        "items": [{"outcome": "renewed", "subjects": 3, "n": 1, "rate": None, "low": None, "high": None}],
        "next": None,
    },
    "Override": {"label": "smyth", "id": "e", "source": "/s", "at": AT},
    "DeadLetters": {
        "items": [
            {
                "dead_letter": "dead:4:0",
                "code": "invalid_json",
                "problem": PROBLEM,
                "id": None,
                "source": None,
                "received": AT,
                "bytes": "bm9wZQ==",
            }
        ],
        "next": None,
    },
    "Datasets": {"items": [{"model": "m", "version": 1}], "next": None},
    "Alive": {"status": "ok", "log": "0b1f"},
    "Readiness": {"status": "ready", "reasons": []},
}


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_as_in_the_contract_fits(spec: dict[str, Any], name: str) -> None:
    """And without any one of the fields that the contract names, or with another type, it does not."""
    answer = ANSWERS[name]
    schema = validator(spec, name)
    schema.validate(answer)
    for field in answer.keys() - {"status", "position"} if name == "Problem" else answer:
        assert not schema.is_valid({key: value for key, value in answer.items() if key != field})
        if name != "Override":
            wrong = {"never": 1} if isinstance(answer[field], list) else ["never"]
            assert not schema.is_valid({**answer, field: wrong})
    for field in (answer.get("items") or [{}])[0].keys() - {"problem", "model", "segment"}:
        item = {key: value for key, value in answer["items"][0].items() if key != field}
        assert not schema.is_valid({**answer, "items": [item]})


def test_describing_imports_nothing_heavy() -> None:
    """The server reads it at a request: jsonschema, validators and the like stay out."""
    code = "import sys, schemas.describe.openapi; schemas.describe.openapi.document(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"jsonschema", "numpy", "pandas", "starlette"} & set(done.stdout.split())
