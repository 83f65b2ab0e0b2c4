"""What a call returns, and ids that the product gives: taken as they are or refused, never replaced."""

from __future__ import annotations

import inspect
import logging
import math
import threading
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest

from loopline import Client
from loopline.errors import InvalidEvent, LooplineError
from tests.clients.conftest import Make
from tests.clients.test_events import EVERYTHING
from tests.clients.test_values import Explosive, Markup
from tests.services import fake_server as moves
from tests.services.fake_server import FakeServer

NO_IDS: dict[str, Any] = {
    "empty": "",
    "zero": 0,
    "false": False,
    "a number": 7,
    "a numpy number": np.int64(7),
    "NaN": math.nan,
    "pandas.NA": pd.NA,
    "pandas.NaT": pd.NaT,
    "bytes": b"p-1",
    "a list": ["p-1"],
    "an array": np.array(["p-1", "p-2"]),
    "a Series": pd.Series(["p-1"]),
    "an object": object(),
    "what fails when it is read": Explosive(),
}
MADE: dict[str, Callable[..., str]] = {
    "prediction_id": lambda client, given: client.prediction("m", "1", "a", prediction_id=given),
    "prompt_id": lambda client, given: client.prompt_shown("p-1", given),
    "id": lambda client, given: client.thumb("p-1", "up", id=given),
    "a prediction's id": lambda client, given: client.prediction("m", "1", "a", id=given),
    "a prompt's id": lambda client, given: client.prompt_shown("p-1", id=given),
    "a declaration's id": lambda client, given: client.declare("m", "1", {"text": True}, id=given),
}
NAMED: dict[str, Callable[..., str]] = {
    "prediction_id": lambda client, given: client.thumb(given, "up"),
    "explains": lambda client, given: client.reason("p-1", "incorrect", explains=given),
    "what is taken back": lambda client, given: client.retraction("p-1", given),
    "prompt_id": lambda client, given: client.prompt_dismissed("p-1", given),
    "person": lambda client, given: client.thumb("p-1", "up", person=given),
    "subject": lambda client, given: client.outcome(given, "churned"),
    "join_key": lambda client, given: client.thumb(model="m", join_key=given, value="up"),
    "shown": lambda client, given: client.shown(given, "a"),
}


@pytest.mark.parametrize("given", NO_IDS.values(), ids=NO_IDS)
@pytest.mark.parametrize("make_it", MADE.values(), ids=MADE)
def test_an_id_that_is_none_refuses_the_call(make_it: Callable[..., str], given: Any) -> None:
    """The product goes on with the empty text, which the next call refuses: nothing hangs on another id."""
    client = Client(test=True)
    returned = make_it(client, given)
    assert returned == ""
    client.thumb(returned, "up")
    assert (client.events, client.stats()["invalid"]) == ([], 2)
    with pytest.raises(InvalidEvent):
        make_it(Client(test=True, strict=True), given)


@pytest.mark.parametrize("given", NO_IDS.values(), ids=NO_IDS)
@pytest.mark.parametrize("name_it", NAMED.values(), ids=NAMED)
def test_what_is_no_id_names_nothing(name_it: Callable[..., str], given: Any) -> None:
    """A target, person, subject or event named by what is no id: refused, and the event's own id returned."""
    client = Client(test=True)
    assert uuid.UUID(name_it(client, given)).version == 7
    assert (client.events, client.stats()["invalid"]) == ([], 1)
    with pytest.raises(LooplineError):
        name_it(Client(test=True, strict=True), given)


@pytest.mark.parametrize("given", [Markup("p-1"), np.str_("p-1"), "p-1"], ids=["subclass", "numpy", "text"])
def test_an_id_is_returned_as_the_text_that_was_sent(given: Any) -> None:
    """A subclass of str comes back as str, a UUID as its text."""
    client = Client(test=True, strict=True)
    assert [make_it(client, given) for make_it in MADE.values()] == ["p-1"] * len(MADE)
    assert {type(make_it(client, given)) for make_it in MADE.values()} == {str}
    own = uuid.uuid4()
    assert client.prediction("m", "1", "a", prediction_id=own) == str(own)  # type: ignore[arg-type]  # as products do


def test_what_is_returned_is_what_the_next_call_names() -> None:
    """The prediction's id is feedback's target and the prompt's id its answer's, whatever the event's is."""
    client = Client(test=True, strict=True)
    prediction = client.prediction("m", "1", "a", prediction_id="p-1", id="e-1")
    prompt = client.prompt_shown(prediction, "q-1", id="e-2")
    client.prompt_dismissed(prediction, prompt, id="e-3")
    thumb = client.thumb(prediction, "down", prompt_id=prompt, id="e-4")
    client.reason(prediction, "incorrect", explains=thumb, id="e-5")
    assert (prediction, prompt, thumb) == ("p-1", "q-1", "e-4")
    assert [event["data"].get("prediction_id") for event in client.events] == ["p-1"] * 5
    assert client.events[2]["data"]["prompt_id"] == client.events[1]["data"]["prompt_id"] == "q-1"
    assert client.events[4]["data"]["explains"] == client.events[3]["id"]


def test_without_an_own_id_the_event_s_is_the_prediction_s_and_the_prompt_s() -> None:
    """One id for both, minted or given."""
    client = Client(test=True, strict=True)
    for given in (None, "e-1"):
        prediction = client.prediction("m", "1", "a", id=given)
        prompt = client.prompt_shown(prediction, id=given)
        made, asked = client.events[-2:]
        assert prediction == made["id"] == made["data"]["prediction_id"] == asked["data"]["prediction_id"]
        assert prompt == asked["id"] == asked["data"]["prompt_id"]


@pytest.mark.parametrize("call, kind, fields", EVERYTHING, ids=[call for call, _, _ in EVERYTHING])
def test_every_call_says_what_it_returns(call: str, kind: str, fields: dict[str, Any]) -> None:
    """Its docstring or its class's does, and it is so."""
    said = inspect.getdoc(getattr(Client, call)) or ""
    returned = getattr(Client(test=True), call)(**{**fields, "id": "e-9"})
    expected = {"e-9": "event's id", "p-1": "prediction's id", "q-1": "prompt's id"}[returned]
    announced = call in ("declare", "deployed", "rolled_back", "evaluated")
    assert announced or f"Returns the {expected}" in said


def test_what_cannot_be_sent_is_handed_over_as_it_was_given(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    """In the background, with path and kind; the log has those too, and neither has the value."""
    handed: list[tuple[dict[str, Any], dict[str, Any], int]] = []
    client = make(on_refused=lambda event, problem: handed.append((event, problem, threading.get_ident())))
    value = {"name": "Smith", "score": math.nan}
    with caplog.at_level(logging.ERROR, "loopline"):
        prediction = client.prediction("m", "3", value, person="u-7", prediction_id="p-1")
    assert client.flush(5)
    ((event, problem, thread),) = handed
    assert prediction == "p-1"
    assert thread != threading.get_ident()
    assert event["data"] == {
        "prediction_id": "p-1",
        "model": "m",
        "model_version": "3",
        "output": value,
        "person": "u-7",
    }
    assert event["data"]["output"] is value
    assert event["type"] == "loopline.prediction.made.v1"
    assert problem["code"] == "invalid_value"
    assert problem["detail"] == "$.output.score: NaN is no JSON number"
    assert "(loopline.prediction.made.v1) because: $.output.score: NaN" in caplog.text
    assert "Smith" not in caplog.text + str(problem)
    assert (client.stats()["invalid"], client.stats()["refused"], server.accepted) == (1, 0, {})


def test_a_client_in_test_mode_hands_over_at_once() -> None:
    """What the server would refuse, in the same form, so that a product can test its own handler."""
    handed: list[tuple[dict[str, Any], dict[str, Any]]] = []
    client = Client(test=True, on_refused=lambda event, problem: handed.append((event, problem)))
    client.thumb("p-1", "sideways")
    ((event, problem),) = handed
    assert event["data"] == {"prediction_id": "p-1", "value": "sideways"}
    assert problem["detail"] == "$.value: expected one of 'up', 'down'"
    assert client.events == []


@pytest.mark.parametrize("error", [RuntimeError("no"), SystemExit(3)], ids=["exception", "exit"])
@pytest.mark.parametrize("test", [True, False], ids=["test", "sending"])
def test_a_handler_that_fails_stops_nothing(
    server: FakeServer, make: Make, caplog: pytest.LogCaptureFixture, test: bool, error: BaseException
) -> None:
    """It is logged; the product's call returns, and the next event is sent."""

    def fail(event: object, problem: object) -> None:
        raise error

    client = make(on_refused=fail, test=test)
    client.correction("p-1", math.nan)
    good = client.thumb("p-1", "up")
    assert client.flush(5)
    assert [event["id"] for event in (client.events if test else server.accepted.values())] == [good]
    assert "on_refused failed" in caplog.text


def test_a_handler_may_speak_through_the_client(make: Make) -> None:
    """Also badly: what it says wrong is refused in its turn, and the product's call does not go round."""
    spoken = threading.Semaphore(3)

    def speak(event: object, problem: object) -> None:
        if spoken.acquire(blocking=False):
            client.correction("p-1", math.nan)

    client = make(on_refused=speak)
    client.correction("p-1", math.nan)
    assert client.flush(5)
    assert client.stats()["invalid"] == 4


def test_a_handler_that_is_slow_makes_no_call_wait(server: FakeServer, make: Make) -> None:
    """Calls return while the handler is still at the first refusal."""
    gate = threading.Event()
    client = make(on_refused=lambda event, problem: gate.wait(10))
    for _ in range(50):
        client.correction("p-1", math.nan)
    good = client.thumb("p-1", "up")
    gate.set()
    assert client.flush(5)
    assert list(server.accepted) == [good]
    assert client.stats()["invalid"] == 50


def test_what_the_server_refuses_is_handed_over_by_the_sender(server: FakeServer, make: Make) -> None:
    """A client that is not strict leaves words and limits to the server, which keeps what it refuses."""
    handed: list[dict[str, Any]] = []
    client = make(on_refused=lambda event, problem: handed.append(event))
    server.script = [moves.judge({"e-1": "refused"})]
    client.thumb("p-1", "sideways", id="e-1")
    assert client.flush(5)
    assert [event["data"]["value"] for event in handed] == ["sideways"]
    assert (client.stats()["invalid"], client.stats()["refused"]) == (0, 1)


@pytest.mark.parametrize("given", NO_IDS.values(), ids=NO_IDS)
@pytest.mark.parametrize("name", ["model", "person", "input_ref"])
def test_nobody_is_asked_about_what_is_no_id(server: FakeServer, make: Make, name: str, given: Any) -> None:
    """An override for a person 7 would be that of the person "7": None, or an error of the library's own."""
    asked = {"model": "m", "person": "u-7", "input_ref": "0" * 64, name: given}
    assert make().override(**asked) is None
    with pytest.raises(InvalidEvent) as raised:
        make(strict=True).override(**asked)
    assert raised.value.path == f"$.{name}"
    assert server.connections_made == 0
