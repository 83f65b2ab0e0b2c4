"""A view that is plugged in is kept by PostgreSQL, as by every store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from streams.log.memory import MemoryLog
from streams.store.port import Store
from streams.store.postgres import PostgresStores
from tests.streams.store.postgres.working import fresh_store
from tests.streams.views.keeping import TABLES, check_kept, check_rebuilt

pytestmark = pytest.mark.postgres


@pytest.fixture
def open_store(database: str) -> Iterator[Callable[[MemoryLog], Store]]:
    """Gives an empty store with the view's table, for the views of a log."""
    stores = PostgresStores(database, TABLES)
    yield lambda log: fresh_store(stores, log.identity)
    stores.close()


def test_postgresql_keeps_a_view_that_is_plugged_in(open_store: Callable[[MemoryLog], Store]) -> None:
    """What was said in each environment is counted, what was taken back is not, and replay gives the same."""
    check_kept(open_store)


def test_postgresql_rebuilds_and_verifies_it(open_store: Callable[[MemoryLog], Store]) -> None:
    """Replay gives the same rows, and verify tells of a row that is not as it was."""
    check_rebuilt(open_store)
