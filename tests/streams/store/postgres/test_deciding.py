"""Deciders on PostgreSQL: the contract, and the lock of the one process that decides."""

from __future__ import annotations

import psycopg
import pytest

from streams.store.port import StoreUnavailable
from streams.store.postgres import PostgresStores
from streams.store.postgres.locks import DECIDING
from streams.views.registry import TABLES
from tests.services.postgres import PostgresServer
from tests.streams.deciders.reconcile_contract import ReconcileContract

pytestmark = pytest.mark.postgres


class TestOnPostgres(ReconcileContract):
    """The store of a fresh schema each time."""


def _end_holder(database: str) -> None:
    """End the connection that holds the lock, as a server that restarts does."""
    with psycopg.connect(database, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory'"
            " AND classid = %s"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [DECIDING],
        ).fetchall()
    assert ended == [(True,)]


def test_one_process_decides_at_a_time(stores: PostgresStores) -> None:
    """Who has the lock keeps it; when it is given back the next who asks gets it."""
    first, second = stores.deciding(), stores.deciding()
    assert [first.held(), second.held(), first.held()] == [True, False, True]
    first.close()
    assert second.held()
    assert not first.held()
    second.close()
    first.close()


def test_a_lost_connection_is_a_lost_lock(stores: PostgresStores, database: str) -> None:
    """Another one gets it, and the one that had it learns of that when it asks, and waits for its turn."""
    first, second = stores.deciding(), stores.deciding()
    assert first.held()
    _end_holder(database)
    assert second.held()
    assert not first.held()
    _end_holder(database)
    assert first.held()
    assert not second.held()
    first.close()
    second.close()


def test_a_server_that_is_away_gives_nobody_the_turn(own_server: PostgresServer, postgres_url: str) -> None:
    """It is said to be away; when it is back, who asks gets the lock."""
    catalogue = PostgresStores(postgres_url, TABLES)
    lock = catalogue.deciding()
    assert lock.held()
    own_server.stop()
    for _ in range(2):
        with pytest.raises(StoreUnavailable):
            lock.held()
    own_server.start()
    assert lock.held()
    lock.close()
    catalogue.close()
