"""The order rule on PostgreSQL: workers at the same time give the views that one worker gives."""

from __future__ import annotations

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import problems
from streams.log.port import DEAD
from streams.projection.rebuild import verify
from streams.store.memory import MemoryStore
from streams.store.postgres import PostgresStores
from streams.store.tables import DEAD_LETTERS
from tests.streams.dense import dense_history
from tests.streams.drawn import histories, log_of
from tests.streams.fold.limits import limit_loading
from tests.streams.fold.whole_sets import differences
from tests.streams.store.postgres.working import Working, fresh_store, work_apart

pytestmark = pytest.mark.postgres

_dense = st.builds(dense_history, st.integers(0, 10**9), st.integers(60, 250))
_histories = st.one_of(histories(), _dense, _dense)


@given(
    history=_histories,
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=3),
    seeds=st.tuples(st.integers(0, 999), st.integers(0, 999)),
)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_two_workers_at_once_give_the_views_of_one(
    stores: PostgresStores,
    database: str,
    history: list[tuple[bytes, int]],
    sizes: list[int],
    seeds: tuple[int, int],
) -> None:
    """Two workers with partitions of their own, at once: the views of one, and no deadlock."""
    log = log_of(history, 4, sizes)
    store = fresh_store(stores, log.identity)
    workers = [
        Working(lambda: work_apart(log, store, [0, 2], seeds[0])),
        Working(lambda: work_apart(log, store, [DEAD, 1, 3], seeds[1])),
    ]
    for worker in workers:
        worker.result()
    with store.snapshot() as live:
        assert [found.describe() for found in verify(log, live, MemoryStore(log.identity))] == []
    store.close()
    with psycopg.connect(database) as connection:
        assert connection.execute(
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        ).fetchone() == (0,)


@given(history=_dense, seeds=st.tuples(st.integers(0, 999), st.integers(0, 999)))
@settings(max_examples=10, suppress_health_check=list(HealthCheck))
def test_two_workers_load_enough(
    stores: PostgresStores,
    monkeypatch: pytest.MonkeyPatch,
    history: list[tuple[bytes, int]],
    seeds: tuple[int, int],
) -> None:
    """With limits that leave nearly everything to walks: what the whole set gives, and no deadlock."""
    limit_loading(monkeypatch, 1, 2, 2, 3)
    log = log_of(history, 4, [3])
    store = fresh_store(stores, log.identity)
    workers = [
        Working(lambda: work_apart(log, store, [0, 2], seeds[0])),
        Working(lambda: work_apart(log, store, [DEAD, 1, 3], seeds[1])),
    ]
    for worker in workers:
        worker.result()
    with store.snapshot() as live:
        assert live.count(DEAD_LETTERS, {"code": problems.CANNOT_FOLD}) == 0
        assert differences(live) == []
        assert [found.describe() for found in verify(log, live, MemoryStore(log.identity))] == []
    store.close()


def test_workers_that_believe_in_the_same_partitions_count_once(stores: PostgresStores) -> None:
    """Three workers that each apply every partition, as zombies do: every event counts once."""
    log = log_of(dense_history(7, 400), 3, [4])
    store = fresh_store(stores, log.identity)

    def work(seed: int) -> None:
        work_apart(log, store, [0, 1, 2, DEAD], seed)

    # Who is behind reads from the position of the store, so a worker never meets a gap here: it starts at 0.
    workers = [Working(lambda seed=seed: work(seed)) for seed in range(3)]  # type: ignore[misc]
    for worker in workers:
        worker.result()
    with store.snapshot() as live:
        assert [found.describe() for found in verify(log, live, MemoryStore(log.identity))] == []
    store.close()
