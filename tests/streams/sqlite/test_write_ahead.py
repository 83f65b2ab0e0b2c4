"""The write-ahead log of SQLite stays short: at rest it is empty, and no reader keeps it growing for good."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from streams.log.port import DEAD, LogIdentity
from streams.log.sqlite import SqliteLog, create_log
from streams.sqlite.write_ahead import WriteAheadLog
from streams.store.port import Applied
from streams.store.sqlite.store import SqliteStore, create_store
from streams.views.registry import TABLES


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _database(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("CREATE TABLE t (x)")
    return connection


def _write(connection: sqlite3.Connection, wal: WriteAheadLog, size: int = 10_000) -> None:
    connection.execute("INSERT INTO t VALUES (zeroblob(?))", [size])
    wal.written()


@pytest.fixture
def clock() -> Clock:
    """A clock at some instant."""
    return Clock()


def test_it_is_empty_a_second_after_the_last_commit(tmp_path: Path, clock: Clock) -> None:
    """Not before: whoever writes on is not held up."""
    with closing(_database(tmp_path / "d")) as writer:
        wal = WriteAheadLog(tmp_path / "d", longest_bytes=1_000_000, clock=clock)
        _write(writer, wal)
        assert not wal.is_due()
        clock.now += 0.9
        assert not wal.is_due()
        clock.now += 0.2
        assert wal.is_due()
        assert wal.shorten(writer)
        assert wal.bytes() == 0
        clock.now += 10
        assert not wal.is_due()


def test_while_it_is_written_to_it_is_shortened_when_it_is_too_long(tmp_path: Path, clock: Clock) -> None:
    """Each five seconds at most, and only then."""
    with closing(_database(tmp_path / "d")) as writer:
        wal = WriteAheadLog(tmp_path / "d", longest_bytes=100_000, clock=clock)
        due = []
        for _ in range(90):
            clock.now += 0.125
            _write(writer, wal)
            due.append(wal.is_due())
            if due[-1]:
                assert wal.shorten(writer)
                assert wal.bytes() == 0
        assert [number for number, was in enumerate(due) if was] == [39, 79]


def test_a_reader_puts_it_off_and_no_longer_than_it_stays(tmp_path: Path, clock: Clock) -> None:
    """What is in the way is no error; afterwards it is written back."""
    with closing(_database(tmp_path / "d")) as writer, closing(sqlite3.connect(tmp_path / "d")) as reader:
        wal = WriteAheadLog(tmp_path / "d", longest_bytes=1000, clock=clock)
        _write(writer, wal)
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM t").fetchone()
        _write(writer, wal)
        clock.now += 2
        assert wal.is_due()
        assert not wal.shorten(writer)
        assert wal.bytes() > 0
        assert writer.execute("PRAGMA busy_timeout").fetchone() == (5000,)
        reader.rollback()
        clock.now += 2
        assert wal.is_due()
        assert wal.shorten(writer)
        assert wal.bytes() == 0


@pytest.mark.slow
def test_readers_that_relieve_each_other_do_not_let_the_views_grow(tmp_path: Path, clock: Clock) -> None:
    """There is always one who reads, as on a busy server: the log is cut all the same."""
    path = tmp_path / "views.sqlite"
    create_store(path, LogIdentity("log", 1, 1), TABLES)
    over = threading.Event()
    wal = WriteAheadLog(path, longest_bytes=200_000, clock=clock)
    with closing(SqliteStore(path, writable=True, wal=wal)) as store:

        def read() -> None:
            while not over.is_set():
                with store.snapshot() as snapshot:
                    snapshot.positions()
                    over.wait(0.01)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for reader in readers:
            reader.start()
        try:
            lengths = []
            for number in range(15):
                with store.transaction([number]) as transaction:
                    transaction.advance({each: Applied(number, bytes(32), 0) for each in range(5000)})
                clock.now += 5
                wal.written()
                store.shorten()
                lengths.append(wal.bytes())
        finally:
            over.set()
            for reader in readers:
                reader.join()
        assert lengths.count(0) > 4
        # A transaction is 300 KB here.
        assert max(lengths) < 10 * 300_000
    assert not path.with_name("views.sqlite-wal").exists()


def test_the_log_is_cut_while_it_rests(tmp_path: Path, clock: Clock) -> None:
    """Appends, ends and reads go on as before."""
    create_log(tmp_path / "log.sqlite", 1)
    wal = WriteAheadLog(tmp_path / "log.sqlite", longest_bytes=8_000_000, clock=clock)
    with closing(SqliteLog(tmp_path / "log.sqlite", writable=True, wal=wal)) as log:
        for _ in range(20):
            log.append([(0, bytes(50_000))])
        assert wal.bytes() > 0
        clock.now += 2
        log.shorten()
        assert wal.bytes() == 0
        log.append([(0, b"after")])
        assert log.ends() == {0: 21, DEAD: 0}
        assert log.read(0, 20, 1) == [b"after"]


def test_what_only_reads_shortens_nothing(tmp_path: Path, clock: Clock) -> None:
    """That is the writer's."""
    create_log(tmp_path / "log.sqlite", 1)
    wal = WriteAheadLog(tmp_path / "log.sqlite", longest_bytes=1, clock=clock)
    with (
        closing(SqliteLog(tmp_path / "log.sqlite", writable=True)) as writer,
        closing(SqliteLog(tmp_path / "log.sqlite", wal=wal)) as reader,
    ):
        writer.append([(0, b"a")])
        clock.now += 100
        reader.shorten()
        assert wal.bytes() > 0
