"""What the store in a file owes to SQLite: searches, one writer, readers beside it, typed refusals."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from streams.store.port import Applied, Range, StoreExists, StoreMissing, StoreUnreadable, UnknownColumn
from streams.store.sqlite import statements
from streams.store.sqlite.store import (
    SqliteStore,
    create_store,
)
from streams.store.tables import (
    CASES,
    COUNTS,
    DEAD_LETTERS,
    FACTS,
    FACTS_BY_TIME,
    LABELS,
    MODEL_EVENTS,
    PREDICTIONS,
    PREDICTIONS_BY_TIME,
    Index,
    Table,
)
from streams.views.registry import TABLES
from tests.streams.store.rows import case, count
from tests.streams.store.storing import IDENTITY, everything, put


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """An empty store."""
    create_store(tmp_path / "store.db", IDENTITY, TABLES)
    return tmp_path / "store.db"


# --------------------------------------------------------------------------------- how SQLite goes about it


@pytest.fixture(scope="module")
def planner() -> Iterator[sqlite3.Connection]:
    """Empty tables to ask SQLite's planner about."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in TABLES:
            connection.executescript(statements.create(table))
        yield connection


def _plan(planner: sqlite3.Connection, text: str, parameters: list[Any]) -> str:
    return "; ".join(row[3] for row in planner.execute(f"EXPLAIN QUERY PLAN {text}", parameters))


def _prefixes() -> list[tuple[Table, tuple[str, ...]]]:
    prefixes = [(table, table.key[:length]) for table in TABLES for length in range(1, len(table.key) + 1)]
    return prefixes + [(table, index.columns[:1]) for table in TABLES for index in table.indexes]


@pytest.mark.parametrize(
    "table, columns",
    _prefixes(),
    ids=lambda each: each.name if isinstance(each, Table) else "+".join(each),
)
def test_a_keyed_read_is_a_search(
    planner: sqlite3.Connection, table: Table, columns: tuple[str, ...]
) -> None:
    """By whole key, by each prefix and by each index: SQLite searches, and walks over no table."""
    plain = {name: kind() for name, (kind, _) in table.types().items()}
    key = tuple(plain[column] for column in columns)
    for _, parameters in statements.among(table, columns, [key]):
        assert len(parameters) == len(columns)
    for length in (1, 8, 64, statements.CHUNK):
        text = statements._among(table, columns, length)
        plan = _plan(planner, text, [None] * (length * len(columns)))
        name = "it" if len(columns) > 1 else table.name
        terms = " AND ".join(f"{column}=?" for column in columns)
        assert f"SEARCH {name} USING" in plan
        assert f"({terms})" in plan
        assert f"SCAN {name}" not in plan


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_scan_walks_along_the_key(planner: sqlite3.Connection, table: Table) -> None:
    """A whole table in key order is read along its key's index, whatever its size: nothing is sorted."""
    key = [table.types()[column][0]() for column in table.key]
    for where, after in [
        ({}, None),
        ({}, key),
        ({table.key[0]: key[0]}, None),
        ({table.key[0]: key[0]}, key),
    ]:
        asked = statements.scan(table, where, after, None)
        if asked is None:
            assert len(key) == 1
            continue
        plan = _plan(planner, *asked)
        assert "TEMP B-TREE" not in plan
        assert "SEARCH" in plan if where or after else "SCAN" in plan


def test_conditions_on_an_index_use_it(planner: sqlite3.Connection) -> None:
    """What waits, and what was refused with a code, is found without reading all facts."""
    for table, column in [(FACTS, "waits_for"), (FACTS, "id"), (DEAD_LETTERS, "code")]:
        for wanted in ("x", Range(), Range("a"), Range(high="z")):
            for plan in (
                _plan(planner, *statements.count(table, {column: wanted})),
                _plan(planner, *(statements.scan(table, {column: wanted}, None, 10) or ("", []))),
            ):
                assert f"INDEX {table.name}_{column}" in plan
                assert f"{table.name}_key" not in plan


def test_indexes_leave_nulls_out(planner: sqlite3.Connection) -> None:
    """Most facts wait for nothing and visit no case: they take no room in those indexes."""
    made = dict(planner.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'").fetchall())
    for table in TABLES:
        for index in table.indexes:
            left_out = f'WHERE "{index.known}" IS NOT NULL' in made[f"{table.name}_{'_'.join(index.columns)}"]
            assert left_out == table.types()[index.known][1]


@pytest.mark.parametrize(
    "table, index",
    [(table, index) for table in TABLES for index in (table.by_key, *table.indexes)],
    ids=lambda each: getattr(each, "name", None) or "_".join(each.columns),
)
def test_a_walk_searches_its_index(planner: sqlite3.Connection, table: Table, index: Index) -> None:
    """Behind every position, in both directions: the index finds the place, and nothing is walked over."""
    for fixed in range(max(index.same, 1), len(index.columns) + 1):
        for given in range(fixed, len(index.order) + 1):
            for descending in (False, True):
                text = statements._along(table, index, given, fixed, 5, descending, 2)
                plan = _plan(planner, text, [None] * (2 * given))
                found = [line for line in plan.split("; ") if line.startswith(f"SEARCH {table.name} ")]
                assert len(found) == 1, plan
                assert f"{index.columns[0]}=?" in found[0]
                assert "SCAN " + table.name not in plan


@pytest.mark.parametrize(
    "table, index", [(PREDICTIONS, PREDICTIONS_BY_TIME), (FACTS, FACTS_BY_TIME)], ids=["predictions", "facts"]
)
def test_what_is_newest_is_read_along_an_index(
    planner: sqlite3.Connection, table: Table, index: Index
) -> None:
    """Wherever a page begins and whatever days are asked for, it is a search; nothing is sorted."""
    place = [5, *(table.types()[column][0]() for column in index.columns[2:])]
    for within in (Range(), Range(1), Range(high=9), Range(1, 9)):
        for before in (None, place, [99, *place[1:]]):
            plan = _plan(planner, *statements.newest(table, index, "x", within, before, 10))
            assert f"SEARCH {table.name} USING INDEX {table.name}_{'_'.join(index.columns)}" in plan
            assert "TEMP B-TREE" not in plan
            if within != Range() or before:
                assert "AND" in plan.partition("=?")[2], plan


def test_an_index_in_time_order_is_chosen_for_nothing_else(planner: sqlite3.Connection) -> None:
    """What is read in the order of the key is not sorted because a condition fits such an index."""
    for table, column in [(PREDICTIONS, "model"), (FACTS, "kind")]:
        asked = statements.scan(table, {column: "x"}, None, 10)
        assert asked is not None
        plan = _plan(planner, *asked)
        assert f"INDEX {table.name}_key" in plan
        assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    "table, column", [(PREDICTIONS, "model"), (FACTS, "waits_for"), (MODEL_EVENTS, "model")]
)
def test_different_values_are_searched_for(planner: sqlite3.Connection, table: Table, column: str) -> None:
    """Each is a search behind the one before: many rows of one value are stepped over."""
    for within in (Range(), Range("a"), Range(high="z"), Range("a", "z")):
        for after in (None, "b"):
            plan = _plan(planner, *statements.distinct(table, column, within, after, 10))
            name = (
                "key"
                if column == table.key[0]
                else "_".join(next(each.columns for each in table.indexes if each.columns[0] == column))
            )
            assert plan.count(f"USING COVERING INDEX {table.name}_{name}") == 2
            # Without any end, the first one is where the index begins.
            ends = within != Range() or after is not None
            assert plan.count(f"SEARCH {table.name}") >= (2 if ends else 1), plan


def test_pairs_search_the_other_table(planner: sqlite3.Connection) -> None:
    """Joining two tables walks along the first one's key and searches the second."""
    plan = _plan(planner, *statements.pairs(LABELS, ["pid"], PREDICTIONS, ["at"], {"model": "m"}))
    assert "SEARCH labels USING" in plan
    assert "SEARCH b USING" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    "ask", [statements.count, lambda table, where: statements.scan(table, where, None, 1)]
)
def test_a_column_that_is_not_there_is_refused(ask: Any) -> None:
    """SQLite would take the quoted name for a text, and answer."""
    with pytest.raises(UnknownColumn):
        ask(FACTS, {"modle": "m"})
    with pytest.raises(UnknownColumn):
        statements.totals(COUNTS, ["modle"], {})


# --------------------------------------------------------------------------------------- making and opening


def test_a_store_is_the_same_after_reopening(path: Path) -> None:
    """Rows, positions, log and version of the views are in the file."""
    with closing(SqliteStore(path, writable=True)) as store, store.transaction([0]) as transaction:
        transaction.put(CASES, [case(b"k", b"p", 3)])
        transaction.advance({0: Applied(4, b"d", 5)})
    with closing(SqliteStore(path)) as store:
        assert (store.log, everything(store, CASES)) == (IDENTITY, [case(b"k", b"p", 3)])
        with store.snapshot() as snapshot:
            assert snapshot.positions() == {0: Applied(4, b"d", 5)}
    create_store(path.with_name("other.db"), IDENTITY, TABLES, views_version=99)
    with closing(SqliteStore(path.with_name("other.db"))) as other:
        assert other.views_version == 99


def test_a_store_is_not_made_twice(path: Path) -> None:
    """Making a store where one is leaves it as it was."""
    with closing(SqliteStore(path, writable=True)) as store:
        put(store, CASES, [case(b"k", b"p")])
        with pytest.raises(StoreExists):
            create_store(path, IDENTITY, TABLES)
        assert everything(store, CASES) == [case(b"k", b"p")]


def test_a_store_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    """No file, an empty file and a file of something else are told apart from a store."""
    with pytest.raises(StoreMissing, match=r"gone\.db"):
        SqliteStore(tmp_path / "gone.db", writable=True)
    for name, content in [("empty.db", b""), ("text.db", b"no store" * 1000)]:
        (tmp_path / name).write_bytes(content)
        for writable in (True, False):
            with pytest.raises(StoreUnreadable, match=name):
                SqliteStore(tmp_path / name, writable=writable)
    with pytest.raises(StoreUnreadable, match=r"text\.db"):
        create_store(tmp_path / "text.db", IDENTITY, TABLES)
    assert not (tmp_path / "gone.db").exists()


def test_a_reader_cannot_write(path: Path) -> None:
    """A store that was opened for reading refuses a transaction."""
    with closing(SqliteStore(path)) as store, pytest.raises(sqlite3.OperationalError, match="reading only"):
        put(store, CASES, [])


def test_closing_closes_everything(path: Path) -> None:
    """Once closed, the file stands alone: no connection of any thread keeps its write-ahead log."""
    store = SqliteStore(path, writable=True)
    put(store, CASES, [case(b"k", b"p")])
    threads = [threading.Thread(target=everything, args=(store, CASES)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with ExitStack() as stack:
        for _ in range(20):
            assert stack.enter_context(store.snapshot()).count(CASES) == 1
    store.close()
    store.close()
    assert [each.name for each in path.parent.iterdir()] == ["store.db"]


def test_what_is_open_outlives_closing(path: Path) -> None:
    """A snapshot in use ends in peace when its store is closed elsewhere; no new one begins."""
    store = SqliteStore(path, writable=True)
    put(store, CASES, [case(b"k", b"p")])
    with store.snapshot() as snapshot:
        store.close()
        assert list(snapshot.scan(CASES)) == [case(b"k", b"p")]
    with pytest.raises(StoreUnreadable, match="closed"):
        everything(store, CASES)
    with pytest.raises(StoreUnreadable):
        put(store, CASES, [])


def test_another_store_can_take_over(path: Path) -> None:
    """A store that was built beside is read as soon as it is opened; who has the old one open keeps it."""
    with closing(SqliteStore(path)) as old:
        create_store(path.with_name("new.db"), IDENTITY, TABLES)
        with closing(SqliteStore(path.with_name("new.db"), writable=True)) as new:
            put(new, CASES, [case(b"new", b"p")])
            path.unlink()
            with closing(SqliteStore(path.with_name("new.db"))) as reader:
                assert everything(reader, CASES) == [case(b"new", b"p")]
            assert everything(old, CASES) == []


# ----------------------------------------------------------------------------------- beside other processes


def test_the_position_is_locked_before_it_is_read(path: Path) -> None:
    """A second writer of another process waits, and then sees what the first one has written."""
    with (
        closing(SqliteStore(path, writable=True)) as first,
        closing(SqliteStore(path, writable=True)) as second,
    ):
        seen = []
        started = threading.Event()

        def follow() -> None:
            started.set()
            with second.transaction([0]) as transaction:
                seen.append(transaction.positions())

        thread = threading.Thread(target=follow)
        with first.transaction([0]) as transaction:
            thread.start()
            assert started.wait(10)
            thread.join(0.3)
            assert thread.is_alive()
            transaction.advance({0: Applied(1, b"d", 1)})
        thread.join(10)
        assert seen == [{0: Applied(1, b"d", 1)}]


def test_a_full_store_takes_the_transaction_back(path: Path) -> None:
    """Without space a transaction fails whole; with space again the next one works."""
    with closing(SqliteStore(path, writable=True)) as store:
        put(store, CASES, [case(b"k", b"p")])
        assert store._writer is not None
        pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
        store._writer.execute(f"PRAGMA max_page_count={pages}")
        rows = [case(b"%06d" % number, b"p" * 100) for number in range(5000)]
        with pytest.raises(StoreUnreadable, match="full"):
            put(store, CASES, rows)
        assert everything(store, CASES) == [case(b"k", b"p")]
        store._writer.execute("PRAGMA max_page_count=1000000")
        put(store, CASES, rows)
        assert len(everything(store, CASES)) == 5001


_WRITE = """
import sys
from pathlib import Path
from streams.store.port import Applied
from streams.store.sqlite.store import SqliteStore
from streams.store.tables import COUNTS
from streams.views.registry import TABLES
from tests.streams.store.rows import count

store = SqliteStore(Path(sys.argv[1]), writable=True)
for _ in range(int(sys.argv[2])):
    with store.transaction([0]) as transaction:
        at = transaction.positions().get(0, Applied(0, b"", 0)).offset + 1
        transaction.add(COUNTS, [count("a", shard, 1) for shard in range(5)])
        transaction.advance({0: Applied(at, b"d", at)})
    print(at, flush=True)
"""


def _writer(path: Path, transactions: int, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _WRITE, str(path), str(transactions)],
        env={"PYTHONPATH": str(Path(__file__).parents[3]), **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def _state(store: SqliteStore) -> tuple[int, list[int]]:
    with store.snapshot() as snapshot:
        at = snapshot.positions().get(0, Applied(0, b"", 0)).offset
        return at, [n for _, n, _ in snapshot.totals(COUNTS, ["shard"])]


def test_a_reader_beside_a_writing_process_sees_whole_transactions(path: Path) -> None:
    """Opened before, beside or after a writer in another process, a reader never sees half a transaction."""
    with closing(SqliteStore(path)) as before, _writer(path, 100_000) as writer:
        assert writer.stdout is not None
        try:
            for _ in range(30):
                writer.stdout.readline()
                with closing(SqliteStore(path)) as beside:
                    states = [_state(before), _state(beside), _state(before)]
                assert all(sums == [at] * 5 for at, sums in states)
                assert all(a <= b for a, b in pairwise(states))
        finally:
            writer.kill()
            writer.communicate()
        at, sums = _state(before)
        assert sums == [at] * 5
    with closing(SqliteStore(path)) as after:
        assert _state(after) == (at, sums)


@pytest.mark.crash
@pytest.mark.parametrize("step", [2, 4, 5])
def test_a_writer_killed_at_any_step_leaves_whole_transactions(path: Path, step: int) -> None:
    """Killed at each numbered step: counters and position agree, and the next writer goes on from there."""
    acknowledged, plan = 0, path.with_name("plan")
    for _ in range(3):
        plan.write_text(f"project.{step}:3")
        with _writer(path, 20, LOOPLINE_CRASH_PLAN=str(plan)) as writer:
            told, _ = writer.communicate(timeout=60)
        assert writer.returncode == -signal.SIGKILL
        acknowledged = max([acknowledged, *map(int, told.split())])
        with closing(SqliteStore(path)) as store:
            at, sums = _state(store)
        assert at >= acknowledged
        assert sums == [at] * 5
        acknowledged = at
    assert acknowledged == {2: 6, 4: 6, 5: 9}[step]


def test_a_torn_store_is_an_older_one(path: Path, tmp_path: Path) -> None:
    """Wherever its write-ahead log was cut, the store that opens is whole, at an earlier position."""
    with closing(SqliteStore(path, writable=True)) as store:
        for number in range(1, 5):
            with store.transaction([0]) as transaction:
                transaction.add(COUNTS, [count("a", shard, 1) for shard in range(5)])
                transaction.advance({0: Applied(number, b"d", number)})
        wal = path.with_name("store.db-wal").read_bytes()
        seen = set()
        for cut in [*range(0, len(wal), 331), len(wal)]:
            folder = tmp_path / f"cut{cut}"
            folder.mkdir()
            shutil.copy(path, folder / "store.db")
            (folder / "store.db-wal").write_bytes(wal[:cut])
            with closing(SqliteStore(folder / "store.db")) as torn:
                at, sums = _state(torn)
            assert sums == [at] * (5 if at else 0)
            seen.add(at)
            shutil.rmtree(folder)
    assert seen == {0, 1, 2, 3, 4}
