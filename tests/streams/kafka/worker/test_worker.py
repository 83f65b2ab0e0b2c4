"""Workers on a real broker: every block is applied exactly once, from where the store stands."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator
from statistics import median
from typing import Any, cast

import pytest
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.structs import OffsetAndMetadata

from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.kafka.topics.admin import ensure
from streams.log.block import UnreadableBlock
from streams.log.port import DEAD, LogRefused
from streams.projection.apply import LogOlderThanStore, advance
from streams.store.memory import MemoryStore
from streams.store.port import Store, StoreRefused
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix
from tests.services.kafka.jars import KafkaMissing
from tests.streams.dense import dense_history
from tests.streams.drawn import log_of
from tests.streams.fold import faulty
from tests.streams.kafka.worker.workers import (
    RunningWorker,
    assert_folded_once,
    caught_up,
    fill,
    opened,
    standing,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]


@pytest.fixture
def address(kafka: Cluster) -> Address:
    """A log of its own with two partitions."""
    made = Address.parse(kafka.address(unique_prefix()))
    ensure(made, partitions=2)
    return made


@pytest.fixture
def log(address: Address) -> Iterator[KafkaLog]:
    """That log, opened."""
    with opened(address) as log:
        yield log


def put(log: KafkaLog, seed: int, events: int = 600, size: int = 10) -> None:
    """Append a history in which nearly everything collides, in blocks of `size`, and one refused item."""
    fill(log, log_of(dense_history(seed, events), log.identity.partitions, [size]))


def test_what_is_appended_is_applied_once(address: Address, log: KafkaLog) -> None:
    """Blocks from before and after the worker started are in the views, number for number as a fold."""
    put(log, 1)
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as worker:
        caught_up(log, store)
        put(log, 2)
        caught_up(log, store)
        assert worker.partitions == {0, 1, DEAD}
        until(lambda: not worker.engine.progress.reasons(), "the worker to be ready")
    assert_folded_once(log, store)
    assert worker.failure is None


def test_an_event_that_cannot_be_folded_is_set_aside_and_told(
    address: Address, log: KafkaLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker goes on, and its health says what the views lack."""
    faulty.put_in(monkeypatch)
    fill(log, faulty.log_in_blocks(3))
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as worker:
        caught_up(log, store)
        until(lambda: not worker.engine.progress.reasons(), "the worker to be ready")
        assert "2 events could not be folded" in worker.engine.progress.lacking()[0]
    assert [letter.id for letter in faulty.judged(store)] == ["c1", "c4"]
    assert_folded_once(log, store)
    assert worker.failure is None


def test_a_new_block_is_applied_within_a_second(address: Address, log: KafkaLog) -> None:
    """A worker that is caught up does not sleep: a block is in the views soon after it is appended."""
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as worker:
        until(lambda: bool(worker.partitions), "the worker to join")
        took = []
        for seed in range(5):
            since = time.monotonic()
            put(log, seed, events=10)
            caught_up(log, store)
            took.append(time.monotonic() - since)
        # Who sleeps does so each time; a busy machine is slow once in a while.
        assert median(took) < 1.0


def test_two_workers_share_the_partitions_and_a_third_one_comes_and_goes(
    address: Address, log: KafkaLog
) -> None:
    """Each partition has one worker, whoever joins or leaves, and no block is missed or counted twice."""
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as first, RunningWorker(address, store) as second:
        workers = [first, second]

        def shared() -> bool:
            held = [partition for worker in workers for partition in worker.partitions]
            return sorted(held) == [DEAD, 0, 1] and all(worker.partitions for worker in workers)

        until(shared, "both workers to have partitions")
        put(log, 1)
        with RunningWorker(address, store) as third:
            workers.append(third)
            until(shared, "three workers to have a partition each")
            put(log, 2)
            caught_up(log, store)
            workers.pop()
        put(log, 3)
        until(shared, "the partitions to go back to the two")
        caught_up(log, store)
    assert_folded_once(log, store)


def test_leaving_is_quick_and_what_was_applied_is_committed(address: Address, log: KafkaLog) -> None:
    """A worker that is told to stop leaves within seconds, with the store's positions committed."""
    put(log, 1)
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as worker:
        caught_up(log, store)
        assert worker.stop() < 5.0
    group = f"{address.prefix}-workers-v{store.views_version}"
    admin = KafkaAdminClient(bootstrap_servers=address.bootstrap)
    try:
        offsets = admin.list_group_offsets(group)
    finally:
        admin.close()
    # One group was asked for; some versions of the client answer by group.
    listed = next(iter(offsets.values())) if group in offsets else offsets
    committed = {(each.topic, each.partition): at.offset for each, at in listed.items()}
    ends = log.ends()
    assert committed[address.log_topic(1), 0] == ends[0]
    assert committed[address.log_topic(1), 1] == ends[1]
    assert committed[address.dead_letters, 0] == ends[DEAD]


def test_the_position_of_the_store_wins_over_a_committed_offset(address: Address, log: KafkaLog) -> None:
    """With the committed offset at the end and a store restored to an older state, nothing is missed."""
    put(log, 1)
    store = MemoryStore(log.identity)
    advance(log, store, most_events=50)
    assert 0 < sum(standing(store).values()) < sum(log.ends().values())
    group = f"{address.prefix}-workers-v{store.views_version}"
    consumer = KafkaConsumer(bootstrap_servers=address.bootstrap, group_id=group, enable_auto_commit=False)
    try:
        ends = {TopicPartition(address.log_topic(1), each): log.ends()[each] for each in (0, 1)}
        consumer.assign(list(ends))
        consumer.commit({each: OffsetAndMetadata(end, "", -1) for each, end in ends.items()})
    finally:
        consumer.close()
    with RunningWorker(address, store):
        caught_up(log, store)
    assert_folded_once(log, store)


class Failing:
    """Gives a store, except while it is told to fail; counts how often it was asked meanwhile."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.away = threading.Event()
        self.asked = 0

    def __call__(self) -> MemoryStore:
        if self.away.is_set():
            self.asked += 1
            raise ConnectionError("the database is restarting")
        return self.store


def test_a_store_that_was_away_is_waited_for(address: Address, log: KafkaLog) -> None:
    """While the store is away the worker says so, stays in its group, asks seldom, and then goes on."""
    put(log, 1)
    stores = Failing(MemoryStore(log.identity))
    with RunningWorker(address, stores) as worker:
        caught_up(log, stores.store)
        assigned = worker.engine.progress.rebalances
        before = assigned._value.get()
        stores.away.set()
        put(log, 2)
        until(lambda: "database is restarting" in str(worker.engine.progress.reasons()), "the reason")
        time.sleep(2)
        assert stores.asked < 15
        stores.away.clear()
        caught_up(log, stores.store)
        until(lambda: not worker.engine.progress.reasons(), "the worker to be ready again")
        assert assigned._value.get() == before
    assert_folded_once(log, stores.store)


def test_another_store_is_taken_from_where_it_stands(address: Address, log: KafkaLog) -> None:
    """Views that were built anew, or restored, take the place of the store while the worker runs."""
    put(log, 1)
    stores = Failing(MemoryStore(log.identity))
    with RunningWorker(address, stores):
        caught_up(log, stores.store)
        older = MemoryStore(log.identity)
        advance(log, older, most_events=30)
        stores.store = older
        put(log, 2)
        caught_up(log, older)
    assert_folded_once(log, older)


def test_a_block_of_a_newer_format_stops_the_worker_behind_what_lies_before(
    address: Address, log: KafkaLog
) -> None:
    """What lies before it is applied, nothing behind it, and the worker leaves with the reason."""
    put(log, 1, events=200)
    ends = log.ends()
    log.append([(0, b"LLB\x09" + bytes(20))])
    put(log, 2, events=200)
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as worker:
        failure = worker.ended()
    assert isinstance(failure, UnreadableBlock)
    assert "newer version" in str(failure)
    assert worker.engine.progress.state.name == "refused"
    assert standing(store)[0] == ends[0]


def test_a_store_of_another_log_is_refused(address: Address, log: KafkaLog) -> None:
    """A topic that was made anew is another log: the worker applies nothing, and says what to do."""
    put(log, 1, events=50)
    store = MemoryStore(log.identity._replace(id="another"))
    with RunningWorker(address, store) as worker:
        failure = worker.ended()
    assert isinstance(failure, StoreRefused)
    assert "built from log another" in str(failure)
    assert standing(store) == {}


def test_a_log_that_is_older_than_its_store_is_refused(address: Address, log: KafkaLog) -> None:
    """A log that ends before the store's position was restored from an older backup."""
    put(log, 1, events=100)
    store = MemoryStore(log.identity)
    while advance(log, store):
        pass
    store.applied[0] = store.applied[0]._replace(offset=store.applied[0].offset + 5)
    with RunningWorker(address, store) as worker:
        failure = worker.ended()
    assert isinstance(failure, LogOlderThanStore)


def test_a_topic_made_anew_under_a_running_worker_is_refused(address: Address, log: KafkaLog) -> None:
    """A worker notices that the topic is another one, and does not apply its blocks to the old views."""
    put(log, 1, events=50)
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as worker:
        caught_up(log, store)
        before = standing(store)
        admin = KafkaAdminClient(bootstrap_servers=address.bootstrap)
        admin.delete_topics([address.log_topic(1)])
        until(lambda: address.log_topic(1) not in admin.list_topics(), "the topic to be gone")
        admin.close()
        ensure(address, partitions=2)
        with opened(address) as fresh:
            put(fresh, 2, events=400)
        failure = worker.ended()
    assert isinstance(failure, StoreRefused | LogRefused), failure
    assert standing(store) == before


def test_the_older_epoch_is_finished_before_the_next_one(address: Address, log: KafkaLog) -> None:
    """Workers apply the sealed epoch to its end, go on with the new one by themselves, and count all once."""
    put(log, 1)
    store = MemoryStore(log.identity)
    with RunningWorker(address, store) as worker:
        caught_up(log, store)
        ensure(address, partitions=3, new_epoch=True)
        with opened(address) as wider:
            assert wider.identity.partitions == 3
            put(wider, 2)
            caught_up(wider, store)
            until(lambda: worker.partitions == {2, 3, 4, DEAD}, "the worker to be on the new epoch")
            assert_folded_once(wider, store)


def test_whoever_wants_to_know_is_told_once_that_the_views_are_complete(
    address: Address, log: KafkaLog
) -> None:
    """The hook is called when the store has all of the log, and once: two workers may both call it."""
    put(log, 1)
    store = MemoryStore(log.identity)
    told: list[dict[int, int]] = []
    with RunningWorker(address, store, on_caught_up=lambda which: told.append(standing(which))):
        until(lambda: bool(told), "the hook")
        assert told == [log.ends()]
        put(log, 2)
        caught_up(log, store)
        time.sleep(2.5)
    assert len(told) == 1


class Stuck:
    """Another worker's way to a store: its transactions wait until they are let go."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store
        self.go = threading.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def transaction(self, partitions: Iterable[int], *, alone: bool = False) -> Any:
        self.go.wait()
        return self._store.transaction(partitions, alone=alone)


def test_a_worker_whose_transaction_hangs_gives_its_partitions_up(address: Address, log: KafkaLog) -> None:
    """Another worker has them while it hangs; what it still commits counts once, and it joins again."""
    store = MemoryStore(log.identity)
    stuck = Stuck(store)
    with RunningWorker(address, lambda: cast(Store, stuck)) as first, RunningWorker(address, store) as second:
        until(lambda: bool(first.partitions and second.partitions), "both workers to have partitions")
        first.engine.progress.stuck_after_s = 2.0
        put(log, 1)
        until(lambda: second.partitions == {0, 1, DEAD}, "the other worker to have all")
        caught_up(log, store)
        until(lambda: "gave its partitions up" in str(first.engine.progress.reasons()), "the reason")
        assert first.engine.progress.behind() is None
        stuck.go.set()
        until(lambda: bool(first.partitions), "the worker to join again")
        put(log, 2)
        caught_up(log, store)
        until(lambda: not first.engine.progress.reasons(), "the worker to be ready again")
    assert first.failure is None
    assert_folded_once(log, store)


def test_views_are_complete_under_a_load_that_never_pauses(address: Address, log: KafkaLog) -> None:
    """The hook is called though new blocks come in all the time: a second behind is caught up."""
    store = MemoryStore(log.identity)
    told = threading.Event()
    with RunningWorker(address, store, on_caught_up=lambda _: told.set()):
        deadline = time.monotonic() + 20
        seed = 0
        while not told.is_set():
            assert time.monotonic() < deadline, "nobody was told"
            put(log, seed := seed + 1, events=20)
        caught_up(log, store)
    assert_folded_once(log, store)


def test_a_broker_that_goes_away_and_comes_back_is_waited_for() -> None:
    """While the broker is down the worker says so; when it is back, everything is applied once."""
    try:
        cluster = Cluster(1)
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    with cluster:
        address = Address.parse(cluster.address(unique_prefix()))
        ensure(address, partitions=2)
        with opened(address) as log:
            put(log, 1)
            store = MemoryStore(log.identity)
            with RunningWorker(address, store) as worker:
                worker.engine.progress.stuck_after_s = 2.0
                caught_up(log, store)
                cluster.stop()
                until(lambda: "not answer" in str(worker.engine.progress.reasons()), "the reason")
                cluster.start()
                with opened(address) as again:
                    put(again, 2)
                    caught_up(again, store)
                    until(lambda: not worker.engine.progress.reasons(), "the worker to be ready again")
                    assert_folded_once(again, store)
            assert worker.failure is None
