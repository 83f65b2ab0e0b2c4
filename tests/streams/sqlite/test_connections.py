"""Connections to a file of SQLite's: few are kept, none is lost, and none outlives the last who reads."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from streams.sqlite.connections import SqliteConnections


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with a table in it."""
    with closing(sqlite3.connect(tmp_path / "d")) as connection, connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
    return tmp_path / "d"


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        connection.execute("SELECT count(*) FROM t").fetchone()
    except sqlite3.ProgrammingError:
        return False
    return True


def test_of_many_that_were_lent_a_few_are_kept(path: Path) -> None:
    """Twenty at once are twenty; afterwards eight wait for the next, and the next takes one of them."""
    with closing(SqliteConnections(path, "the file", busy_s=1.0)) as connections:
        with ExitStack() as lent:
            all_ = [lent.enter_context(connections.reading()) for _ in range(20)]
            assert len(set(map(id, all_))) == 20
        kept = [each for each in all_ if _is_open(each)]
        assert len(kept) == 8
        with connections.reading() as again:
            assert again in kept


def test_closed_while_it_is_lent_it_is_closed_when_given_back(path: Path) -> None:
    """Whoever reads may end; whoever comes later is told."""
    connections = SqliteConnections(path, "the file", busy_s=1.0)
    with connections.reading() as lent:
        connections.close()
        assert _is_open(lent)
    assert not _is_open(lent)
    with pytest.raises(sqlite3.ProgrammingError, match="the file at"), connections.reading():
        pass


def test_readers_write_nothing_and_have_their_settings(path: Path) -> None:
    """The one that is opened for writing has others, and writes."""
    with closing(SqliteConnections(path, "the file", busy_s=1.0, reader=["cache_size=-77"])) as connections:
        with connections.reading() as reader:
            assert reader.execute("PRAGMA cache_size").fetchone() == (-77,)
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                reader.execute("INSERT INTO t VALUES (1)")
        with closing(connections.open(["cache_size=-99"])) as writer:
            assert writer.execute("PRAGMA cache_size").fetchone() == (-99,)
            writer.execute("INSERT INTO t VALUES (1)")
