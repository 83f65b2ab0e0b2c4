"""The client's verdict on an event is the server's: the same rules, from one source, code for code."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline import Client, admission, events, rules
from loopline.delivery.queue import Fate
from loopline.delivery.sender import Sender
from loopline.errors import InvalidEvent
from schemas import fields, problems
from schemas.catalog import CURRENT, FIRST_YEAR
from schemas.kinds import PREFIX
from streams.ingest.admission import admit
from tests.clients.test_events import EVERYTHING
from tests.schemas.valid import event_of

CALLS = {call: (kind, said) for call, kind, said in EVERYTHING}


def nested(levels: int) -> Any:
    """Lists in lists, so many levels of them."""
    return [] if levels == 1 else [nested(levels - 1)]


# What a field may be given by mistake, or on the very edge of what it takes.
ODD: list[Any] = [
    "",
    "a",
    "up",
    "yes",
    "sideways",
    "Word Up",
    "a b",
    "é" * 128,
    *("x" * length for length in (64, 65, 128, 129, 256, 257, 2049, 4097, 32_766, 32_768, 32_769, 40_000)),
    "x" * 70_000,
    "0" * 64,
    "A" * 64,
    "m@3",
    "m@0",
    "name\n",
    0,
    1,
    -1,
    71,
    3.0,
    5e-324,
    0.5,
    1.5,
    -0.0,
    2**53,
    2**53 + 1,
    2.0**53,
    2**64,
    -(10**30),
    1e300,
    [1e300] * 250,
    [5e-324] * 251,
    "1e300, " * 251,
    True,
    False,
    None,
    "\x00",
    "a\x00",
    "\\u0000",
    {"\x00": 1},
    {"a": {"b": ["\x00"]}},
    "\ud800",
    [],
    {},
    ["a"],
    [1],
    [None],
    ["x" * 257],
    [[["a"]]],
    {"a": 1},
    {"a": None},
    {"": 1},
    {"a": [1]},
    {"x" * 257: 1},
    *(nested(levels) for levels in (28, 29, 30, 31, 32, 33, 60)),
    {"deep": nested(29), "wide": [[], {}] * 40},
    ["{[" * 60],
    [{"output": 1}],
    [{"output": 1, "confidence": 2}],
    [{"output": 1, "extra": 2}],
    [{"confidence": 0.5}],
    [{"name": "accuracy", "value": 1, "n": 5.0}],
    [{"name": "accuracy", "value": "high"}],
    [{"name": "accuracy", "value": 1, "n": 0.5}],
    ["a"] * 1001,
    {f"k{number}": number for number in range(1001)},
    {"labels": []},
    {"labels": ["a"], "text": True},
    {"labels": ["a", 1], "open": True},
    {"text": True, "open": True},
    {"text": False},
    {"json_schema": {}},
    {"json_schema": 5},
    {"open": True},
    {"labels": ["a"], "colour": "red"},
    {"data": "x" * 33_000},
]  # fmt: skip

TIMES: list[Any] = [
    "2026-01-01T00:00:00Z",
    "2026-01-01t00:00:00z",
    "2026-01-01T00:00:00.123456789123Z",
    "2026-01-01T00:00:00+01:00",
    "2026-01-01T00:00:00+0100",
    "2026-01-01T00:00:00-0000",
    "2026-01-01T00:00:00+00:00",
    "2026-01-01T00:00:00",
    "2026-01-01 00:00:00Z",
    "2026-01-01",
    "1699-12-31T23:59:59Z",
    "1700-01-01T00:00:00Z",
    "0001-01-01T00:00:00+01:00",
    "9999-12-31T23:59:59-01:00",
    "yesterday",
    "",
    5,
    1767225600.5,
    True,
    ["2026-01-01T00:00:00Z"],
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1, seconds=1))),
    datetime(2026, 1, 1),  # noqa: DTZ001 -- without an offset, as products send it
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
    datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=1, seconds=1))),
]


def server_says(call: str, said: Mapping[str, Any]) -> str | None:
    """The server's code for what a client sends that does not judge; `unsent` where it sends nothing."""
    client = Client("http://127.0.0.1:9", "/test")
    sent: list[bytes] = []

    def take(sender: Sender, body: bytes) -> Fate:
        sent.append(body)
        return Fate.KEPT

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Sender, "put", take)
        getattr(client, call)(**said)
    if not sent:
        return "unsent"
    problem = admit(sent[0]).problem
    return None if problem is None else problem.code


def client_says(call: str, said: Mapping[str, Any]) -> str | None:
    """The code with which a strict client raises."""
    client = Client(test=True, strict=True)
    try:
        getattr(client, call)(**said)
    except InvalidEvent as error:
        assert client.events == []
        return error.code
    assert len(client.events) == 1
    return None


def agree(call: str, said: Mapping[str, Any]) -> None:
    """Both verdicts are the same; what cannot even be sent, the strict client refuses."""
    server, client = server_says(call, said), client_says(call, said)
    assert client is not None if server == "unsent" else client == server


@pytest.mark.parametrize("call", CALLS)
def test_the_verdicts_agree_on_every_field_that_is_odd(call: str) -> None:
    """Each field of each call, given each odd value, alone and with everything else said."""
    _, said = CALLS[call]
    required: dict[str, Any] = {
        name: said[name] for name in ("prediction_id", "model", "model_version") if name in said
    }
    for name in [*said, "env", "id"]:
        for value in ODD:
            agree(call, {**said, name: value})
            if call not in (
                "shown",
                "declare",
                "deployed",
                "rolled_back",
                "evaluated",
                "outcome",
                "prediction",
            ):
                agree(call, {**required, name: value})
    for value in TIMES:
        agree(call, {**said, "time": value})


@pytest.mark.parametrize("call", [call for call, (_, said) in CALLS.items() if "join_key" in said])
def test_the_verdicts_agree_on_every_target(call: str) -> None:
    """With and without each of prediction, model, join key and subject."""
    _, said = CALLS[call]
    names = [name for name in ("prediction_id", "model", "join_key", "subject") if name in said]
    if call == "prediction":
        names = ["join_key", "subject"]
    for chosen in range(2 ** len(names)):
        left = {name for bit, name in enumerate(names) if chosen >> bit & 1}
        agree(call, {name: value for name, value in said.items() if name not in left})


_ODD = st.sampled_from(ODD[:12] + ODD[24:])


@st.composite
def sent(draw: st.DrawFn) -> dict[str, Any]:
    """A valid event of any type with up to three things wrong with it."""
    name = draw(st.sampled_from(sorted(CURRENT)))
    event = draw(event_of(name))
    wrong = draw(st.integers(0, 3))
    for _ in range(wrong):
        data = event["data"]
        where = draw(st.sampled_from(["data", "data", "data", "time", "id", "source", "more"]))
        if where == "data" and data:
            field = draw(st.sampled_from(sorted(CURRENT[name].__struct_fields__)))
            if draw(st.booleans()):
                data.pop(field, None)
            else:
                data[field] = draw(_ODD)
        elif where == "time":
            event["time"] = draw(st.sampled_from([each for each in TIMES if not isinstance(each, datetime)]))
        elif where == "more":
            data["another"] = draw(_ODD)
        elif where != "data":
            event[where] = draw(_ODD)
    return event


@given(sent())
def test_the_verdicts_agree_on_any_event(event: dict[str, Any]) -> None:
    """For events of every type as any client might write them, good or bad: the same code, or none."""
    try:
        body = msgspec.json.encode(event)
    except UnicodeEncodeError:
        return
    problem = admit(body).problem
    try:
        if len(body) <= rules.MAX_EVENT_BYTES:
            admission.check(body, event["type"])
        found = None if len(body) <= rules.MAX_EVENT_BYTES else problems.TOO_LARGE
    except InvalidEvent as error:
        found = error.code
    assert found == (None if problem is None else problem.code)


def test_what_only_the_server_can_say_is_left_to_it() -> None:
    """A JSON Schema that cannot be used: to know that takes libraries that no product should need."""
    said = {"model": "m", "model_version": "1", "output_shape": {"json_schema": {"type": "strange"}}}
    assert client_says("declare", said) is None
    assert server_says("declare", said) == "invalid_value"


@pytest.mark.parametrize(
    "call, said, path, message",
    [
        ("thumb", {"prediction_id": "p", "value": "sideways"}, "$.value", "expected one of 'up', 'down'"),
        (
            "thumb",
            {"prediction_id": "p", "value": " - at `$.data.id`" * 3_000 + "\n"},
            "$.value",
            "'up', 'down'",
        ),
        ("thumb", {"prediction_id": "p"}, "$.value", "missing"),
        ("thumb", {"value": "up"}, "$", "say what this is about"),
        ("thumb", {"value": "up", "join_key": "t"}, "$", "needs model="),
        ("thumb", {"prediction_id": "p", "value": "up", "person": 0}, "$.person", 'as in "3"'),
        ("thumb", {"prediction_id": "p", "value": "up", "id": ""}, "$.id", "length >= 1"),
        ("deployed", {"model": "m", "model_version": 3}, "$.model_version", 'give it as text, as in "3"'),
        ("deployed", {"model": "my model", "model_version": "3"}, "$.model", "regex"),
        ("shown", {"prediction_id": "p", "shown": "a\x00"}, "$.shown", "U+0000"),
        ("shown", {"prediction_id": "p", "shown": {"a": ["\x00"]}}, "$.shown.a[0]", "U+0000"),
        ("shown", {"prediction_id": "p", "shown": nested(31)}, "$", "32 levels"),
        ("shown", {"prediction_id": "p", "shown": "x" * 70_000}, "$", "bytes"),
        ("thumb", {"prediction_id": "p", "value": "up", "time": "1600-01-01T00:00:00Z"}, "$.time", "1700"),
        ("thumb", {"prediction_id": "p", "value": "up", "time": datetime(2026, 1, 1)}, "$.time", "an offset"),  # noqa: DTZ001 -- without an offset, as products send it
        (
            "prediction",
            {"model": "m", "model_version": "1", "output": "a", "input": "x" * 40_000},
            "$.input",
            "input_ref=",
        ),
        (
            "prediction",
            {"model": "m", "model_version": "1", "output": "a", "alternatives": [{"outptu": 1}]},
            "$.alternatives[0]",
            "unknown field",
        ),
        (
            "prediction",
            {"model": "m", "model_version": "1", "output": "a", "features": {"x" * 257: 1}},
            "$.features",
            "length <= 256",
        ),
        (
            "declare",
            {"model": "m", "model_version": "1", "output_shape": {}},
            "$.output_shape",
            "exactly one",
        ),
    ],
)
def test_a_refusal_says_where_and_what_to_do(
    call: str, said: dict[str, Any], path: str, message: str
) -> None:
    """The path is in the words of the call."""
    with pytest.raises(InvalidEvent) as raised:
        getattr(Client(test=True, strict=True), call)(**said)
    assert raised.value.path == path
    assert message in str(raised.value)
    assert raised.value.problem["type"] == f"urn:loopline:problem:{raised.value.code}"
    assert raised.value.problem["title"] == problems.TITLES[raised.value.code]


@pytest.mark.parametrize("call", CALLS)
def test_no_refusal_quotes_a_value(call: str) -> None:
    """Whatever is wrong with a value, the message does not hold it: it may be a person's."""
    _, said = CALLS[call]
    for name in said:
        for secret in ("Smith-7 é", "Smith\x00", ["Smith"], {"Smith, J.": "Smith\x00"}):
            assert "Smith" not in _message(call, {**said, name: secret})


def _message(call: str, said: Mapping[str, Any]) -> str:
    try:
        getattr(Client(test=True, strict=True), call)(**said)
    except InvalidEvent as error:
        return f"{error} {error.problem} {error.__cause__}"
    return ""


def test_the_limits_are_the_server_s() -> None:
    """One source: the generated module has what the schemas say, and the calls know every type but one."""
    assert (rules.MAX_EVENT_BYTES, events.MAX_EVENT_BYTES) == (fields.MAX_EVENT_BYTES,) * 2
    assert (rules.MAX_INPUT_BYTES, rules.MAX_DEPTH) == (fields.MAX_INPUT_BYTES, fields.MAX_DEPTH)
    assert rules.FIRST_YEAR == FIRST_YEAR
    assert set(rules.TYPES) == {PREFIX + name for name in CURRENT}
    # Releases are announced by the platform itself.
    assert set(rules.TYPES) - {kind for kind, _ in CALLS.values()} == {"loopline.dataset.released.v1"}
