"""The order rule: order holds within a partition, nowhere else, and the views do not care."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import problems
from streams.log.memory import MemoryLog
from streams.projection.apply import advance
from streams.projection.rebuild import verify
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import DEAD_LETTERS, FACTS, DeadLetterRow, Fact, Row
from streams.views import labels, working_set
from streams.views.registry import TABLES
from tests.streams.dense import dense_history
from tests.streams.drawn import histories, log_of, views
from tests.streams.fold.limits import limit_loading
from tests.streams.fold.whole_sets import differences

History = list[tuple[bytes, int]]

_dense = st.builds(dense_history, st.integers(0, 10**9), st.integers(1, 120))
_histories = st.one_of(histories(), _dense, _dense)
_sizes = st.lists(st.integers(1, 7), min_size=1, max_size=3)


def _fold(log: MemoryLog, store: Store) -> Store:
    while advance(log, store):
        pass
    return store


def _fold_in_steps(
    log: MemoryLog, store: Store, data: st.DataObject, reopen: Callable[[Store], Store]
) -> Store:
    """Fold in a drawn interleaving of partitions and transactions, restarting at drawn points."""
    ends = log.ends()
    at = dict.fromkeys(ends, 0)
    while at != ends:
        behind = sorted(partition for partition in ends if at[partition] < ends[partition])
        chosen = data.draw(st.lists(st.sampled_from(behind), min_size=1, unique=True))
        for partition in chosen:
            at[partition] += data.draw(st.integers(1, ends[partition] - at[partition]))
        while advance(log, store, upto=at, most_events=data.draw(st.sampled_from([1, 5, 2000]))):
            pass
        if data.draw(st.booleans()):
            store = reopen(store)
    return store


@given(_histories, st.integers(1, 3), _sizes, _sizes, st.data())
@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow])
def test_views_are_the_same_for_every_interleaving_and_block_size(
    history: History, partitions: int, one: list[int], other: list[int], data: st.DataObject
) -> None:
    """Any interleaving of the partitions, any block size and any transaction size give the same views."""
    plain = log_of(history, partitions, one)
    expected = views(_fold(plain, MemoryStore(plain.identity)).snapshot().__enter__(), one)
    log = log_of(history, partitions, other)
    store = _fold_in_steps(log, MemoryStore(log.identity), data, lambda same: same)
    with store.snapshot() as snapshot:
        assert views(snapshot, other) == expected
        assert snapshot.count(DEAD_LETTERS, {"code": problems.CANNOT_FOLD}) == 0
        assert differences(snapshot) == []


@pytest.fixture(params=[(0, 0, 1, 1), (1, 2, 2, 2), (3, 3, 2, 5)], ids=str)
def small_limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hardly anything is loaded whole, and most of what changes is left to walks."""
    limit_loading(monkeypatch, *request.param)


@pytest.mark.usefixtures("small_limits")
@given(_histories, st.integers(1, 3), _sizes, st.data())
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_what_is_loaded_is_enough(
    history: History, partitions: int, sizes: list[int], data: st.DataObject
) -> None:
    """Loading no more than an event can change gives what the whole set gives, in any interleaving."""
    log = log_of(history, partitions, sizes)
    store = _fold_in_steps(log, MemoryStore(log.identity), data, lambda same: same)
    with store.snapshot() as snapshot:
        assert snapshot.count(DEAD_LETTERS, {"code": problems.CANNOT_FOLD}) == 0
        assert differences(snapshot) == []
        assert [d.describe() for d in verify(log, snapshot, MemoryStore(log.identity))] == []


@pytest.mark.slow
@given(history=_histories, sizes=_sizes, data=st.data())
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_views_on_disk_are_the_same_across_restarts(
    tmp_path_factory: pytest.TempPathFactory, history: History, sizes: list[int], data: st.DataObject
) -> None:
    """Restarts at any point change nothing, and a rebuild in memory is identical row by row."""
    folder: Path = tmp_path_factory.mktemp("store")
    log = log_of(history, 3, sizes)
    create_store(folder / "views.sqlite", log.identity, TABLES)

    def reopen(store: Store) -> Store:
        store.close()
        return SqliteStore(folder / "views.sqlite", writable=True)

    store = _fold_in_steps(log, SqliteStore(folder / "views.sqlite", writable=True), data, reopen)
    with store.snapshot() as live:
        assert [d.describe() for d in verify(log, live, MemoryStore(log.identity))] == []
    store.close()


@pytest.mark.slow
def test_the_drawn_histories_reach_every_view(monkeypatch: pytest.MonkeyPatch) -> None:
    """The property is not empty: the drawn histories fill every view and give every verdict and wait."""
    monkeypatch.setattr(labels, "LISTED", 2)
    monkeypatch.setattr(working_set, "WHOLE", 2)
    reached: set[str] = set()

    @given(_histories)
    @settings(max_examples=300, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    def look(history: list[tuple[bytes, int]]) -> None:
        log = log_of(history, 2, [3])
        with _fold(log, MemoryStore(log.identity)).snapshot() as snapshot:
            reached.update(name for name, rows in views(snapshot, [3]).items() if rows)
            reached.update(letter.code for letter in map(_letter, snapshot.scan(DEAD_LETTERS)))
            for fact in (Fact(*row) for row in snapshot.scan(FACTS)):
                reached.add((fact.waits_for or "").partition(":")[0])
                reached.update(name for name in ("retracted", "vote") if getattr(fact, name))
                reached.add("moved" if fact.pid not in (None, fact.key) else "")

    look()
    every = {table.name for table in TABLES} - {"replayed"}
    verdicts = set(problems.WORKER_CODES) - {problems.CANNOT_FOLD}
    waits = {"prediction", "join_key", "declaration", "event"}
    assert every | verdicts | waits | {"retracted", "vote", "moved"} <= reached


def _letter(row: Row) -> DeadLetterRow:
    return DeadLetterRow(*row)
