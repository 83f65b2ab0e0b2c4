"""A prediction about which very much is said: what the whole set gives, and no event is set aside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from schemas import problems
from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.queries.pages import Page, parse_token
from streams.queries.payloads import Payloads
from streams.queries.predictions import TOKEN, prediction
from streams.queries.votes import shown_candidates
from streams.store.memory import MemoryStore
from streams.store.tables import CANDIDATES, DEAD_LETTERS, LABELS, Label
from tests.streams.drawn import log_of
from tests.streams.fold.whole_sets import differences
from tests.streams.telling import declared, told
from tests.streams.telling import prediction as made

Sent = tuple[bytes, int]


def _said(count: int) -> Iterator[Sent]:
    """Thumbs, reasons, corrections and yeses by many people, in turns; some by join key."""
    for number in range(count):
        target: dict[str, str] = {"prediction_id": "p"} if number % 5 else {"model": "m", "join_key": "k"}
        who = {**target, "person": f"u-{number % 97}"}
        kind = number % 4
        if kind == 0:
            yield told("feedback.thumb", f"t-{number}", number % 7, value="up", **who)
        elif kind == 1:
            who |= {"label": "abcz"[number // 4 % 4]}
            yield told("feedback.correction", f"c-{number}", number % 7, gold=number > 350, **who)
        elif kind == 2:
            yield told("feedback.reason", f"r-{number}", 1, reason="other", explains="t-4", **who)
        else:
            yield told("feedback.confirmation", f"y-{number}", number % 7, value="yes", **who)


def _retractions(count: int) -> Iterator[Sent]:
    for number in range(0, count, 3):
        for letter in "tcry":
            name = f"{letter}-{number}"
            yield told("feedback.retraction", f"x-{name}", 9, prediction_id="p", explains=name)


def _folded(log: MemoryLog, step: int) -> MemoryStore:
    """The views after transactions of so many blocks each; checked after every one."""
    store = MemoryStore(log.identity)
    for end in range(step, log.ends()[0] + step, step):
        advance(log, store, upto={0: min(end, log.ends()[0])})
        with store.snapshot() as snapshot:
            assert snapshot.count(DEAD_LETTERS, {"code": problems.CANNOT_FOLD}) == 0
            assert differences(snapshot) == []
    return store


@pytest.mark.parametrize("early", [False, True], ids=["prediction first", "prediction last"])
def test_very_much_is_settled_as_the_whole_set_is(early: bool) -> None:
    """Four hundred votes and more come, and many are taken back: after each step what the whole set gives."""
    begin = [declared(), made(join_key="k", input="i")]
    history = [*_said(400), *begin] if early else [*begin, *_said(400)]
    store = _folded(log_of([*history, *_retractions(400)], 1, [8]), 4)
    with store.snapshot() as snapshot:
        assert snapshot.count(CANDIDATES) > 1


def test_much_feedback_is_read_page_by_page() -> None:
    """Every piece comes once, on pages of any size, and the last page says that it is the last."""
    log = log_of([declared(), made(join_key="k"), *_said(90)], 1, [8])
    store = MemoryStore(log.identity)
    while advance(log, store):
        pass
    payloads = Payloads(log)
    with store.snapshot() as snapshot:
        whole = prediction(snapshot, payloads, "p")
        assert whole is not None
        assert len(whole["feedback"]) == 90
        assert "feedback_next" not in whole
        for size in (1, 7, 90):
            shown: list[str] = []
            after = None
            while True:
                answer = prediction(snapshot, payloads, "p", Page(size, after))
                assert answer is not None
                assert len(answer["feedback"]) <= size
                shown += [item["id"] for item in answer["feedback"]]
                if "feedback_next" not in answer:
                    break
                after = parse_token(answer["feedback_next"], TOKEN)
            assert sorted(shown) == sorted(item["id"] for item in whole["feedback"])


def test_candidates_of_many_votes_are_shown_with_their_events() -> None:
    """Most votes first, each with the events behind it, as where there are few votes."""
    people = range(60)
    votes = [
        told("feedback.correction", f"c-{n}", prediction_id="p", person=f"u-{n}", label="ab"[n % 3 == 0])
        for n in people
    ]
    log = log_of([declared(), made(), *votes], 1, [8])
    store = MemoryStore(log.identity)
    while advance(log, store):
        pass
    with store.snapshot() as snapshot:
        (label,) = (Label(*row) for row in snapshot.scan(LABELS))
        assert label.candidates is None
        shown = shown_candidates(snapshot, [label])[label.pid]
    assert [(each["label"], each["people"], len(each["events"])) for each in shown] == [
        ('"a"', 40, 40),
        ('"b"', 20, 20),
    ]
