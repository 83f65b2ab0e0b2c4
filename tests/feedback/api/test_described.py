"""The described interface: generated requests find nothing that the description does not say.

The document is that of `schemas.describe.openapi`; here it is served, and every operation is asked with what
it allows and with what it does not, on a fresh loop and on one with something of every kind in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from openapi_spec_validator import validate
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks

from feedback.server.app import ROUTES
from tests.feedback.api.test_datasets import publish
from tests.feedback.conftest import Loop, correction, declared, made
from tests.streams.asking import event, thumb

pytestmark = pytest.mark.fuzz

ROOT = Path(__file__).parents[3]
REF = "ab" * 32
OPERATIONS = (
    ("/v1/events", "post"),
    ("/v1/predictions", "get"),
    ("/v1/predictions/{id}", "get"),
    ("/v1/feedback", "get"),
    ("/v1/feedback/{id}", "get"),
    ("/v1/models", "get"),
    ("/v1/models/{model}", "get"),
    ("/v1/waiting", "get"),
    ("/v1/counts", "get"),
    ("/v1/labels/{model}", "get"),
    ("/v1/overrides/{model}", "get"),
    ("/v1/outcomes/{model}", "get"),
    ("/v1/dead-letters", "get"),
    ("/v1/datasets", "get"),
    ("/v1/datasets/{model}/{version}", "get"),
    ("/v1/datasets/{model}/{version}/files/{name}", "get"),
    ("/", "get"),
    ("/healthz", "get"),
    ("/readyz", "get"),
    ("/metrics", "get"),
    ("/openapi.json", "get"),
)

load_all_checks()


@pytest.fixture(scope="module", params=["fresh", "populated"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    """A loop before anything happened, and one in which everything did."""
    loop = Loop(tmp_path_factory.mktemp("home") / "datasets")
    with loop.client:
        if request.param == "populated":
            populate(loop)
        yield loop
    loop.appender.stop()


def populate(loop: Loop) -> None:
    """Something of every kind, under the ids that generated requests are likely to ask for."""
    loop.send(declared(), event("model.deployed", "deployed", model="m", model_version="1", datasets=["0@1"]))
    for number in range(10):
        loop.send(
            made(str(number), subject=f"s-{number}", input_ref=REF, segment="x", join_key="case"),
            thumb(str(number), str(number), person="0"),
            correction(f"c-{number}", "b", str(number), person="0"),
            correction(f"d-{number}", "c", str(number), person="1"),
            event("feedback.outcome", f"o-{number}", subject=f"s-{number}", outcome="churned"),
            thumb(f"early-{number}", f"unknown-{number}"),
        )
    loop.send(made("1", output="other"), thumb("bad", "1", value="sideways"), thumb("other", "1", model="n"))
    publish(loop.datasets, "0", 1)


def test_the_description_is_valid_and_complete(loop: Loop) -> None:
    """It is OpenAPI 3.1, and describes every route of the contract and of the application."""
    document: Any = loop.get("/openapi.json")
    validate(document)
    described = {(path, method) for path, node in document["paths"].items() for method in node}
    assert described == set(OPERATIONS)
    mounted = {route.path.replace(":text", "") for route in ROUTES}
    assert mounted | {"/v1/events"} == {path for path, _ in OPERATIONS}


# Only a server gives out positions and page tokens; test_routes asks with made-up ones.
GIVEN_OUT = {"after": "0:0", "next": ""}
# Operations that take nothing else, or any text.
WITHOUT_WRONG_REQUESTS = (
    "/",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/v1/predictions/{id}",
    "/v1/datasets/{model}/{version}",
    "/v1/datasets/{model}/{version}/files/{name}",
)

REQUESTS = [(path, method, GenerationMode.POSITIVE) for path, method in OPERATIONS] + [
    (path, method, GenerationMode.NEGATIVE)
    for path, method in OPERATIONS
    if path not in WITHOUT_WRONG_REQUESTS
]


@pytest.mark.parametrize("path,method,mode", REQUESTS)
def test_generated_requests_find_nothing(asked: Loop, path: str, method: str, mode: GenerationMode) -> None:
    """Every answer has a described status, type and shape; wrong requests are refused, right ones are not."""
    config = schemathesis.Config.from_path(ROOT / "schemathesis.toml")
    described = schemathesis.openapi.from_asgi("/openapi.json", asked.app, config=config)
    operation = described[path][method.upper()]
    given_out = {
        parameter.name: GIVEN_OUT[parameter.name]
        for parameter in operation.query
        if parameter.name in GIVEN_OUT
    }

    @settings(
        max_examples=15,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode, query=given_out or None))
    def run(case: Any) -> None:
        case.call_and_validate()
        asked.project()

    run()
