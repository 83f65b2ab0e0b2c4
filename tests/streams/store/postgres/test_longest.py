"""The longest events that are admitted fit the indexes of PostgreSQL, and any admitted event folds there."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.projection.apply import advance
from streams.projection.rebuild import verify
from streams.store.memory import MemoryStore
from streams.store.postgres import PostgresStore, PostgresStores
from tests.streams.drawn import START, log_of, views
from tests.streams.fold.faulty import judged
from tests.streams.fold.longest import HISTORIES
from tests.streams.fold.test_any_event import TRICKY, meeting
from tests.streams.sent import item
from tests.streams.store.postgres.working import fresh_store
from tests.streams.store.storing import IDENTITY

pytestmark = pytest.mark.postgres


def _folded(store: PostgresStore, history: list[tuple[bytes, int]]) -> None:
    log = log_of(history, 2, [3])
    log.identity = IDENTITY
    other = MemoryStore(log.identity)
    for each in (store, other):
        while advance(log, each):
            pass
    assert [letter for letter in judged(store) if letter.code == "cannot_fold"] == []
    with store.snapshot() as one, other.snapshot() as two:
        assert views(one, [3]) == views(two, [3])
        assert verify(log, one, MemoryStore(log.identity)) == []


@pytest.mark.parametrize("kind", HISTORIES)
def test_the_longest_events_fold(store: PostgresStore, kind: str) -> None:
    """None is set aside, and the views are those of a store in memory."""
    _folded(store, HISTORIES[kind])


def test_unusual_events_fold(store: PostgresStore) -> None:
    """All of them in one history."""
    _folded(
        store, [(item({**sent, "id": f"odd-{number}"}), START) for number, sent in enumerate(TRICKY.values())]
    )


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(meeting(), min_size=1, max_size=8))
def test_any_admitted_event_folds(stores: PostgresStores, items: list[bytes]) -> None:
    """Any text, any number, any JSON that admission lets in."""
    store = fresh_store(stores, IDENTITY)
    try:
        _folded(store, [(each, START) for each in items])
    finally:
        store.close()
