"""Two transactions that meet: whoever comes second waits for what it needs, and completes it."""

from __future__ import annotations

from typing import Any

import pytest

from streams.log.memory import MemoryLog
from streams.projection.apply import Gap, apply
from streams.store.port import Store
from streams.store.postgres import PostgresStore
from streams.store.tables import COUNTS, FACTS, LABELS
from tests.streams.sent import event, made, thumb
from tests.streams.store.postgres.working import (
    batch_of,
    folded,
    log_with,
    one_after_the_other,
    seen,
)

pytestmark = pytest.mark.postgres


def _case(kind: str, **data: Any) -> dict[str, Any]:
    return event(f"{kind}.v1", id="e-case", data={"model": "m", "join_key": "ticket-1", **data})


PREDICTION = made(join_key="ticket-1")
BETTER = {**made(join_key="ticket-1", prediction_id="p-82"), "id": "e-9"}
CASE_THUMB = _case("feedback.thumb", value="up", person="ann")
THUMB = {**thumb(person="ann", value="down"), "id": "e-3"}
DECLARED = event("model.declared.v1", id="e-4")
CORRECTION = event(
    "feedback.correction.v1", id="e-5", data={"prediction_id": "p-81", "label": "a", "person": "bo"}
)
BAD_CORRECTION = event("feedback.correction.v1", id="e-5", data={"prediction_id": "p-81", "label": "z"})
RETRACTION = event(
    "feedback.retraction.v1",
    id="e-6",
    data={"model": "m", "join_key": "ticket-1", "explains": "e-case", "person": "ann"},
)


def _is_right(store: Store, log: MemoryLog) -> None:
    assert seen(store) == folded(log)


MEETINGS = {
    "a prediction and the feedback to its join key": ([], [], [PREDICTION], [CASE_THUMB]),
    "a later prediction of the key and the feedback": ([PREDICTION], [], [BETTER], [CASE_THUMB]),
    "feedback by id and feedback by join key": ([PREDICTION], [], [THUMB], [CASE_THUMB]),
    "feedback by id and a retraction by join key": (
        [PREDICTION, THUMB],
        [CASE_THUMB],
        [CORRECTION],
        [RETRACTION],
    ),
    "a declaration and a correction": ([PREDICTION], [], [CORRECTION], [DECLARED]),
    "a declaration and a correction that does not fit": ([PREDICTION], [], [BAD_CORRECTION], [DECLARED]),
    "a declaration and a prediction": ([], [CASE_THUMB], [PREDICTION, CORRECTION], [DECLARED]),
}
"""What was there in partitions 0 and 1, and then what two workers have at the same time."""


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("name", MEETINGS)
def test_the_second_waits_and_completes(store: PostgresStore, name: str, swapped: bool) -> None:
    """In both orders, the second worker waits for the first one's commit, and the views are right."""
    before0, before1, one, other = MEETINGS[name]
    log = log_with(*((p, each) for p, each in ((0, before0), (1, before1)) if each))
    starts = dict(log.ends())
    for partition in (0, 1):
        apply(store, batch_of(log, partition))
    log = log_with(*((p, each) for p, each in ((0, before0), (1, before1), (0, one), (1, other)) if each))
    first, second = (batch_of(log, p, starts[p]) for p in ((1, 0) if swapped else (0, 1)))
    waited, applied = one_after_the_other(store, first, second)
    assert waited
    assert applied == 1
    _is_right(store, log)


@pytest.mark.parametrize("swapped", [False, True])
def test_what_a_dead_worker_had_written_is_not_seen(store: PostgresStore, swapped: bool) -> None:
    """A worker that dies before its commit leaves nothing: the second goes on, a retry completes it."""
    log = log_with((0, [PREDICTION]), (1, [CASE_THUMB]))
    first, second = batch_of(log, int(swapped)), batch_of(log, int(not swapped))
    waited, applied = one_after_the_other(store, first, second, doomed=True)
    assert (waited, applied) == (True, 1)
    with store.snapshot() as snapshot:
        assert set(snapshot.positions()) == {int(not swapped)}
    assert apply(store, first) == 1
    _is_right(store, log)


def test_workers_with_nothing_in_common_do_not_wait(store: PostgresStore) -> None:
    """Feedback to predictions of two partitions goes on side by side, join keys or not."""
    one = [PREDICTION, THUMB]
    other = [
        {**made(prediction_id="p-7", join_key="ticket-2"), "id": "e-7"},
        {**thumb(prediction_id="p-7"), "id": "e-8"},
    ]
    log = log_with((0, one), (1, other))
    waited, applied = one_after_the_other(store, batch_of(log, 0), batch_of(log, 1))
    assert (waited, applied) == (False, 1)
    _is_right(store, log)
    with store.snapshot() as snapshot:
        assert {row[1] for row in snapshot.scan(COUNTS)} == {0, 1}


def test_a_zombie_waits_and_drops_what_was_applied(store: PostgresStore) -> None:
    """Two workers with the same blocks: the second finds the position moved, and applies nothing."""
    log = log_with((0, [PREDICTION]), (0, [THUMB]))
    waited, applied = one_after_the_other(store, batch_of(log, 0), batch_of(log, 0))
    assert (waited, applied) == (True, 0)
    _is_right(store, log)


def test_a_zombie_applies_what_is_left(store: PostgresStore) -> None:
    """Blocks that overlap count once: of the second worker's, those that the first one did not have."""
    log = log_with((0, [PREDICTION]), (0, [THUMB]), (0, [CORRECTION]))
    waited, applied = one_after_the_other(store, batch_of(log, 0, 0, 2), batch_of(log, 0, 1, 3))
    assert (waited, applied) == (True, 1)
    _is_right(store, log)


def test_a_zombie_that_dies_lets_its_successor_do_it(store: PostgresStore) -> None:
    """When the first worker's transaction fails, the blocks that it had are the second one's to apply."""
    log = log_with((0, [PREDICTION, THUMB]))
    waited, applied = one_after_the_other(store, batch_of(log, 0), batch_of(log, 0), doomed=True)
    assert (waited, applied) == (True, 1)
    _is_right(store, log)


def test_a_gap_is_refused(store: PostgresStore) -> None:
    """Blocks behind one that the store does not have are not applied."""
    log = log_with((0, [PREDICTION]), (0, [THUMB]))
    with pytest.raises(Gap):
        apply(store, batch_of(log, 0, 1))
    with store.snapshot() as snapshot:
        assert snapshot.positions() == {}
        assert snapshot.count(FACTS) == snapshot.count(LABELS) == 0
