"""Health, readiness by progress, and metrics."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from feedback.api.ends import Ends
from feedback.api.readiness import ViewProgress
from feedback.api.services import WAITS, Waits, WorkerSays
from feedback.installation.home import HomeMissing, HomeRefused
from streams.log.block import write_block
from streams.log.port import LogUnavailable, NotDurable, parse_positions
from streams.projection.rebuild import rebuild
from streams.store.memory import MemoryStore
from streams.store.port import StoreUnavailable, StoreUnreadable
from tests.feedback.conftest import Loop, made
from tests.streams.asking import SINGLE, encoded, event, thumb
from tests.streams.fold import faulty


def test_alive_is_not_ready(loop: Loop) -> None:
    """The process answers, whatever becomes of log and views."""
    loop.store = HomeMissing("there are no views yet")
    assert loop.get("/healthz") == {"status": "ok", "log": loop.log.identity.fingerprint}
    unready = loop.get("/readyz", 503)
    assert unready["status"] == "unavailable"
    assert unready["reasons"] == ["there are no views yet"]


def test_ready_tells_where_log_and_views_stand(loop: Loop) -> None:
    """Caught up, with the position of both."""
    loop.send(made())
    ready = loop.get("/readyz")
    assert (ready["status"], ready["reasons"], ready["lag_blocks"]) == ("ready", [], 0)
    assert ready["position"].replace(",dead:0", "").startswith(("0:1", "0:0,1:1"))
    assert ready["worker"] == "running"


def test_ready_tells_where_the_log_is_whoever_wrote_it(loop: Loop) -> None:
    """Another collector's blocks are in the position too, or the views would seem to be ahead of the log."""
    loop.send(made())
    loop.log.append([(0, write_block((), (), ()))])
    loop.project()
    ready = loop.get("/readyz")
    assert ready["lag_blocks"] == 0
    assert parse_positions(ready["position"]).items() >= parse_positions(ready["views_at"]).items()


def test_a_read_without_views_is_503(loop: Loop) -> None:
    """Before the worker made the first views there is nothing to read, for a moment."""
    loop.store = HomeMissing("there are no views yet")
    assert loop.get("/v1/counts", 503)["code"] == "unavailable"
    assert loop.client.get("/v1/counts").headers["retry-after"] == "1"
    assert loop.client.get("/").status_code == 200


@pytest.mark.parametrize("damaged", [HomeRefused, StoreUnreadable])
def test_views_that_cannot_be_opened_are_503_with_the_reason(loop: Loop, damaged: type[Exception]) -> None:
    """A pointer or a file that is damaged is no defect of the server's: it says what there is to do."""
    loop.store = damaged("this is damaged: do that")
    assert loop.get("/v1/counts", 503)["detail"] == "this is damaged: do that"
    assert loop.get("/readyz", 503)["reasons"] == ["this is damaged: do that"]


def test_a_log_that_cannot_be_written_is_not_ready(loop: Loop) -> None:
    """From the failed append on until the next good one, or until nobody has tried for a while."""

    def full() -> None:
        raise NotDurable("the disk is full")

    loop.log.before_append = full
    answer = loop.client.post("/v1/events", content=encoded(made()), headers={"content-type": SINGLE})
    assert answer.status_code == 503
    assert loop.get("/readyz", 503)["reasons"] == ["the disk is full"]
    loop.log.before_append = lambda: None
    loop.send(made())
    assert loop.get("/readyz")["status"] == "ready"
    loop.appender.failed_at = time.monotonic() - WAITS.stuck
    assert loop.get("/readyz")["status"] == "ready"


def test_views_that_stand_still_are_not_ready(loop: Loop) -> None:
    """Behind the log is fine while the views move; behind and not moving is not."""
    loop.progress.stuck_after_s = 0.05
    loop.send(made(), project=False)
    assert loop.get("/readyz")["lag_blocks"] == 1
    time.sleep(0.1)
    (reason,) = loop.get("/readyz", 503)["reasons"]
    assert "1 blocks behind" in reason
    assert "is the worker running?" in reason
    loop.said = WorkerSays("restarting", "the disk is full")
    (reason,) = loop.get("/readyz", 503)["reasons"]
    assert "the worker is restarting: the disk is full" in reason
    loop.project()
    assert loop.get("/readyz")["lag_blocks"] == 0


def test_a_worker_that_refuses_is_not_ready(loop: Loop) -> None:
    """Its reason is the answer's."""
    loop.said = WorkerSays("refused", "the log is older than its store")
    (reason,) = loop.get("/readyz", 503)["reasons"]
    assert "older than its store" in reason


def test_progress_counts_from_the_last_move() -> None:
    """A step of any partition begins the patience anew; without anything to do it does not begin."""
    observations = (
        (1.0, {0: 1}, 3, 0.0),
        (9.0, {0: 1}, 4, 8.0),
        (10.0, {0: 2}, 4, 0.0),
        (30.0, {0: 2}, 4, 20.0),
        (31.0, {0: 2}, 0, 0.0),
        (50.0, {0: 2}, 1, 0.0),
        (51.0, {0: 2}, 2, 1.0),
    )
    instants = iter([instant for instant, *_ in observations])
    progress = ViewProgress(lambda: next(instants))
    for _, standing, behind, expected in observations:
        ends = {partition: position + behind for partition, position in standing.items()}
        assert progress.observe(standing, ends)[0] == expected


class Elsewhere(Loop):
    """A server whose views are kept on other machines, and whose seconds are those that a test says."""

    def __init__(self, datasets: Path, **more: Any) -> None:
        self.seconds = 0.0
        super().__init__(datasets, own_views=False, monotonic=lambda: self.seconds, **more)


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Elsewhere]:
    """One of them."""
    loop = Elsewhere(tmp_path / "datasets", waits=Waits(ready=0.1))
    with loop.client:
        yield loop
    loop.appender.stop()


def test_one_partition_that_stands_still_is_told_by_name_where_workers_are_elsewhere(
    elsewhere: Elsewhere,
) -> None:
    """While the others move the views are no whole; what is written goes on."""
    loop = elsewhere
    loop.send(made(), project=False)
    known = loop.services.ends()
    assert known is not None
    ends = known.ends
    (behind,) = [partition for partition, end in ends.items() if end]
    other = next(partition for partition in ends if partition != behind)
    assert loop.get("/readyz")["reasons"] == []
    for _ in range(4):
        loop.seconds += 5
        loop.progress.observe({other: int(loop.seconds)}, ends)
    said = loop.get("/readyz")
    assert said["status"] == "degraded"
    assert said["reasons"] == [
        f"partition {behind} has not moved for 20 s while others did: 1 block waits at 0"
    ]


def test_blocks_of_a_later_epoch_wait_for_their_turn(elsewhere: Elsewhere) -> None:
    """While views finish an epoch nothing of the next stands still; once it is its turn, it may."""
    loop = elsewhere
    for _ in range(5):
        loop.send(made(), project=False)
    (partition,) = [each for each, end in loop.log.ends().items() if end]
    loop.log.begin_epoch(1)
    loop.log.append([(2, loop.log.read(partition, 0, 1)[0])])
    for applied in range(5):
        rebuild(loop.log, loop.services.store(), {partition: applied})
        assert loop.get("/readyz")["reasons"] == []
        loop.seconds += 10
    rebuild(loop.log, loop.services.store(), {partition: 5})
    assert loop.get("/readyz")["reasons"] == []
    loop.seconds += 20
    (reason,) = loop.get("/readyz")["reasons"]
    assert "1 blocks behind" in reason


def test_metrics_are_what_the_contract_names(loop: Loop) -> None:
    """Counters from the collector, gauges from the views, latencies as histograms."""
    loop.send(made(), thumb("t-1", "p-9"), 7)
    loop.get("/v1/counts")
    loop.send(thumb("t-2", "p-8"), project=False)
    loop.get("/readyz")
    answer = loop.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(answer.text)}
    assert families["loopline_events_accepted"].samples[0].value == 3
    assert families["loopline_events_refused"].samples[0].labels == {"code": "invalid_value"}
    assert families["loopline_waiting"].samples[0].value == 1
    assert families["loopline_worker_lag_blocks"].samples[0].value == 1
    assert families["loopline_clock_ahead"].samples[0].value == 0
    for name in ("loopline_ack_seconds", "loopline_commit_seconds", "loopline_read_seconds"):
        assert families[name].type == "histogram"


def test_metrics_do_without_views(loop: Loop) -> None:
    """A scrape works while there are no views; what comes from them is missing then, not zero."""
    loop.store = HomeMissing("there are no views yet")
    assert loop.get("/readyz", 503)["lag_blocks"] is None
    text = loop.client.get("/metrics").text
    assert "loopline_events_accepted_total" in text
    for name in ("loopline_waiting", "loopline_worker_lag_blocks", "loopline_set_aside"):
        assert name not in text


def test_views_that_are_kept_elsewhere_do_not_shut_the_way_in(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without a worker of its own says why the views stand still, and goes on taking events in."""
    loop = elsewhere
    loop.store = HomeMissing("there are no views yet")
    said = loop.get("/readyz")
    assert (said["status"], said["reasons"]) == ("degraded", ["there are no views yet"])
    loop.store = StoreUnavailable("the database at db:5432 does not answer")
    assert loop.get("/readyz")["status"] == "degraded"
    assert "db:5432" in loop.get("/v1/counts", 503)["detail"]

    loop.store = MemoryStore(loop.log.identity)

    def silent() -> None:
        raise LogUnavailable("no broker answers")

    monkeypatch.setattr(loop.log, "ends", silent)
    said = loop.get("/readyz")
    assert said["status"] == "degraded"
    assert said["reasons"] == ["the log does not answer: no broker answers"]


def test_a_part_of_the_log_that_cannot_be_written_does_not_shut_the_way_in(
    elsewhere: Elsewhere, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that acknowledges some of what it is sent stays in use, and says what it does not."""
    loop = elsewhere
    monkeypatch.setattr(
        loop.appender, "stalled", "not acknowledged now: appends to partition 1", raising=False
    )
    said = loop.get("/readyz")
    assert (said["status"], said["reasons"]) == ("degraded", ["not acknowledged now: appends to partition 1"])


def test_a_machine_that_hangs_does_not_hang_the_answer(elsewhere: Elsewhere) -> None:
    """Whoever asks is told within moments what does not answer, and the views shut no way in."""
    loop = elsewhere
    over = threading.Event()

    def hangs(*_: object) -> None:
        over.wait(10)
        raise StoreUnavailable("over")

    loop.work_with(store=hangs)
    try:
        for _ in range(6):
            said = loop.get("/readyz")
            assert (said["status"], said["reasons"]) == ("degraded", ["the views do not answer within 0.1 s"])
            assert said["lag_blocks"] is None
    finally:
        over.set()
    while loop.get("/readyz")["reasons"] != ["over"]:
        time.sleep(0.01)


def test_what_was_acknowledged_here_is_behind_until_it_is_shown(loop: Loop) -> None:
    """Kept ends of the log are older than the last acknowledgement: whoever waits for the views would not."""
    kept = Ends(loop.log, lambda: loop.now, keep_ns=10**18)
    kept()
    loop.work_with(ends=kept)
    position = loop.send(made(), project=False)["position"]
    said = loop.get("/readyz")
    assert (said["position"], said["lag_blocks"]) == (position, 1)
    loop.project()
    assert loop.get("/readyz")["lag_blocks"] == 0


def test_an_event_that_was_set_aside_is_told_and_stops_nothing(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Degraded, with what to do; counted; and a dead letter with its bytes, like any other."""
    assert loop.get("/readyz")["status"] == "ready"
    with monkeypatch.context() as patch:
        faulty.put_in(patch)
        boom = event("feedback.comment", "c1", prediction_id="p-1", text="boom", person="ann")
        loop.send(made(), boom, event("feedback.comment", "c2", prediction_id="p-1", text="fine"))
    body = loop.get("/readyz")
    assert body["status"] == "degraded"
    assert "1 event could not be brought into the views" in body["reasons"][0]
    assert "loopline replay" in body["reasons"][0]
    loop.get("/readyz")
    assert "loopline_set_aside 1.0" in loop.client.get("/metrics").text
    (letter,) = loop.get("/v1/dead-letters", code="cannot_fold")["items"]
    assert base64.b64decode(letter["bytes"]) == encoded(boom)
    assert letter["type"] == "loopline.feedback.comment.v1"
    assert [each["id"] for each in loop.get("/v1/predictions/p-1")["feedback"]] == ["c2"]


def test_a_clock_that_is_behind_the_log_is_degraded(loop: Loop) -> None:
    """A machine whose clock went back by three hours says so, and still takes events in."""
    loop.send(made())
    loop.now -= 3 * 3600 * 10**9
    ready = loop.get("/readyz")
    assert ready["status"] == "degraded"
    (reason,) = ready["reasons"]
    assert "3.0 h behind the receipt of the log's newest event" in reason
    loop.now += 3 * 3600 * 10**9
    assert loop.get("/readyz")["status"] == "ready"


def test_a_clock_that_differs_from_anothers_is_degraded_and_a_number(loop: Loop) -> None:
    """What another machine told of its clock is on `/readyz` and `/metrics`."""
    clocks = loop.services.clocks
    clocks.heard("broker 1", loop.now + 4 * 10**9, clocks.moment())
    ready = loop.get("/readyz")
    assert ready["status"] == "degraded"
    assert ready["reasons"][0].startswith("this machine's clock is 4.0 s behind that of broker 1")
    families = text_string_to_metric_families(loop.client.get("/metrics").text)
    (skew,) = [family for family in families if family.name == "loopline_clock_skew_seconds"]
    assert [(sample.labels, round(sample.value, 1)) for sample in skew.samples] == [
        ({"against": "broker 1"}, -4.0)
    ]
