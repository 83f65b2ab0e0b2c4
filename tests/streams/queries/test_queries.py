"""The parts of reading that are functions of their arguments: tokens, freshness, payloads, outcomes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.instants import DAY, rfc3339
from streams.log.block import DeadLetter, write_block, write_dead_letters
from streams.log.memory import MemoryLog
from streams.log.port import DEAD
from streams.queries.freshness import complete_up_to, freshness, lag, reached
from streams.queries.outcomes import outcomes
from streams.queries.pages import Int64, MalformedToken, Page, listing, parse_token, token
from streams.queries.payloads import Payloads, latest
from streams.store.memory import MemoryStore
from streams.store.port import Applied
from streams.store.tables import EXPOSURES, OUTCOMES, Exposure, Outcome, as_row
from tests.streams.asking import encoded, event, thumb

KEYS = st.tuples(st.binary(max_size=40), st.text(max_size=40), st.integers(-(2**63), 2**63 - 1))


# ---------------------------------------------------------------------------------------------------- pages


@given(KEYS)
def test_a_token_gives_back_its_key(key: tuple[bytes, str, int]) -> None:
    """Whatever the key, its token is safe in a query and means that key again."""
    text = token(key)
    assert set(text) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert parse_token(text, tuple[bytes, str, Int64]) == key


@given(st.text(max_size=60))
def test_other_texts_are_no_tokens(text: str) -> None:
    """A made-up token gives a key of the right types or is refused; nothing fails otherwise."""
    try:
        key = parse_token(text, tuple[bytes, str, Int64])
    except MalformedToken:
        return
    assert [type(part) for part in key] == [bytes, str, int]


def test_a_token_of_another_list_is_refused() -> None:
    """Its key has other types, or numbers that no store can compare."""
    for key in ((b"a", "b"), ("a", "b", 1), (b"a", "b", 2**64 - 1)):
        with pytest.raises(MalformedToken):
            parse_token(token(key), tuple[bytes, str, Int64])


def test_the_last_page_has_no_next() -> None:
    """`next` is there exactly when something follows."""
    assert listing([1], None) == {"items": [1], "next": None}
    assert listing([1], ("a",))["next"] == token(("a",))


# ------------------------------------------------------------------------------------------------ freshness


def _applied(offset: int, received: int) -> Applied:
    return Applied(offset, b"", received)


def test_complete_up_to_is_the_slowest_partition_that_lags() -> None:
    """A partition that is caught up does not hold the others back, however old its last block is."""
    ends = {0: 2, 1: 5, DEAD: 0}
    standing = {0: _applied(2, 100), 1: _applied(5, 900)}
    assert complete_up_to(standing, ends, 1000) == 1000
    assert lag(standing, ends) == 0
    standing[1] = _applied(3, 700)
    assert (complete_up_to(standing, ends, 1000), lag(standing, ends)) == (700, 2)
    standing[0] = _applied(1, 50)
    assert (complete_up_to(standing, ends, 1000), lag(standing, ends)) == (50, 3)
    assert complete_up_to({1: _applied(5, 900)}, ends, 1000) is None
    assert complete_up_to({}, {0: 0}, 1000) == 1000


def test_complete_up_to_goes_on_from_epoch_to_epoch() -> None:
    """What lies in an epoch came after all of the one before, so one with nothing applied is no riddle."""
    epochs = [range(2), range(2, 5)]
    ends = {0: 5, 1: 5, 2: 3, 3: 0, 4: 1}
    first = {0: _applied(5, 700), 1: _applied(5, 900)}
    # The old epoch is being finished: the new one's blocks came later than what lags there.
    assert complete_up_to(first | {0: _applied(4, 600)}, ends, 2000, epochs) == 600
    assert complete_up_to({1: _applied(5, 900)}, ends, 2000, epochs) is None
    # It is finished, and nothing of the new one is applied; then some partitions of it.
    assert complete_up_to(first, ends, 2000, epochs) == 900
    assert complete_up_to(first | {2: _applied(2, 1100)}, ends, 2000, epochs) == 900
    assert complete_up_to(first | {2: _applied(2, 1100), 4: _applied(1, 1300)}, ends, 2000, epochs) == 1100
    assert complete_up_to(first | {2: _applied(3, 1200), 4: _applied(1, 1300)}, ends, 2000, epochs) == 2000
    # Where the log ends is not known: an epoch that the views have left is over all the same.
    endless = dict.fromkeys(range(5), 99)
    entered = first | {2: _applied(2, 1100), 3: _applied(1, 1150), 4: _applied(1, 1300)}
    assert complete_up_to(entered, endless, 2000, epochs) == 1100
    # Refused items have no epoch; partitions that no epoch has are those of one that is not known yet.
    assert complete_up_to(first, {0: 5, 1: 5, DEAD: 1}, 2000, epochs[:1]) is None
    assert complete_up_to(first, ends, 2000, epochs[:1]) == 900


def test_what_is_mature_is_two_weeks_older() -> None:
    """Both instants are told as times, or not at all."""
    now = 100 * DAY
    assert freshness({}, {0: 0}, now) == {
        "complete_up_to": rfc3339(now),
        "mature_up_to": rfc3339(now - 14 * DAY),
    }
    assert freshness({}, {0: 1}, now) == {"complete_up_to": None, "mature_up_to": None}


def test_a_position_is_reached_when_every_part_of_it_is() -> None:
    """Partitions that are not named are not waited for; the dead-letter partition is one of them."""
    standing = {0: _applied(3, 1), DEAD: _applied(1, 1)}
    assert reached(standing, {})
    assert reached(standing, {0: 3, DEAD: 1})
    assert reached(standing, {1: 0})
    assert not reached(standing, {0: 4})
    assert not reached(standing, {0: 3, 1: 1})


# ------------------------------------------------------------------------------------------------ payloads


class CountedLog(MemoryLog):
    """A log that counts how often it is read."""

    reads = 0

    def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
        """Read, and count it."""
        self.reads += 1
        return super().read(partition, offset, limit)


def _block(*items: bytes, received: int = 1, kind: str = "feedback.thumb") -> tuple[int, bytes]:
    return 0, write_block([f"loopline.{kind}.v1"], [(received, len(items))], items)


def test_originals_are_the_bytes_that_were_sent() -> None:
    """White space, order of keys and escapes are as they came; a block is opened once for its items."""
    sent = b'{ "type":"loopline.feedback.thumb.v1", "data": {"value": "\\u0075p",  "b": 1}}'
    letter = DeadLetter("invalid_json", "no", None, None, b"\xff{")
    log = CountedLog()
    log.append([_block(b"1", sent), (DEAD, write_dead_letters(1, [letter]))])
    payloads = Payloads(log)
    assert payloads.item(0, 0, 1) == sent
    assert payloads.event(0, 0, 1).type == "loopline.feedback.thumb.v1"
    assert bytes(payloads.event(0, 0, 1).data) == b'{"value": "\\u0075p",  "b": 1}'
    assert log.reads == 1
    assert payloads.dead_letter(0, 0) == letter


def test_only_the_last_blocks_are_kept() -> None:
    """Reading a long log does not fill the memory; what was let go is read again."""
    log = CountedLog()
    log.append([_block(b"%d" % number) for number in range(40)])
    payloads = Payloads(log)
    for number in range(40):
        assert payloads.item(0, number, 0) == b"%d" % number
    payloads.item(0, 39, 0)
    assert log.reads == 40
    payloads.item(0, 0, 0)
    assert log.reads == 41


def test_the_latest_come_first() -> None:
    """Newest first over all partitions, of one instant the last in the log; other types are left out."""
    log = MemoryLog(2)
    prediction = event("prediction.made", "p", prediction_id="p", model="m", model_version="1", output=1)
    log.append([_block(encoded(thumb("a")), encoded(thumb("b")), received=5)])
    log.append([(1, _block(encoded(thumb("c")), received=7)[1])])
    log.append([_block(encoded(prediction), received=9, kind="prediction.made")])
    assert [one.id for one in latest(log, "loopline.feedback.", 10)] == ["c", "b", "a"]
    assert [one.id for one in latest(log, "loopline.feedback.", 2)] == ["c", "b"]


def test_the_latest_are_looked_for_behind_other_events() -> None:
    """Many blocks of predictions do not hide the feedback before them, up to a limit."""
    log = MemoryLog()
    log.append([_block(encoded(thumb("a")))])
    log.append([_block(b"{}", kind="prediction.made")] * 200)
    assert [one.id for one in latest(log, "loopline.feedback.", 3)] == ["a"]
    log.append([_block(b"{}", kind="prediction.made")] * 100)
    assert latest(log, "loopline.feedback.", 3) == []


# ------------------------------------------------------------------------------------------------- outcomes

FIRST = date(2026, 1, 1)
DAYS = st.integers(0, 80)
SUBJECTS = st.sampled_from(["a", "b", "c"])


def _day(number: int) -> str:
    return (FIRST + timedelta(number)).isoformat()


def _store(
    exposures: Sequence[tuple[str, str, int, int]], events: Sequence[tuple[str, str, int, int]]
) -> MemoryStore:
    store = MemoryStore(MemoryLog().identity)
    with store.transaction([0]) as transaction:
        for shard, (subject, segment, day, n) in enumerate(exposures):
            dims = json.dumps(["m", "1", segment, None, "prod"])
            row = Exposure(subject, dims, shard, "m", "1", segment, None, "prod", _day(day), n)
            transaction.add(EXPOSURES, [as_row(row)])
        for shard, (subject, word, day, n) in enumerate(events):
            dims = json.dumps([word, None, "prod"])
            happened = Outcome(subject, dims, shard, word, None, "prod", _day(day), n)
            transaction.add(OUTCOMES, [as_row(happened)])
    return store


@given(
    st.lists(st.tuples(SUBJECTS, st.sampled_from(["x", "y"]), DAYS, st.integers(1, 2)), max_size=8),
    st.lists(st.tuples(SUBJECTS, st.sampled_from(["won", "lost"]), DAYS, st.integers(1, 2)), max_size=8),
)
def test_outcomes_are_those_of_the_definition(
    exposures: list[tuple[str, str, int, int]], events: list[tuple[str, str, int, int]]
) -> None:
    """For each group and outcome: who was exposed, and who of them had it up to 30 days later."""
    expected: dict[tuple[str, str], tuple[int, int]] = {}
    exposed = {subject for subject, *_ in exposures}
    words = {word for subject, word, *_ in events if subject in exposed}
    for segment in {segment for _, segment, *_ in exposures}:
        group = {subject for subject, other, *_ in exposures if other == segment}
        for word in words:
            befell = {
                subject
                for subject, other, day, _ in exposures
                for who, what, after, _ in events
                if (other, who, what) == (segment, subject, word) and 0 <= after - day <= 30
            }
            expected[segment, word] = len(group), len(befell)
    with _store(exposures, events).snapshot() as snapshot:
        items: list[dict[str, Any]] = outcomes(snapshot, "m", ["segment"], Page())["items"]
    assert {(item["segment"], item["outcome"]): (item["subjects"], item["n"]) for item in items} == expected


def test_what_was_taken_back_did_not_happen() -> None:
    """Sums over shards decide: an exposure or outcome whose sum is zero is none."""
    store = _store([("a", "x", 1, 1)], [("a", "won", 2, 1), ("a", "won", 2, -1), ("a", "lost", 2, 1)])
    with store.snapshot() as snapshot:
        items = outcomes(snapshot, "m", [], Page())["items"]
    assert [(item["outcome"], item["n"]) for item in items] == [("lost", 1)]
