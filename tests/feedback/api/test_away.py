"""While the log, the views or the place of the datasets hangs: what is answered, from what, and how soon."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import pytest

from feedback.api.ends import Ends
from feedback.api.metrics import endpoint as metrics_endpoint
from feedback.api.services import WAITS, Waits
from schemas.instants import SECOND, rfc3339
from streams.log.port import KnownEnds, LogUnavailable
from streams.store.port import Store
from tests.feedback.conftest import NOW, Loop, correction, declared, made
from tests.feedback.running import until
from tests.services.s3 import silent_store
from tests.streams.asking import thumb

REF = "ab" * 32
HOUR = 3600 * SECOND
# What needs a whole second is no answer at once, and a busy machine is no hung one.
SOON_S = 2.0
OVERRIDE = f"/v1/overrides/m?person=ann&input_ref={REF}"
WITHOUT_BLOCKS = (
    OVERRIDE,
    "/v1/counts",
    "/v1/labels/m",
    "/v1/outcomes/m",
    "/v1/waiting",
    "/v1/models",
    "/v1/models/m",
    "/v1/datasets",
)
WITH_BLOCKS = ("/v1/predictions", "/v1/predictions/p-1", "/v1/feedback", "/v1/dead-letters")


class Hung:
    """Stands in for a call: it waits until it is over, and says then that nobody was there."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.asked = 0

    def __call__(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        assert self.over.wait(30)
        raise LogUnavailable("nobody was there")


@pytest.fixture
def hung() -> Iterator[Hung]:
    """A call that hangs as long as the test."""
    hung = Hung()
    yield hung
    hung.over.set()


IMPATIENT = Waits(
    overrides=0.4,
    views=0.4,
    blocks=0.4,
    datasets=0.4,
    lineage=0.5,
    # The page's patience in the measure that it has to that of lineage.
    page=0.5 * WAITS.page / WAITS.lineage,
    after=0.3,
    ready=0.2,
    ends=0.1,
)
"""Whoever waits, waits a fraction of the time."""


def _begun(folder: Path | str, **more: Any) -> Loop:
    loop = Loop(folder, waits=IMPATIENT, **more)
    loop.client.__enter__()
    loop.send(declared(), made(input_ref=REF), correction("c-1"), thumb("t-1", "p-1"), 7)
    # Seen once, so that there is something to remember.
    assert loop.get("/readyz")["lag_blocks"] == 0
    return loop


@pytest.fixture(params=["embedded", "cluster"])
def loop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Loop]:
    """What one machine has, and a collector of a cluster: it keeps ends, and its views are elsewhere."""
    cluster = {"keep_ends_ns": SECOND // 5, "own_views": False}
    loop = _begun(tmp_path / "datasets", **(cluster if request.param == "cluster" else {}))
    yield loop
    loop.client.__exit__(None, None, None)
    loop.appender.stop()


def soon(loop: Loop, path: str, status: int = 200) -> Any:
    """The answer to a GET, which has to come soon."""
    began = time.monotonic()
    answer = loop.client.get(path)
    assert time.monotonic() - began < SOON_S, path
    assert answer.status_code == status, answer.text
    return answer.json()


def unavailable(loop: Loop, path: str) -> None:
    """It is said soon that there is no answer now, as a problem, and when to ask again."""
    began = time.monotonic()
    answer = loop.client.get(path)
    assert time.monotonic() - began < SOON_S, path
    assert answer.status_code == 503, path
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["code"] == "unavailable"


def scrape(loop: Loop) -> dict[str, float]:
    """The samples without labels that are told at once."""
    began = time.monotonic()
    text = loop.client.get("/metrics").text
    assert time.monotonic() - began < SOON_S
    samples = (line.split() for line in text.splitlines() if "{" not in line and not line.startswith("#"))
    return {name: float(value) for name, value in samples}


def test_a_log_that_hangs_leaves_what_needs_no_block(
    loop: Loop, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Complete up to when its ends were known, the lag of then; blocks are 503; then all is back."""
    # What was sent is settled a moment after it was answered.
    until(lambda: soon(loop, "/v1/counts")["complete_up_to"] == rfc3339(NOW), "all to be settled")
    with monkeypatch.context() as patched:
        patched.setattr(loop.log, "ends", hung)
        patched.setattr(loop.log, "read", hung)
        loop.now += HOUR
        for path in WITHOUT_BLOCKS:
            answer = soon(loop, path)
            assert answer.get("complete_up_to", rfc3339(NOW)) == rfc3339(NOW)
        for path in WITH_BLOCKS * 2:
            unavailable(loop, path)
        soon(loop, OVERRIDE)
        until(lambda: _degraded(loop)["reasons"] != [], "the silence to be noticed")
        said = _degraded(loop)
        assert said["reasons"][0].startswith("the log does not answer: it was asked")
        assert said["lag_blocks"] == 0
        asked = hung.asked
        assert scrape(loop)["loopline_worker_lag_blocks"] == 0
        assert hung.asked == asked
        assert "The log does not answer at the moment" in loop.client.get("/").text
        hung.over.set()
    until(lambda: loop.get("/v1/counts")["complete_up_to"] == rfc3339(loop.now), "the ends of now")
    assert loop.get("/readyz")["reasons"] == []
    assert soon(loop, "/v1/predictions/p-1")["feedback"]


def _degraded(loop: Loop) -> Any:
    """What `/readyz` says; 503 where the server has the views to itself."""
    own = loop.services.own_views
    answer = loop.client.get("/readyz")
    body = answer.json()
    assert answer.status_code == (503 if own and body["reasons"] else 200)
    return body


def test_after_a_position_is_waited_for_whatever_the_log_says(
    loop: Loop, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The views tell whether they have it; a position that they have not is 504 after its time."""
    position = loop.send(made("p-2"))["position"]
    monkeypatch.setattr(loop.log, "ends", hung)
    assert soon(loop, f"/v1/counts?after={position}")["items"]
    beyond = ",".join(f"{part.split(':')[0]}:{int(part.split(':')[1]) + 1}" for part in position.split(","))
    assert loop.get("/v1/counts", 504, after=beyond)["code"] == "not_caught_up"


def test_views_that_hang_take_nothing_else_along(loop: Loop, hung: Hung) -> None:
    """Reads of them are 503 within their time, later ones at once; all else is answered, events taken."""
    kept = loop.store
    assert not isinstance(kept, Exception)
    loop.store = _hanging(kept, hung)
    for path in (*WITHOUT_BLOCKS[:-1] * 2, *WITH_BLOCKS):
        unavailable(loop, path)
    assert soon(loop, "/v1/datasets")["items"] == []
    assert loop.send(made("p-2"), project=False)["accepted"] == 1
    said = _degraded(loop)
    assert said["reasons"] == ["the views do not answer within 0.2 s"]
    assert said["lag_blocks"] is None
    told = scrape(loop)
    assert told["loopline_events_accepted_total"] == 5
    assert "loopline_worker_lag_blocks" not in told
    assert "loopline_waiting" not in told
    assert told["loopline_views_age_seconds"] > 0
    assert "The views are not there yet" in loop.client.get("/").text
    hung.over.set()
    loop.store = kept
    loop.project()
    until(lambda: loop.client.get("/v1/counts").status_code == 200, "the views to answer")
    until(lambda: loop.client.get("/readyz").json()["lag_blocks"] == 0, "the lag to be seen")
    until(lambda: scrape(loop).get("loopline_worker_lag_blocks") == 0, "the lag to be told")


def _hanging(store: Store, hung: Hung) -> Store:
    @contextlib.contextmanager
    def snapshot() -> Iterator[Any]:
        yield hung()

    views: Any = SimpleNamespace(snapshot=snapshot, log=store.log, views_version=store.views_version)
    kept: Store = views
    return kept


@pytest.fixture
def silent() -> Iterator[str]:
    """An object store that never answers."""
    with silent_store() as address:
        yield address


def test_an_object_store_that_hangs_stops_no_other_read(silent: str) -> None:
    """However many ask for datasets: those are 503 within their time, and all else is answered as ever."""
    loop = _begun(silent)
    try:
        for _ in range(6):
            unavailable(loop, "/v1/datasets")
        unavailable(loop, "/v1/datasets/m/1")
        for path in (*WITHOUT_BLOCKS[:-1], *WITH_BLOCKS):
            soon(loop, path)
        assert loop.get("/readyz")["status"] == "ready"
        scrape(loop)
        text = loop.client.get("/").text
        assert "The place of the datasets cannot be reached" in text
        assert "views are up to date" in text
        loop.lineage = lineage = Hung()
        for _ in range(6):
            unavailable(loop, "/v1/feedback/t-1")
        assert lineage.asked == 2
        for path in (OVERRIDE, *WITH_BLOCKS):
            soon(loop, path)
    finally:
        if isinstance(loop.lineage, Hung):
            loop.lineage.over.set()
        loop.client.__exit__(None, None, None)
        loop.appender.stop()


def away() -> KnownEnds:
    """What a log says of its ends that nobody has seen."""
    raise LogUnavailable("it was never there")


def test_ends_that_were_never_known_claim_nothing(
    tmp_path: Path, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the lag is null, and complete is what each partition's last block says, if each has one."""
    loop = _begun(tmp_path / "datasets")
    try:
        monkeypatch.setattr(loop.log, "ends", hung)
        monkeypatch.setattr(loop.log, "known_ends", away)
        loop.work_with(ends=Ends(loop.log, lambda: loop.now, patience_s=IMPATIENT.ends))
        assert soon(loop, "/v1/counts")["complete_up_to"] is None
        assert _degraded(loop)["lag_blocks"] is None
        assert "is not known" in loop.client.get("/").text
        until(lambda: "loopline_worker_lag_blocks" not in scrape(loop), "a look that does not know")
        assert "loopline_waiting" in scrape(loop)
    finally:
        hung.over.set()
        loop.client.__exit__(None, None, None)
        loop.appender.stop()


def test_a_scrape_asks_for_nothing(loop: Loop) -> None:
    """It has its counters, and nothing else to ask: no log, no store, no shelf, no thread."""
    state = loop.app.site.state
    registry = loop.services.metrics.registry
    with patch.object(state, "services", SimpleNamespace(metrics=SimpleNamespace(registry=registry))):
        assert loop.client.get("/metrics").status_code == 200
    answer: Callable[..., Any] = metrics_endpoint
    assert answer.__code__.co_names.count("on_thread") == 0


def test_complete_is_never_in_the_future(loop: Loop) -> None:
    """A clock that others know to be an hour ahead says what was complete an hour ago by it."""
    clocks = loop.services.clocks
    clocks.heard("PostgreSQL", loop.now - HOUR, clocks.moment())
    assert loop.get("/v1/counts")["complete_up_to"] == rfc3339(loop.now - HOUR)
