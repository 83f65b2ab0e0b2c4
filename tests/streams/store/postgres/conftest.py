"""Fixtures of this folder: a catalogue, and a fresh store in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from streams.store.postgres import PostgresStore, PostgresStores
from streams.views.registry import TABLES
from tests.services.postgres import PostgresServer, create_database, drop_database
from tests.streams.store.postgres.working import fresh_store
from tests.streams.store.storing import IDENTITY


@pytest.fixture(scope="module")
def database(postgres_address: str) -> Iterator[str]:
    """The address of a database for a module: making one takes as long as many a test."""
    url = create_database(postgres_address)
    yield url
    drop_database(url)


@pytest.fixture(scope="module")
def stores(database: str) -> Iterator[PostgresStores]:
    """The catalogue of the module's database."""
    stores = PostgresStores(database, TABLES)
    yield stores
    stores.close()


@pytest.fixture
def store(stores: PostgresStores) -> Iterator[PostgresStore]:
    """An empty store, which is the current one."""
    store = fresh_store(stores, IDENTITY)
    yield store
    store.close()


@pytest.fixture
def own_server(postgres: PostgresServer) -> Iterator[PostgresServer]:
    """The run's own server, for a test that stops it; it runs again afterwards."""
    postgres.start()
    yield postgres
    postgres.start()
