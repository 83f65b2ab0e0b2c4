"""What is away is told when it goes, once a minute, and when it is back: never more, never less."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.outage import AGAIN_S, FLAPS_S, Outage


class Told:
    """An outage with a clock that is set by hand, and what was said of it."""

    def __init__(self, **options: Any) -> None:
        self.now = 0.0
        self.lines: list[dict[str, Any]] = []
        self.outage = Outage(self, "it is away", "it is back", clock=lambda: self.now, **options)

    def __getattr__(self, level: str) -> Any:
        return lambda event, **fields: self.lines.append({"level": level, "event": event, **fields})


def test_an_outage_is_two_lines_and_one_a_minute() -> None:
    """The second and later lines say for how long and how many times; the last one too."""
    told = Told()
    for _ in range(1300):
        told.outage.failed("refused")
        told.now += 0.1
    told.outage.over()
    told.outage.over()
    away = {"level": "warning", "event": "it is away", "reason": "refused", "changed": True}
    assert told.lines == [
        away,
        {**away, "for_s": 60, "times": pytest.approx(601, abs=1)},
        {**away, "for_s": 120, "times": pytest.approx(1202, abs=2)},
        {"level": "info", "event": "it is back", "after_s": 130.0, "times": 1300},
    ]


def test_nothing_is_said_of_what_is_not_away() -> None:
    """That it answers again and again is no news."""
    told = Told()
    told.outage.over()
    assert told.lines == []


def test_another_reason_is_said() -> None:
    """First it refuses, then it is starting up."""
    told = Told(level="error")
    for reason in (ConnectionError("refused"), ConnectionError("refused"), TimeoutError(), TimeoutError()):
        told.outage.failed(reason)
    assert [(line["level"], line["reason"]) for line in told.lines] == [
        ("error", "refused"),
        ("error", "TimeoutError()"),
    ]


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 20)), max_size=80))
def test_the_last_word_is_true_and_nobody_is_drowned(turns: list[tuple[bool, float]]) -> None:
    """However it comes and goes: going and coming alternate, each ten seconds at most."""
    told = Told()
    for fails, pause_s in turns:
        told.now += pause_s
        if fails:
            told.outage.failed("refused")
        else:
            told.outage.over()
    told.now += AGAIN_S
    told.outage.failed("refused")
    assert told.lines[-1]["event"] == "it is away"
    told.outage.over()
    events = [line["event"] for line in told.lines]
    assert events[-1] == "it is back"
    assert not any(one == other == "it is back" for one, other in pairwise(events))
    assert events.count("it is back") <= told.now / FLAPS_S + 1
