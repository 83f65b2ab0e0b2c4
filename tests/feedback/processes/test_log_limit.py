"""What repeats is written once a minute and counted; nothing that is new is left out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import structlog
from hypothesis import given
from hypothesis import strategies as st

from feedback.processes.log_limit import ALIKE, EVERY_S, LogLimit


class Limited:
    """A limit with a clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self._limit = LogLimit(lambda: self.now)

    def __call__(self, event: str, method: str = "warning", **fields: Any) -> dict[str, Any] | None:
        """The line as it is written, or None."""
        try:
            return dict(self._limit(None, method, {"event": event, **fields}))
        except structlog.DropEvent:
            return None


def test_the_first_is_written_and_then_one_a_minute_with_the_count() -> None:
    """Eight a second for three minutes are four lines, which say how many and for how long."""
    say = Limited()
    written = []
    for _ in range(3 * 60 * 8 + 1):
        written.append(say("the broker is away", reason="refused"))
        say.now += 1 / 8
    lines = [line for line in written if line is not None]
    assert [line.get("repeated", 0) for line in lines] == [0, 479, 479, 479]
    assert [line.get("repeated_for_s", 0) for line in lines] == [0, 60, 120, 180]


def test_another_text_is_another_line() -> None:
    """Event, texts, level and logger are told apart; a number in a field is."""
    say = Limited()
    assert say("a", reason="refused")
    for other in (
        say("b", reason="refused"),
        say("a", reason="timed out"),
        say("a", "error", reason="refused"),
        say("a", reason="refused", logger="kafka"),
        say("a", reason="refused", status=3),
    ):
        assert other is not None
    assert say("a", reason="refused") is None


def test_a_duration_makes_no_other_line() -> None:
    """Pauses that grow, and how long something lasts, are no news."""
    say = Limited()
    assert say("away", again_in_s=0.2)
    assert say("away", again_in_s=0.4) is None


def test_of_lines_that_differ_in_numbers_only_five_a_minute_are_written() -> None:
    """Ids and addresses that change with each line do not get around the limit, and are counted."""
    say = Limited()
    written = [say(f"member-{number:x}9 of broker {number} is gone") for number in range(50)]
    assert len([line for line in written if line is not None]) == ALIKE
    say.now += EVERY_S
    line = say("member-09 of broker 77 is gone")
    assert line is not None
    assert line["alike"] == 50 - ALIKE


def test_changes_sums_and_what_is_no_warning_are_always_written() -> None:
    """A change of state that comes back is written again, and the mark of it is not."""
    say = Limited()
    for _ in range(9):
        assert say("away", changed=True) == {"event": "away"}
        assert say("items were refused", count=3) is not None
        assert say("a model was deployed", "info", model="m", version="1") is not None
        assert say("sent", "debug") is not None


def test_what_was_quiet_for_a_minute_begins_anew() -> None:
    """How long it is said counts from its return on."""
    say = Limited()
    say("away")
    say.now += 1
    say("away")
    say.now += 1000
    assert say("away") == {"event": "away", "repeated": 1, "repeated_for_s": 1001}
    say.now += 30
    say("away")
    say.now += 30
    assert say("away") == {"event": "away", "repeated": 1, "repeated_for_s": 60}


def test_errors_are_told_apart_by_what_they_say() -> None:
    """One event may be written with many errors; where they were raised does not matter."""
    say = Limited()
    for error in (ValueError("one"), ValueError("two"), KeyError("one")):
        assert say("the worker failed", "error", exc_info=(type(error), error, None)) is not None
        assert say("the worker failed", "error", exc_info=(type(error), error, None)) is None
    for text in ("three", "four"):
        try:
            raise ValueError(text)
        except ValueError:
            assert say("the worker failed", "error", exc_info=True) is not None
            assert say("the worker failed", "error", exc_info=True) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 100)), max_size=60))
def test_no_line_is_lost_uncounted(said: list[tuple[str, float]]) -> None:
    """Each line is written, or counted in the next one that is."""
    say = Limited()
    open_counts = dict.fromkeys("abc", 0)
    for text, pause_s in said:
        say.now += pause_s
        line = say(text)
        if line is None:
            open_counts[text] += 1
        else:
            assert line.get("repeated", 0) == open_counts[text]
            open_counts[text] = 0


PROGRAM = """
import logging
from feedback.processes.logging import configure
import structlog
configure("info", "json", "test")
for number in range(200):
    logging.getLogger("aiokafka").error("Unable connect to %s: %s", "127.0.0.1:9092", "refused")
    structlog.get_logger("loopline").warning("the log does not answer", reason="refused", tries=1)
"""


def test_libraries_and_our_own_are_limited_alike() -> None:
    """Two hundred lines each, in one process, are two lines."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, env={**os.environ}
    )
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events == ["Unable connect to 127.0.0.1:9092: refused", "the log does not answer"]
