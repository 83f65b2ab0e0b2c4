"""Counting exactly: what collectors acknowledged against what the views show and the log rebuilds."""

from __future__ import annotations

from functools import partial
from typing import Any

from tests.crash.load import BATCH, Load
from tests.feedback.running import until
from tests.services.deployment import Deployment, Member


def reading(loopline: Deployment) -> Member:
    """A collector to ask."""
    return next(each for each in loopline.collectors if each.running)


def _found(collector: Member, path: str) -> bool:
    return collector.get(path)[0] == 200


def check_promise(loopline: Deployment, load: Load) -> None:
    """Every acknowledged event is in the views once, every refusal is kept, a rebuild is identical."""
    assert len(load.acknowledged) == len(set(load.acknowledged)) == load.sent
    expected = {"prediction.made": load.sent // 2, "feedback.thumb": load.sent // 2}
    collector = reading(loopline)
    for position in load.positions[-3:]:
        until(partial(_found, collector, f"/v1/waiting?after={position}"), "the views to follow")
    # A position covers what its collector acknowledged; the other's is covered by its own.
    until(lambda: sum(counts(loopline).values()) >= load.sent, "all views to follow")
    assert counts(loopline) == expected
    assert collector.get("/v1/waiting")[1]["items"] == []
    # A refused item whose answer was lost was sent again, and is a dead letter each time.
    assert set(load.refused) <= dead_letter_ids(loopline)
    assert len(load.refused) == load.sent // BATCH
    check_identical(loopline)


def check_identical(loopline: Deployment) -> None:
    """A rebuild of all views from the log is what the store holds."""
    verified = loopline.command("verify")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "identical" in verified.stdout


def counts(loopline: Deployment) -> dict[str, int]:
    """What the views count of each kind; `n` and `events` must agree, for nothing here is superseded."""
    status, answer = reading(loopline).get("/v1/counts?by=kind")
    assert status == 200, answer
    assert all(item["n"] == item["events"] for item in answer["items"])
    return {item["kind"]: item["n"] for item in answer["items"]}


def dead_letter_ids(loopline: Deployment) -> set[str]:
    """The event ids of all dead letters."""
    found: set[str] = set()
    query = "/v1/dead-letters?limit=1000"
    token: Any = ""
    while token is not None:
        _, page = reading(loopline).get(query + (f"&next={token}" if token else ""))
        found.update(item["id"] for item in page["items"])
        token = page["next"]
    return found
