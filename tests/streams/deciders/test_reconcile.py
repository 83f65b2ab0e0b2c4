"""Deciders send what should be and is not, on every store; ids follow from rule, subject and cause alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.deciders.port import decision_id
from streams.store.memory import MemoryStore
from streams.store.port import Store
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES
from tests.streams.deciders.reconcile_contract import ReconcileContract
from tests.streams.store.storing import IDENTITY


class TestInMemory(ReconcileContract):
    """The store of dicts."""

    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore(IDENTITY)


class TestOnSqlite(ReconcileContract):
    """The store in a file."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        create_store(tmp_path / "store.sqlite", IDENTITY, TABLES)
        store = SqliteStore(tmp_path / "store.sqlite", writable=True)
        yield store
        store.close()


_PARTS = st.lists(st.text(max_size=6), min_size=1, max_size=4)


@given(_PARTS, _PARTS)
def test_ids_are_equal_where_the_parts_are(one: list[str], other: list[str]) -> None:
    """No part can be mistaken for two, whatever is in it."""
    assert (decision_id(*one) == decision_id(*other)) == (one == other)


def test_an_id_never_changes() -> None:
    """Another release of Loopline makes the same ids: else all that was decided would be decided again."""
    assert decision_id("dataset.released", "m", "1", "sha256:0") == "5d6d975d-161a-5f2a-8f65-1e1cc449c52b"
