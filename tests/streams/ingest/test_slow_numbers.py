"""Numbers that take long to read are refused before they are read, the same on every way in."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from loopline import Client
from loopline.errors import InvalidEvent
from schemas.numbers import MAX_SLOW_NUMBERS
from streams.ingest.admission import BatchTooCostly, admit, admit_batch, admit_each
from streams.ingest.http import Collector
from streams.kafka.intake.cloudevents import BATCH, CONTENT_TYPE, items_of
from streams.log.memory import MemoryLog
from streams.log.port import DEAD
from streams.log.writer import Appender
from tests.streams.asking import LINES, SINGLE, ask_now

FEW, MOST, TOO_MANY = 100, MAX_SLOW_NUMBERS, MAX_SLOW_NUMBERS + 1


def correction(name: str, numbers: int) -> bytes:
    """A correction whose label has so many slow numbers."""
    event = {
        "specversion": "1.0",
        "id": name,
        "source": "/test",
        "type": "loopline.feedback.correction.v1",
        "time": "2026-01-01T00:00:00Z",
        "data": {"prediction_id": "p", "label": [5e-324] * numbers},
    }
    return json.dumps(event, separators=(",", ":")).encode()


def _codes(verdicts: list[Any]) -> list[str | None]:
    return [None if verdict.problem is None else verdict.problem.code for verdict in verdicts]


def _batch(*items: bytes) -> tuple[bytes, list[bytes]]:
    return b"[" + b",".join(items) + b"]", list(items)


def test_one_number_too_many_is_too_large() -> None:
    """The bound is exact, and says what to look for."""
    assert _codes([admit(correction("a", MOST)), admit(correction("b", TOO_MANY))]) == [None, "too_large"]
    problem = admit(correction("b", TOO_MANY)).problem
    assert problem is not None
    assert "1e300" in problem.detail


def test_such_an_event_is_refused_alone() -> None:
    """Those beside it in a batch are accepted, and its numbers count against none of them."""
    body, items = _batch(correction("a", FEW), correction("b", 20 * MOST), correction("c", FEW))
    assert _codes(admit_batch(body, items)) == [None, "too_large", None]


def test_too_many_together_are_to_be_sent_as_fewer_events() -> None:
    """Each may be good: the batch is not judged at all."""
    body, items = _batch(*(correction(f"{number}", FEW) for number in range(3)))
    for judge in (admit_batch, admit_each):
        with pytest.raises(BatchTooCostly, match="fewer"):
            judge(body, items)
    assert _codes(admit_batch(*_batch(*items[:2]))) == [None, None]


def test_nothing_is_decoded_of_what_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict comes from the bytes: no parser is asked."""
    monkeypatch.setattr("streams.ingest.admission._plainly_good", None)
    monkeypatch.setattr("streams.ingest.admission.standard_json", None)
    assert _codes([admit(correction("a", TOO_MANY))]) == ["too_large"]


def test_a_batch_in_a_record_has_the_same_verdicts() -> None:
    """There is nobody to send fewer: each event of a record is judged by itself."""
    body, items = _batch(*(correction(f"{n}", FEW) for n in range(3)), correction("b", TOO_MANY))
    found = [item for item, _ in items_of([(CONTENT_TYPE, BATCH.encode())], body)]
    assert found == items
    assert _codes([admit(item) for item in found]) == [None, None, None, "too_large"]


@pytest.mark.parametrize("number", [1e308, 5e-324])
def test_a_strict_client_says_it_first(number: float) -> None:
    """With the server's code, before anything is sent."""
    client = Client(test=True, strict=True)
    client.correction("p", label=[number] * MOST)
    with pytest.raises(InvalidEvent) as raised:
        client.correction("p", label=[number] * TOO_MANY)
    assert raised.value.code == "too_large"
    assert str(number) not in str(raised.value)
    assert len(msgspec.to_builtins(client.events)) == 1


def test_over_http_it_is_413_and_nothing_is_kept() -> None:
    """One event that has too many, and too many together as an array and as lines; half of them pass."""
    log = MemoryLog(1)
    appender = Appender(log)
    app = Collector(appender, 1)
    three = [correction(f"{number}", FEW) for number in range(3)]
    try:
        for body, content_type in (
            (correction("a", TOO_MANY), SINGLE),
            (_batch(*three)[0], BATCH),
            (b"\n".join(three), LINES),
            (b"\n".join([*three, b"1,1"]), LINES),
        ):
            answer = ask_now(app, body, content_type)
            assert (answer.status, answer.json["code"]) == (413, "too_large")
        assert not log.read(DEAD, 0, 10)
        assert not log.read(0, 0, 10)
        assert ask_now(app, b"\n".join(three[:2]), LINES).json["accepted"] == 2
    finally:
        appender.stop()
