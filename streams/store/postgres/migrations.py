"""The catalogue's schema, as numbered migrations that run once each, under a lock.

A migration that was released is never changed: what comes next is another one. Stores are not migrated:
another version of the views is another store.
"""

from __future__ import annotations

from collections.abc import Sequence

from streams.store.port import StoreUnreadable
from streams.store.postgres.connections import Connection
from streams.store.postgres.locks import MIGRATING

MIGRATIONS: Sequence[str] = (
    # 1: the list of stores. `state` is building, current or replaced; `alone` is a store that one process
    # builds by itself, which workers leave alone.
    """
    CREATE TABLE loopline.stores (
        number integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        views_version integer NOT NULL,
        state text NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'current', 'replaced')),
        alone boolean NOT NULL,
        log text NOT NULL,
        epoch integer NOT NULL,
        partitions integer NOT NULL,
        before integer[] NOT NULL,
        made timestamptz NOT NULL DEFAULT now(),
        out_of_use timestamptz
    );
    CREATE UNIQUE INDEX stores_current ON loopline.stores (views_version) WHERE state = 'current';
    """,
)


def migrate(connection: Connection, server: str, migrations: Sequence[str] = MIGRATIONS) -> int:
    """Bring the catalogue to the newest of these migrations; however many processes do so at once.

    Returns how many were run. Raises StoreUnreadable for a catalogue of a newer version.
    """
    known = _version(connection)
    if known == len(migrations):
        return 0
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s, 0)", [MIGRATING])
        connection.execute("CREATE SCHEMA IF NOT EXISTS loopline")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS loopline.migrations"
            " (number integer PRIMARY KEY, done timestamptz NOT NULL DEFAULT now())"
        )
        known = _version(connection)
        if known > len(migrations):
            raise StoreUnreadable(
                f"the catalogue in {server} was made by a newer version of Loopline (migration {known}, and"
                f" this version knows {len(migrations)}): run that version, or restore the database from"
                " before the upgrade."
            )
        for number in range(known + 1, len(migrations) + 1):
            connection.execute(migrations[number - 1].encode(), prepare=False)
            connection.execute("INSERT INTO loopline.migrations (number) VALUES (%s)", [number])
    return len(migrations) - known


def _version(connection: Connection) -> int:
    there = connection.execute("SELECT to_regclass('loopline.migrations') IS NOT NULL").fetchone()
    if there is None or not there[0]:
        return 0
    [(latest,)] = connection.execute("SELECT coalesce(max(number), 0) FROM loopline.migrations").fetchall()
    return int(latest)
