"""Fixtures of this folder: a fresh store, and the catalogue it is in."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.store.postgres import PostgresStore, PostgresStores
from tests.streams.store_contract import IDENTITY


@pytest.fixture
def stores(postgres_url: str) -> Iterator[PostgresStores]:
    """The catalogue of a fresh database."""
    stores = PostgresStores(postgres_url)
    yield stores
    stores.close()


@pytest.fixture
def store(stores: PostgresStores) -> Iterator[PostgresStore]:
    """An empty, current store."""
    store = stores.for_work(IDENTITY)
    yield store
    store.close()
