"""What the log in a file owes to its disk: appends that last, torn writes that vanish, honest failures."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from streams.log.port import DEAD, NotDurable
from streams.log.sqlite import LogMissing, SqliteLog, create_log

FILES = ("log.db", "log.db-wal")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty log of two partitions."""
    create_log(tmp_path / "log.db", 2)
    return tmp_path / "log.db"


def _records(path: Path) -> list[bytes]:
    with closing(SqliteLog(path)) as log:
        assert log.ends()[0] == len(log.read(0, 0, 1000))
        return log.read(0, 0, 1000)


def test_a_log_is_the_same_after_reopening(path: Path) -> None:
    """Identity, ends and records are in the file, not in the process."""
    with closing(SqliteLog(path, writable=True)) as log:
        identity = log.identity
        log.append([(0, b"a"), (1, b"b"), (DEAD, b"c")])
        log.append([(1, b"d")])
    with closing(SqliteLog(path, writable=True)) as log:
        assert log.identity == identity
        assert log.ends() == {0: 1, 1: 2, DEAD: 1}
        log.append([(1, b"e")])
        assert log.read(1, 0, 10) == [b"b", b"d", b"e"]


def test_two_logs_are_never_the_same(tmp_path: Path) -> None:
    """A log that was made again is another log."""
    assert create_log(tmp_path / "a.db", 1).id != create_log(tmp_path / "b.db", 1).id


def test_a_log_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Opening does not make a log."""
    with pytest.raises(LogMissing, match=r"gone\.db"):
        SqliteLog(tmp_path / "gone.db", writable=True)
    assert list(tmp_path.iterdir()) == []


def test_a_reader_follows_the_writer(path: Path) -> None:
    """A reader that was opened before an append sees it after; it cannot append itself."""
    with closing(SqliteLog(path)) as reader, closing(SqliteLog(path, writable=True)) as writer:
        assert reader.ends()[0] == 0
        writer.append([(0, b"a")])
        assert reader.ends()[0] == 1
        assert reader.read(0, 0, 1) == [b"a"]
        with pytest.raises(NotDurable):
            reader.append([(0, b"b")])
        assert writer.read(0, 0, 10) == [b"a"]


def _torn(path: Path, folder: Path, wal: bytes) -> Path:
    """A copy of the log with another write-ahead log, as a loss of power may leave it."""
    folder.mkdir()
    shutil.copy(path, folder / "log.db")
    (folder / "log.db-wal").write_bytes(wal)
    return folder / "log.db"


def test_a_torn_write_leaves_a_prefix(path: Path, tmp_path: Path) -> None:
    """Wherever the write-ahead log was cut, what opens is whole appends, from the first on, and no error."""
    with closing(SqliteLog(path, writable=True)) as log:
        for number in range(4):
            log.append([(0, b"%d" % number * 900), (0, b"%d+" % number)])
        wal = path.with_name("log.db-wal").read_bytes()
        whole = _records(path)
        cuts = [*range(80), *range(80, len(wal), 131), *range(len(wal) - 40, len(wal) + 1)]
        seen = set()
        for cut in cuts:
            records = _records(_torn(path, tmp_path / f"cut{cut}", wal[:cut]))
            assert records == whole[: len(records)]
            assert len(records) % 2 == 0, "half an append is visible"
            seen.add(len(records))
            shutil.rmtree(tmp_path / f"cut{cut}")
    assert seen == {0, 2, 4, 6, 8}


def test_a_damaged_write_leaves_a_prefix(path: Path, tmp_path: Path) -> None:
    """Whichever byte of the write-ahead log is wrong, no torn record and no error comes of it."""
    with closing(SqliteLog(path, writable=True)) as log:
        for number in range(3):
            log.append([(0, b"%d" % number * 900), (0, b"%d+" % number)])
        wal = path.with_name("log.db-wal").read_bytes()
        whole = _records(path)
        for place in [*range(64), *range(64, len(wal), 149)]:
            damaged = wal[:place] + bytes([wal[place] ^ 0x5A]) + wal[place + 1 :]
            records = _records(_torn(path, tmp_path / f"at{place}", damaged))
            assert records == whole[: len(records)]
            assert len(records) % 2 == 0, "half an append is visible"
            shutil.rmtree(tmp_path / f"at{place}")


def test_a_log_goes_on_after_a_torn_write(path: Path, tmp_path: Path) -> None:
    """What is appended after a torn write lands behind what was left, and stays."""
    with closing(SqliteLog(path, writable=True)) as log:
        log.append([(0, b"a")])
        log.append([(0, b"b" * 5000)])
        wal = path.with_name("log.db-wal").read_bytes()
        torn = _torn(path, tmp_path / "torn", wal[:-100])
    with closing(SqliteLog(torn, writable=True)) as log:
        assert log.read(0, 0, 10) == [b"a"]
        log.append([(0, b"c")])
    assert _records(torn) == [b"a", b"c"]


@contextmanager
def _file_size(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _fails(log: SqliteLog, record: bytes) -> None:
    with pytest.raises(NotDurable):
        log.append([(0, b"small"), (0, record), (1, b"small")])


@pytest.mark.parametrize("room", [0, 1, 1000, 5000, 50_000])
def test_a_full_disk_is_an_error_and_no_more(path: Path, room: int) -> None:
    """Without space an append fails and leaves nothing; with space again, the log goes on without a gap."""
    with closing(SqliteLog(path, writable=True)) as log, closing(SqliteLog(path)) as reader:
        log.append([(0, b"a"), (1, b"A")])
        with _file_size(path.with_name("log.db-wal").stat().st_size + room):
            for _ in range(3):
                _fails(log, b"x" * 100_000)
            assert reader.ends() == log.ends() == {0: 1, 1: 1, DEAD: 0}
        log.append([(0, b"b" * 100_000), (1, b"B")])
        assert reader.read(0, 0, 10) == [b"a", b"b" * 100_000]
        assert reader.read(1, 0, 10) == [b"A", b"B"]
    assert _records(path) == [b"a", b"b" * 100_000]


def test_a_log_that_may_not_grow_is_an_error_and_no_more(path: Path) -> None:
    """The same when SQLite itself finds no free page."""
    with closing(SqliteLog(path, writable=True)) as log:
        log.append([(0, b"a")])
        log._writer.execute("PRAGMA max_page_count=4")
        _fails(log, b"x" * 100_000)
        assert log.ends()[0] == 1
        log._writer.execute("PRAGMA max_page_count=1000000")
        log.append([(0, b"b" * 100_000)])
    assert _records(path) == [b"a", b"b" * 100_000]


def test_a_locked_log_is_an_error_and_no_more(path: Path) -> None:
    """While somebody else holds the file for writing, an append fails; then it works again."""
    with (
        closing(SqliteLog(path, writable=True)) as log,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        log.append([(0, b"a")])
        other.execute("BEGIN IMMEDIATE")
        _fails(log, b"b")
        assert log.read(0, 0, 10) == [b"a"]
        other.execute("ROLLBACK")
        log.append([(0, b"c")])
    assert _records(path) == [b"a", b"c"]


def test_a_writer_that_was_overtaken_overwrites_nothing(path: Path) -> None:
    """Two writers are not meant to be; if it happens, the later one fails whole, and then knows the ends."""
    with closing(SqliteLog(path, writable=True)) as one, closing(SqliteLog(path, writable=True)) as other:
        one.append([(0, b"a")])
        with pytest.raises(NotDurable):
            other.append([(1, b"x"), (0, b"y")])
        assert one.ends() == other.ends() == {0: 1, 1: 0, DEAD: 0}
        other.append([(1, b"x"), (0, b"y")])
    assert _records(path) == [b"a", b"y"]


def test_threads_close_with_the_log(path: Path) -> None:
    """Reading in many threads leaves no connection open once the log is closed."""
    with closing(SqliteLog(path, writable=True)) as log:
        log.append([(0, b"a")])
        seen: list[list[bytes]] = []
        threads = [threading.Thread(target=lambda: seen.append(log.read(0, 0, 1))) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert seen == [[b"a"]] * 5
    assert sorted(each.name for each in path.parent.iterdir()) == ["log.db"]


def test_what_is_open_does_not_grow_with_threads_and_looks(path: Path) -> None:
    """A thousand threads that look at the log once leave a few connections, not a thousand."""
    with closing(SqliteLog(path, writable=True)) as log:
        log.append([(0, b"a")])
        for _ in range(100):
            threads = [threading.Thread(target=log.ends) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        mine = [os.readlink(each) for each in Path("/proc/self/fd").iterdir() if each.exists()]
        # Of the file itself and of its write-ahead log, for each of the connections that are kept.
        assert sum(str(path) in name for name in mine) <= 3 * 10
        assert log.read(0, 0, 1) == [b"a"]


_APPEND = """
import sys
from pathlib import Path
from streams.log.sqlite import SqliteLog

log = SqliteLog(Path(sys.argv[1]), writable=True)
first = log.ends()[0]
for number in range(first, first + 20):
    log.append([(0, b"%d" % number), (1, b"%d" % number)])
    print(number, flush=True)
"""


@pytest.mark.crash
@pytest.mark.parametrize("point", ["append.1:4", "append.2:4", "append.3:4"])
def test_a_writer_killed_at_any_step_leaves_what_it_acknowledged(path: Path, point: str) -> None:
    """Killed at each numbered step: all that was said to be appended is there, in both partitions or none."""
    plan = path.with_name("plan")
    environment = {"LOOPLINE_CRASH_PLAN": str(plan), "PYTHONPATH": str(Path(__file__).parents[3])}
    acknowledged = 0
    for _ in range(3):
        plan.write_text(point)
        writer = subprocess.run(
            [sys.executable, "-c", _APPEND, str(path)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert writer.returncode == -signal.SIGKILL, writer.stderr
        acknowledged += len(writer.stdout.split())
        with closing(SqliteLog(path)) as log:
            ends = log.ends()
            assert ends[0] == ends[1] >= acknowledged
            assert log.read(0, 0, 1000) == log.read(1, 0, 1000) == [b"%d" % n for n in range(ends[0])]
            acknowledged = ends[0]
