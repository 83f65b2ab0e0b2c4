"""PostgreSQL tells its clock with what is read anyway."""

from __future__ import annotations

import time

from streams.clocks import ClockWatch
from streams.store.postgres import PostgresStores
from streams.views.registry import TABLES
from tests.streams.store.postgres.working import fresh_store
from tests.streams.store.storing import IDENTITY


def test_each_snapshot_and_transaction_tells_the_servers_clock(database: str) -> None:
    """A machine that is a minute behind hears of it by a look, a read or a write."""
    behind_ns = 60 * 10**9

    def watch() -> ClockWatch:
        return ClockWatch(lambda: time.time_ns() - behind_ns)

    def told(clocks: ClockWatch) -> float:
        return round(clocks.skews()["PostgreSQL"].seconds)

    for use in ("look", "read", "write"):
        clocks = watch()
        stores = PostgresStores(database, TABLES, clocks)
        store = fresh_store(stores, IDENTITY)
        if use == "look":
            stores.look_at_clock()
        elif use == "read":
            with store.snapshot():
                pass
        else:
            with store.transaction([0]):
                pass
        store.close()
        stores.close()
        assert told(clocks) == -60, use
        assert "60.0 s behind that of PostgreSQL" in clocks.reasons()[0]
