"""A view is a plug: one that only tests have is kept, rebuilt and verified like those of the registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from streams.log.memory import MemoryLog
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.sqlite.store import SqliteStore, create_store
from tests.streams.views.keeping import TABLES, check_kept, check_rebuilt

Opening = Callable[[MemoryLog], Store]


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    """Gives an empty store with the view's table, for the views of a log."""

    def in_a_file(log: MemoryLog) -> Store:
        create_store(tmp_path / "views.sqlite", log.identity, TABLES)
        return SqliteStore(tmp_path / "views.sqlite", writable=True)

    def in_memory(log: MemoryLog) -> Store:
        return MemoryStore(log.identity)

    return in_memory if request.param == "memory" else in_a_file


def test_a_store_keeps_a_view_that_is_plugged_in(open_store: Opening) -> None:
    """What was said in each environment is counted, what was taken back is not, and replay gives the same."""
    check_kept(open_store)


def test_a_view_that_is_plugged_in_is_rebuilt_and_verified(open_store: Opening) -> None:
    """Replay gives the same rows, and verify tells of a row that is not as it was."""
    check_rebuilt(open_store)
