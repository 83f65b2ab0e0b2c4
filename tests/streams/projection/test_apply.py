"""Projection: a store moves along its own log only, exactly once, and never past what it cannot read."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest

from schemas.catalog import CATALOG
from schemas.kinds import UnreadableTypes
from streams.log.block import DeadLetter, UnreadableBlock, write_block, write_dead_letters
from streams.log.memory import MemoryLog
from streams.log.port import DEAD
from streams.projection.apply import (
    AnotherLog,
    LogDiffers,
    LogOlderThanStore,
    OtherViews,
    advance,
    check,
)
from streams.projection.follow import Worker
from streams.projection.rebuild import BeyondTheLog, rebuild, verify
from streams.store.memory import MemoryStore
from streams.store.port import Snapshot, Store
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import DEAD_LETTERS, FACTS, PREDICTIONS, VIEWS_VERSION, Fact, as_row
from streams.views.registry import TABLES
from tests.streams.drawn import log_of
from tests.streams.telling import prediction, told

MakeStore = Callable[[MemoryLog], Store]
STORY = [
    prediction("p"),
    *(told("feedback.thumb", f"t{n}", n, prediction_id="p", value="up") for n in range(9)),
]


@pytest.fixture(params=["memory", "sqlite"])
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> MakeStore:
    """Makes an empty store for a log, of each adapter in turn."""

    def make(log: MemoryLog) -> Store:
        if request.param == "memory":
            return MemoryStore(log.identity)
        create_store(tmp_path / "views.sqlite", log.identity, TABLES)
        store = SqliteStore(tmp_path / "views.sqlite", writable=True)
        request.addfinalizer(store.close)
        return store

    return make


def _caught_up(log: MemoryLog, store: Store) -> Store:
    while advance(log, store):
        pass
    return store


def test_a_store_of_another_log_is_refused(make_store: MakeStore) -> None:
    """Positions of one log mean nothing in another."""
    store = make_store(MemoryLog(log_id="one"))
    with pytest.raises(AnotherLog, match="Bring back the log"):
        check(MemoryLog(log_id="two"), store)


def test_a_log_older_than_its_store_is_refused(make_store: MakeStore) -> None:
    """A log that lost blocks which the store counted is not carried on with."""
    store = _caught_up(log_of(STORY, 1, [2]), make_store(MemoryLog()))
    with pytest.raises(LogOlderThanStore, match="older than its store"):
        check(log_of(STORY[:4], 1, [2]), store)


def test_a_log_with_another_block_at_the_stores_position_is_refused(make_store: MakeStore) -> None:
    """The digest beside the position tells a log that was replaced and grew again."""
    store = _caught_up(log_of(STORY, 1, [2]), make_store(MemoryLog()))
    with pytest.raises(LogDiffers, match="not the one that the store applied"):
        check(log_of(STORY[::-1], 1, [2]), store)


def test_views_of_another_version_are_refused() -> None:
    """A store of another version of the views is never moved forward."""
    log = MemoryLog()
    with pytest.raises(OtherViews, match="loopline replay"):
        check(log, MemoryStore(log.identity, VIEWS_VERSION + 1))


def test_a_store_that_belongs_to_the_log_is_accepted(make_store: MakeStore) -> None:
    """The right pair passes, empty, half way and caught up."""
    log = log_of(STORY, 1, [2])
    store = make_store(log)
    check(log, store)
    advance(log, store, upto={0: 2, DEAD: 0})
    check(log, store)
    check(log, _caught_up(log, store))


def test_a_block_of_a_newer_format_stops_the_worker_and_nothing_is_skipped(make_store: MakeStore) -> None:
    """What cannot be read is never dead-lettered: the store stays before it."""
    log = log_of(STORY, 1, [5])
    record = bytearray(log.read(0, 1, 1)[0])
    record[3] = 99
    log.append([(0, bytes(record))])
    store = make_store(log)
    with pytest.raises(UnreadableBlock, match="newer version"):
        _caught_up(log, store)
    with store.snapshot() as snapshot:
        assert snapshot.positions()[0].offset == 2
        assert snapshot.count(FACTS) == 9


def test_an_unknown_event_type_stops_the_worker(make_store: MakeStore) -> None:
    """A type that this version does not know stops it and is named."""
    log = log_of(STORY, 1, [5])
    item = msgspec.json.encode({"type": "loopline.feedback.smell.v1"})
    log.append([(0, write_block(["loopline.feedback.smell.v1"], [(0, 1)], [item]))])
    with pytest.raises(UnreadableTypes, match=r"feedback\.smell\.v1"):
        _caught_up(log, make_store(log))


def test_an_unknown_kind_in_the_views_stops_the_worker(make_store: MakeStore) -> None:
    """A newer version put it there: nothing is guessed about it, and no event is set aside for it."""
    log = log_of([STORY[1], STORY[0]], 1, [1])
    store = make_store(log)
    advance(log, store, upto={0: 1})
    with store.transaction([0]) as transaction:
        (row,) = transaction.scan(FACTS)
        newer = Fact(*row)
        newer.kind = "feedback.smell"
        transaction.put(FACTS, [as_row(newer)])
    with pytest.raises(UnreadableTypes, match=r"feedback\.smell.*upgrade"):
        advance(log, store)
    with store.snapshot() as snapshot:
        assert snapshot.positions()[0].offset == 1
        assert snapshot.count(DEAD_LETTERS) == 0


def test_blocks_below_the_position_are_dropped(make_store: MakeStore) -> None:
    """A worker that read the same blocks again, or lost them to another, changes nothing."""
    log = log_of(STORY, 2, [3])
    store = _caught_up(log, make_store(log))
    with store.snapshot() as snapshot:
        before = sorted(snapshot.scan(FACTS))
    late = _StaleStore(store)
    assert advance(log, late) == 0
    with store.snapshot() as snapshot:
        assert sorted(snapshot.scan(FACTS)) == before


class _StaleStore:
    """A store whose first look shows the beginning: what a worker knew before another one took over."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.log, self.views_version = store.log, store.views_version
        self.transaction, self.close = store.transaction, store.close

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        return MemoryStore(self.log).snapshot()


def test_rebuild_stops_at_the_positions_asked_for(make_store: MakeStore) -> None:
    """A vector of positions is a state of the views that can be had again at any time."""
    log = log_of(STORY, 1, [2])
    store = make_store(log)
    rebuild(log, store, {0: 1})
    with store.snapshot() as snapshot:
        assert (snapshot.count(PREDICTIONS), snapshot.count(FACTS)) == (1, 1)
    with pytest.raises(BeyondTheLog):
        rebuild(log, store, {0: 99})


def _letters(count: int, size: int = 1) -> list[tuple[int, bytes]]:
    letter = DeadLetter("invalid_json", "no JSON", None, None, b"{" * size)
    return [(DEAD, write_dead_letters(0, [letter] * count))]


def test_refused_items_fill_a_transaction_as_events_do() -> None:
    """Garbage without end is read in bounded pieces: a rebuild's memory does not grow with it."""
    log = MemoryLog()
    for _ in range(50):
        log.append(_letters(10))
    store = MemoryStore(log.identity)
    assert advance(log, store, most_events=200) == 20
    assert [advance(log, store, most_events=200) for _ in range(3)] == [20, 10, 0]


def test_large_items_fill_a_transaction_by_their_bytes() -> None:
    """A transaction holds a bounded number of bytes, however few items they are."""
    log = MemoryLog()
    for _ in range(80):
        log.append(_letters(8, size=50_000))
    store = MemoryStore(log.identity)
    first = advance(log, store)
    assert 0 < first < 80
    while advance(log, store):
        pass
    with store.snapshot() as snapshot:
        assert snapshot.count(DEAD_LETTERS) == 640


def test_the_partition_that_is_furthest_behind_comes_first() -> None:
    """A busy partition cannot keep the others from ever being applied."""
    log = log_of(STORY, 1, [1])
    for _ in range(40):
        log.append(_letters(1))
    store = MemoryStore(log.identity)
    advance(log, store, most_events=1)
    with store.snapshot() as snapshot:
        assert set(snapshot.positions()) == {DEAD}
    for _ in range(3):
        advance(log, store, most_events=1)
    with store.snapshot() as snapshot:
        assert snapshot.positions()[0].offset == len(STORY)


def _again(old: MemoryLog, partitions: int, *before: int) -> MemoryLog:
    """The log of one partition as it is later: with other partitions, or in another epoch."""
    new = MemoryLog(partitions, old.identity.id, before)
    new.append([(each, record) for each in (0, DEAD) for record in old.read(each, 0, 100)])
    return new


def test_an_older_epoch_is_finished_before_the_next_begins() -> None:
    """Copies of an event in both epochs: the one in the older epoch is the first, however long it is."""
    old = log_of(STORY, 1, [3])
    new = _again(old, 2, 1)
    new.append([(2, record) for record in old.read(0, 0, 1)])
    store = MemoryStore(new.identity)
    seen = []
    while advance(new, store, most_events=1):
        with store.snapshot() as snapshot:
            seen.append(set(snapshot.positions()) - {DEAD})
    assert [each for each in seen if 2 in each] == seen[-1:] == [{0, 2}]
    assert len(seen) > 1
    with store.snapshot() as snapshot:
        assert snapshot.count(FACTS) == len(STORY) - 1


def test_a_store_goes_on_into_the_logs_next_epoch() -> None:
    """A store that was built in one epoch belongs to the same log some epochs later."""
    old = log_of(STORY, 1, [3])
    new = _again(old, 2, 1)
    check(new, _caught_up(old, MemoryStore(old.identity)))


def test_a_store_that_moves_on_while_it_is_looked_at_is_accepted() -> None:
    """Blocks that come and are applied by another worker between two looks do not make the log look older."""
    log = log_of(STORY, 1, [3])
    store = _caught_up(log, MemoryStore(log.identity))

    class Moving(MemoryLog):
        def ends(self) -> dict[int, int]:
            seen = log.ends()
            log.append([(0, log.read(0, 0, 1)[0])])
            _caught_up(log, store)
            return seen

        def read(self, partition: int, offset: int, limit: int) -> list[bytes]:
            return log.read(partition, offset, limit)

    check(Moving(1, log.identity.id), store)


def test_partitions_added_to_the_live_epoch_are_refused() -> None:
    """An event sent again would be counted in another partition than before; it says to make a new epoch."""
    old = log_of(STORY, 1, [3])
    grown = _again(old, 2)
    store = _caught_up(old, MemoryStore(old.identity))
    with pytest.raises(AnotherLog, match="--new-epoch --partitions 2"):
        check(grown, store)


@pytest.mark.parametrize("written", [False, True])
def test_a_new_epoch_heals_added_partitions_that_nobody_wrote_to(written: bool) -> None:
    """Behind the seal of a new epoch, empty ones do no harm; with records in them they are refused."""
    old = log_of(STORY, 1, [3])
    store = _caught_up(old, MemoryStore(old.identity))
    healed = _again(old, 2, 2)
    if written:
        healed.append([(1, record) for record in old.read(0, 0, 1)])
        with pytest.raises(AnotherLog):
            check(healed, store)
    else:
        check(healed, store)


def test_verify_says_where_a_store_was_tampered_with(make_store: MakeStore) -> None:
    """A row that does not follow from the log is found and named."""
    log = log_of(STORY, 1, [2])
    store = _caught_up(log, make_store(log))
    with store.snapshot() as live:
        assert verify(log, live, MemoryStore(log.identity)) == []
    with store.transaction([0]) as transaction:
        (row,) = transaction.scan(PREDICTIONS)
        transaction.put(PREDICTIONS, [(*row[:15], '"forged"', *row[16:])])
    with store.snapshot() as live:
        (difference,) = verify(log, live, MemoryStore(log.identity))
    assert "forged" in difference.describe()


def test_the_worker_follows_the_log_and_the_store_that_it_is_given(make_store: MakeStore) -> None:
    """Blocks appended while it runs are applied, and a store put in place of another is carried on with."""
    log = log_of(STORY[:3], 1, [2])
    first, second = MemoryStore(log.identity), make_store(log)
    given: list[Store] = [first]
    stop = threading.Event()
    thread = threading.Thread(target=Worker(log, lambda: given[-1], poll_s=0.001).run, args=[stop])
    thread.start()
    try:
        _until(lambda: _facts(first) == 2)
        given.append(second)
        _until(lambda: _facts(second) == 2)
        runs = [(received, 1) for _, received in STORY[3:]]
        log.append([(0, write_block(CATALOG.types, runs, [item for item, _ in STORY[3:]]))])
        _until(lambda: _facts(second) == 9)
    finally:
        stop.set()
        thread.join()
    assert _facts(first) == 2


def _facts(store: Store) -> int:
    with store.snapshot() as snapshot:
        return snapshot.count(FACTS)


def _until(condition: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(2000):
        if condition():
            return
        waiting.wait(0.005)
    raise AssertionError("it did not happen within ten seconds")
