"""The server that tests and benchmarks start: it stops, starts, and cleans up."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg
import pytest

from tests.services.postgres import PostgresServer

pytestmark = pytest.mark.postgres


def test_each_test_has_a_database_of_its_own(postgres_url: str, postgres_address: str) -> None:
    """A fresh database is empty, and another one than the server's own."""
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert rows == [(0,)]
    assert postgres_url != postgres_address


@pytest.mark.parametrize("crash", [False, True])
def test_a_server_keeps_its_data_over_a_restart(postgres: PostgresServer, crash: bool) -> None:
    """Stopped or crashed, it comes back at the same address with what was committed."""
    url = postgres.fresh_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
    before = postgres.pids()
    postgres.stop(crash=crash)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)
    postgres.start()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchall() == [(1,)]
    assert not set(before) & set(postgres.pids())


def test_a_server_leaves_nothing_behind() -> None:
    """When the context ends, its processes and its data are gone."""
    # Not in pytest's own folders: each session that begins closes them to other users again.
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # The server has a user of its own.
        folder.chmod(0o755)
        with PostgresServer(folder=folder) as server:
            pids = server.pids()
            assert len(pids) > 1
        assert list(folder.iterdir()) == []
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
