"""What collectors answer while the brokers hang: from the views, as of when the log's ends were known."""

from __future__ import annotations

import secrets
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.broker.checks import check_identical
from tests.feedback.running import event, lines, prediction, until
from tests.services.deployment import Deployment, Member
from tests.services.kafka.broker import Cluster
from tests.services.s3 import silent_store

REF = "ab" * 32
OVERRIDE = f"/v1/overrides/m?person=ann&input_ref={REF}"
WITHOUT_BLOCKS = (
    "/v1/counts?by=kind",
    "/v1/labels/m",
    "/v1/outcomes/m",
    "/v1/waiting",
    "/v1/models",
)
# On a machine that many share a second is short: what hangs takes ten.
SOON_S = 3.0


@pytest.fixture
def silent() -> Iterator[tuple[str, ExitStack]]:
    """An object store that takes connections and never answers, until the stack is closed."""
    with ExitStack() as stack:
        yield stack.enter_context(silent_store()), stack


@pytest.fixture
def deployment(kafka: Cluster, postgres_url: str, silent: tuple[str, ExitStack]) -> Iterator[Deployment]:
    """A collector, a worker, an override that a product may ask for, and a silent object store."""
    log = kafka.address(f"t{secrets.token_hex(4)}")
    with Deployment(log, postgres_url, partitions=2, LOOPLINE_DATASETS=silent[0]) as made:
        made.collect()
        made.work()
        first = prediction(1)
        first["data"]["input_ref"] = REF
        shape = event(
            "model.declared", "d", model="m", model_version="1", output_shape={"labels": ["a", "b"]}
        )
        corrected = event("feedback.correction", "c", prediction_id="p-1", person="ann", label="b")
        send(made.collectors[0], shape, first, corrected)
        until(lambda: made.collectors[0].get(OVERRIDE)[0] == 200, "the override")
        until(lambda: made.collectors[0].get("/readyz")[1]["lag_blocks"] == 0, "the views to follow")
        yield made


def send(collector: Member, *events: dict[str, Any]) -> None:
    """Hand events in; all of them have to be acknowledged."""
    headers = {"Content-Type": "application/x-ndjson"}
    request = urllib.request.Request(f"{collector.url}/v1/events", lines(*events), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert b'"refused":0' in answer.read()


def soon(collector: Member, path: str, status: int = 200) -> Any:
    """The answer, which comes soon."""
    began = time.monotonic()
    answer = collector.get(path)
    assert time.monotonic() - began < SOON_S, path
    assert answer[0] == status, answer
    return answer[1]


def scraped(collector: Member) -> str:
    """The metrics, which come soon."""
    began = time.monotonic()
    with urllib.request.urlopen(f"{collector.url}/metrics", timeout=30) as answer:
        text: str = answer.read().decode()
    assert time.monotonic() - began < SOON_S
    return text


def instant(text: str) -> datetime:
    """An RFC 3339 instant."""
    return datetime.fromisoformat(text)


def test_reads_are_answered_while_a_service_hangs(
    deployment: Deployment, kafka: Cluster, silent: tuple[str, ExitStack]
) -> None:
    """What needs no block is answered as of then, never later; the lag is the last known; all comes back."""
    (collector,) = deployment.collectors
    with ThreadPoolExecutor(8) as asking:
        datasets = [asking.submit(collector.get, "/v1/datasets") for _ in range(8)]
        _brokers_hang(collector, kafka)
        silent[1].close()
    assert {asked.result()[0] for asked in datasets} == {503}
    send(collector, prediction(2))
    until(lambda: collector.get("/v1/predictions/p-2")[0] == 200, "the views to follow")
    items = soon(collector, "/v1/counts?by=kind")["items"]
    counted = {item["kind"]: item["n"] for item in items}
    assert counted == {"prediction.made": 2, "feedback.correction": 1}
    check_identical(deployment)


def _brokers_hang(collector: Member, kafka: Cluster) -> None:
    kafka.freeze()
    frozen_at = datetime.now(UTC)
    try:
        time.sleep(1.0)
        for _ in range(2):
            for path in (OVERRIDE, *WITHOUT_BLOCKS):
                answer = soon(collector, path)
                assert instant(answer.get("complete_up_to") or "2026-01-01T00:00:00Z") <= frozen_at
        assert instant(soon(collector, "/v1/counts")["complete_up_to"]) > instant("2026-01-02T00:00:00Z")
        until(lambda: "the log" in "".join(collector.get("/readyz")[1]["reasons"]), "it to be noticed")
        said = soon(collector, "/readyz")
        assert (said["status"], said["lag_blocks"]) == ("degraded", 0)
        assert "loopline_worker_lag_blocks 0.0" in scraped(collector)
    finally:
        kafka.thaw()
    thawed_at = datetime.now(UTC)
    until(lambda: instant(collector.get("/v1/counts")[1]["complete_up_to"]) > thawed_at, "answers as of now")
