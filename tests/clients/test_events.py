"""What each call writes: the types and fields of the contract, and nothing that was not said."""

from __future__ import annotations

import logging
import math
import re
import signal
import threading
import time
import uuid
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from loopline import Client
from loopline.errors import Closed, InvalidEvent, LooplineError, QueueFull
from tests.clients.conftest import Make
from tests.services import fake_server as moves
from tests.services.fake_server import FakeServer

ABOUT = {"prediction_id": "p-1", "model": "m", "join_key": "t-9", "person": "u-7", "prompt_id": "q-1"}

EVERYTHING: list[tuple[str, str, dict[str, Any]]] = [
    (
        "prediction",
        "loopline.prediction.made.v1",
        {
            "prediction_id": "p-1",
            "model": "m",
            "model_version": "3",
            "output": {"name": "smith"},
            "confidence": 0.71,
            "alternatives": [{"output": "smyth", "confidence": 0.2}],
            "ranked": ["a", "b"],
            "input": {"text": "Smth"},
            "input_uri": "s3://bucket/key",
            "input_ref": "0" * 64,
            "features": {"length": 4},
            "segment": "forms",
            "person": "u-7",
            "subject": "c-3",
            "join_key": "t-9",
            "action": "confirm",
            "asked": True,
            "ask_probability": 0.5,
            "audit": False,
            "audit_probability": 0.0,
            "config_version": 7,
        },
    ),
    ("shown", "loopline.prediction.shown.v1", {"prediction_id": "p-1", "shown": ["a", "b"]}),
    ("prompt_shown", "loopline.prompt.shown.v1", {**ABOUT, "kind": "thumb"}),
    ("prompt_dismissed", "loopline.prompt.dismissed.v1", {**ABOUT, "kind": "thumb"}),
    (
        "action",
        "loopline.feedback.action.v1",
        {**ABOUT, "value": "copied", "duration_ms": 1200, "amount": 2.5, "part": "smi"},
    ),
    ("thumb", "loopline.feedback.thumb.v1", {**ABOUT, "value": "up", "score": 0.8}),
    ("reason", "loopline.feedback.reason.v1", {**ABOUT, "reason": "incorrect", "explains": "e-1"}),
    ("comment", "loopline.feedback.comment.v1", {**ABOUT, "text": "no", "subject": "c", "explains": "e-1"}),
    (
        "correction",
        "loopline.feedback.correction.v1",
        {**ABOUT, "label": "smyth", "gold": True, "explains": "e-1"},
    ),
    ("confirmation", "loopline.feedback.confirmation.v1", {**ABOUT, "value": "yes"}),
    (
        "outcome",
        "loopline.feedback.outcome.v1",
        {
            "subject": "c-3",
            "outcome": "churned",
            "model": "m",
            "value": 12.5,
            "person": "u-7",
            "prompt_id": "q-1",
        },
    ),
    ("retraction", "loopline.feedback.retraction.v1", {**ABOUT, "explains": "e-1", "subject": "c-3"}),
    (
        "declare",
        "loopline.model.declared.v1",
        {
            "model": "m",
            "model_version": "3",
            "output_shape": {"labels": ["a"], "open": True},
            "description": "d",
        },
    ),
    (
        "deployed",
        "loopline.model.deployed.v1",
        {"model": "m", "model_version": "3", "datasets": ["name-matcher@3"]},
    ),
    ("rolled_back", "loopline.model.rolled_back.v1", {"model": "m", "model_version": "2", "why": "worse"}),
    (
        "evaluated",
        "loopline.evaluation.recorded.v1",
        {
            "model": "m",
            "model_version": "3",
            "metrics": [{"name": "accuracy", "value": 0.9, "n": 50}],
            "dataset": "m@3",
            "split": "test",
        },
    ),
]


@pytest.mark.parametrize("call, kind, fields", EVERYTHING, ids=[call for call, _, _ in EVERYTHING])
def test_every_field_of_a_call_is_written_under_its_name(
    call: str, kind: str, fields: dict[str, Any]
) -> None:
    """A call with everything said writes exactly that, and returns the id that the next call names."""
    client = Client(test=True, strict=True, source="/shop/name-matcher")
    returned = getattr(client, call)(**fields, env="staging", time="2026-11-20T09:12:31.402Z", id="e-9")
    assert returned == {"prediction": "p-1", "prompt_shown": "q-1"}.get(call, "e-9")
    assert client.events == [
        {
            "specversion": "1.0",
            "id": "e-9",
            "source": "/shop/name-matcher",
            "type": kind,
            "time": "2026-11-20T09:12:31.402Z",
            "data": {**fields, "env": "staging"},
        }
    ]


def test_the_target_comes_first() -> None:
    """The short forms that people type, by place."""
    client = Client(test=True, strict=True)
    client.prediction("m", "3", "smith", prediction_id="p-1")
    client.shown("p-1", "smith")
    client.prompt_shown("p-1", "q-1")
    client.prompt_dismissed("p-1", "q-1")
    client.action("p-1", "copied")
    client.thumb("p-1", "down")
    client.reason("p-1", "incorrect")
    client.comment("p-1", "it is smyth")
    client.correction("p-1", "smyth")
    client.confirmation("p-1", "no")
    client.outcome("c-3", "churned")
    client.retraction("p-1", "e-1")
    client.declare("m", "3", {"text": True})
    client.deployed("m", "3")
    said = [event["data"] for event in client.events]
    assert said[1:10] == [
        {"prediction_id": "p-1", "shown": "smith"},
        {"prediction_id": "p-1", "prompt_id": "q-1"},
        {"prediction_id": "p-1", "prompt_id": "q-1"},
        {"prediction_id": "p-1", "value": "copied"},
        {"prediction_id": "p-1", "value": "down"},
        {"prediction_id": "p-1", "reason": "incorrect"},
        {"prediction_id": "p-1", "text": "it is smyth"},
        {"prediction_id": "p-1", "label": "smyth"},
        {"prediction_id": "p-1", "value": "no"},
    ]
    assert said[10] == {"subject": "c-3", "outcome": "churned"}
    assert said[11] == {"prediction_id": "p-1", "explains": "e-1"}


def test_a_prediction_without_an_id_goes_by_the_id_of_its_event() -> None:
    """What prediction() returns is the target of feedback; so is what prompt_shown() returns, for prompts."""
    client = Client(test=True)
    prediction = client.prediction("m", "3", "smith")
    prompt = client.prompt_shown(prediction)
    client.thumb(prediction, "up", prompt_id=prompt)
    made, shown, thumb = (event["data"] for event in client.events)
    assert made["prediction_id"] == thumb["prediction_id"] == shown["prediction_id"] == prediction
    assert shown["prompt_id"] == thumb["prompt_id"] == prompt
    assert uuid.UUID(prediction).version == 7


def test_null_is_written_where_it_means_something(server: FakeServer, make: Make) -> None:
    """A null output is an output; a null alternative is one; what was left out is not there at all."""
    client = make()
    client.prediction("m", "3", None, alternatives=[{"output": None, "confidence": 0.5}])
    client.correction("p-1")
    assert client.flush(5)
    made, correction = (event["data"] for event in server.accepted.values())
    assert made["output"] is None
    assert made["alternatives"] == [{"output": None, "confidence": 0.5}]
    assert set(made) == {"prediction_id", "model", "model_version", "output", "alternatives"}
    assert set(correction) == {"prediction_id"}


@pytest.mark.parametrize("value", [False, 0, 0.0, "", [], {}], ids=repr)
def test_falsy_values_are_values(value: Any) -> None:
    """False, zero and empty are said, not left out."""
    client = Client(test=True)
    client.prediction("m", "3", value, confidence=0, input=value, asked=False)
    client.correction("p-1", value, gold=False)
    made, correction = (event["data"] for event in client.events)
    assert (made["output"], made["confidence"], made["input"], made["asked"]) == (value, 0, value, False)
    assert (correction["label"], correction["gold"]) == (value, False)


def test_the_clock_is_read_at_the_call() -> None:
    """The time is RFC 3339 in UTC with microseconds and Z, from the moment of the call."""
    client = Client(test=True)
    before = datetime.now(UTC)
    client.thumb("p-1", "up")
    time = client.events[0]["time"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", time)
    assert before <= datetime.fromisoformat(time) <= datetime.now(UTC)


def test_a_product_brings_its_own_times() -> None:
    """Aware datetimes keep their instant; text goes out as it is."""
    client = Client(test=True)
    india = datetime(2026, 1, 1, 12, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    client.thumb("p-1", "up", time=india)
    client.thumb("p-1", "up", time="2026-01-01T06:30:00.123456789Z")
    assert datetime.fromisoformat(client.events[0]["time"]) == india
    assert client.events[1]["time"] == "2026-01-01T06:30:00.123456789Z"


def test_the_client_s_environment_goes_with_every_event() -> None:
    """Events of a staging client say so; prod is what the server assumes and is not written."""
    staging, prod = Client(test=True, env="staging"), Client(test=True)
    staging.thumb("p-1", "up")
    staging.thumb("p-1", "up", env="prod")
    prod.thumb("p-1", "up")
    prod.thumb("p-1", "up", env="dev")
    assert [event["data"].get("env") for event in staging.events] == ["staging", "prod"]
    assert [event["data"].get("env") for event in prod.events] == [None, "dev"]


def test_numpy_values_are_written_as_numbers() -> None:
    """What a model returns can be said as it is: numpy scalars and arrays."""
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    client = Client(test=True)
    client.prediction("m", "3", numpy.int64(7), confidence=numpy.float32(0.5), input=numpy.eye(2))
    data = client.events[0]["data"]
    assert (data["output"], data["confidence"], data["input"]) == (7, 0.5, [[1.0, 0.0], [0.0, 1.0]])


class Explosive:
    """An object whose every use raises."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("boom")


CYCLE: list[Any] = []
CYCLE.append(CYCLE)

UNSENDABLE: list[Any] = [
    math.nan,
    [1.0, {"x": math.inf}],
    {"x": (None, -math.inf)},
    "\ud800",
    object(),
    Explosive(),
    CYCLE,
    "x" * 70_000,
]
UNSENDABLE_IDS = ["nan", "inf", "minus_inf", "surrogate", "object", "explosive", "cycle", "large"]


@pytest.mark.parametrize("value", UNSENDABLE, ids=UNSENDABLE_IDS)
def test_what_json_cannot_carry_is_counted_and_logged_and_never_raised(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    """The call returns an id as ever; the event is not sent, the log says why, the next one is fine."""
    client = make()
    with caplog.at_level(logging.ERROR, "loopline"):
        assert client.prediction("m", "3", value)
    assert "1 events not sent" in caplog.text
    good = client.thumb("p-1", "up")
    assert client.flush(5)
    assert list(server.accepted) == [good]
    assert client.stats()["invalid"] == 1


@pytest.mark.parametrize("value", UNSENDABLE, ids=UNSENDABLE_IDS)
def test_a_strict_client_raises_what_json_cannot_carry(value: Any) -> None:
    """Asked to, the client raises InvalidEvent at the call."""
    with pytest.raises(InvalidEvent):
        Client(test=True, strict=True).correction("p-1", value)


def test_complaints_do_not_flood_the_log(make: Make, caplog: pytest.LogCaptureFixture) -> None:
    """A thousand bad events are one line in the log and a thousand in the count."""
    client = make()
    for _ in range(1_000):
        client.correction("p-1", math.nan)
    assert len(caplog.records) == 1
    assert client.stats()["invalid"] == 1_000


@pytest.mark.parametrize(
    "call, arguments",
    [
        ("thumb", {}),
        ("thumb", {"value": "up"}),
        ("thumb", {"value": "up", "model": "m"}),
        ("thumb", {"value": "up", "join_key": "t-9"}),
        ("thumb", {"prediction_id": "p-1"}),
        ("reason", {"prediction_id": "p-1"}),
        ("comment", {"prediction_id": "p-1"}),
        ("correction", {"prediction_id": "p-1"}),
        ("correction", {"prediction_id": "p-1", "label": None}),
        ("confirmation", {"prediction_id": "p-1"}),
        ("action", {"prediction_id": "p-1"}),
        ("retraction", {"prediction_id": "p-1"}),
        ("prompt_dismissed", {"prediction_id": "p-1"}),
        ("thumb", {"prediction_id": "p-1", "value": "up", "time": datetime(2026, 1, 1)}),  # noqa: DTZ001 -- without an offset, as products send it
    ],
)
def test_what_is_missing_is_raised_at_once_or_left_to_the_server(
    make: Make, call: str, arguments: dict[str, Any]
) -> None:
    """A strict client raises, one in test mode refuses; others send it, for the server keeps it."""
    with pytest.raises(InvalidEvent):
        getattr(Client(test=True, strict=True), call)(**arguments)
    testing = Client(test=True)
    getattr(testing, call)(**arguments)
    assert (len(testing.events), testing.stats()["invalid"]) == (0, 1)
    sending = make()
    getattr(sending, call)(**arguments)
    assert sending.flush(5)
    assert (sending.stats()["accepted"], sending.stats()["invalid"]) == (1, 0)


def test_feedback_may_name_a_case_or_a_subject() -> None:
    """Model and join key are a target; a comment or its retraction may be about a subject alone."""
    client = Client(test=True, strict=True)
    client.thumb(model="m", join_key="t-9", value="up")
    comment = client.comment(subject="c-3", text="hm")
    client.retraction(subject="c-3", explains=comment)
    assert [sorted(event["data"]) for event in client.events] == [
        ["join_key", "model", "value"],
        ["subject", "text"],
        ["explains", "subject"],
    ]


def test_a_full_queue_drops_the_newest_and_a_strict_client_says_so(make: Make) -> None:
    """Without a spool, memory is bounded: drops are counted, and raised where that was asked for."""
    client = make(url="http://127.0.0.1:9", queue_size=10, linger=5.0, strict=True)
    for _ in range(10):
        client.thumb("p-1", "up")
    with pytest.raises(QueueFull):
        client.thumb("p-1", "up")
    assert client.stats()["dropped"] == 1
    client.close(0)
    with pytest.raises(Closed) as closed:
        client.thumb("p-1", "up")
    assert isinstance(closed.value, LooplineError)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no interval timers")
def test_a_signal_handler_may_speak_in_the_middle_of_a_call(server: FakeServer, make: Make) -> None:
    """A handler that interrupts a call and makes one itself neither hangs nor mints the same id."""
    client = make(queue_size=1_000_000)
    ids: list[str] = []
    before = signal.signal(signal.SIGALRM, lambda *_: ids.append(client.thumb("p-signal", "up")))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        ids += [client.thumb("p-1", "up") for _ in range(20_000)]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert len(ids) > 20_000
    assert len(set(ids)) == len(ids)
    assert client.flush(10)
    assert client.stats()["accepted"] == len(ids)


def test_a_log_handler_may_speak_through_the_client_it_hears(server: FakeServer, make: Make) -> None:
    """Products turn log lines into events; the client's own lines do not lock it up."""
    client = make()
    gate = threading.Lock()

    class Speaking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with gate:
                client.comment("p-1", record.getMessage())

    handler = Speaking()
    logging.getLogger("loopline").addHandler(handler)
    try:
        server.script = [moves.status(500), moves.judge({"e-1": "refused"})]
        with gate:
            client.thumb("p-1", "up", id="e-1")
            # By now the sender has failed and wants to say so.
            time.sleep(0.1)
            client.thumb("p-1", "up", id="e-2")
        assert client.flush(5)
    finally:
        logging.getLogger("loopline").removeHandler(handler)
    said = [event["data"].get("text", "") for event in server.accepted.values()]
    assert any("will try again" in text for text in said)
    assert any("because of refused" in text for text in said)


def test_the_queue_is_bounded_in_bytes_too(make: Make) -> None:
    """Large events fill the queue before their number does."""
    client = make(url="http://127.0.0.1:9", queue_bytes=200_000, linger=5.0)
    for _ in range(10):
        client.comment("p-1", "x" * 30_000)
    assert 4 <= client.stats()["queued"] <= 6
    assert client.stats()["dropped"] == 10 - client.stats()["queued"]


def test_test_mode_sends_nothing(server: FakeServer) -> None:
    """A test client with a real address records and stays silent."""
    with Client(server.url, "/test", test=True) as client:
        client.thumb("p-1", "up")
        assert client.flush()
        assert client.override("m", "u-7", "0" * 64) is None
    assert len(client.events) == 1
    assert server.connections_made == 0
