"""The events that benchmarks use."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import msgspec

from benchmarks.worker import fold, follow, prepared
from benchmarks.workload import BATCH, MIX, Workload, bodies, labelled
from streams.ingest.admission import admit_batch
from streams.ingest.split import split_array
from streams.log.block import read_block
from streams.store.memory import MemoryStore
from streams.store.tables import DEAD_LETTERS, FACTS, LABELS, PREDICTIONS


def test_two_workloads_of_one_seed_give_the_same_bytes() -> None:
    """Every run measures the same events; another seed gives others."""
    assert bodies(3) == bodies(3)
    assert bodies(1, seed=1) != bodies(1, seed=2)


def test_every_event_is_admitted_and_of_the_size_that_is_promised() -> None:
    """The bodies hold what a product would send: nothing is refused, and an event has about 350 bytes."""
    for body in bodies(5):
        assert all(verdict.problem is None for verdict in admit_batch(body, split_array(body)))
        assert 300 * BATCH < len(body) < 400 * BATCH


def test_the_mix_is_kept_in_every_hundred_events() -> None:
    """Each hundred events have the stated number of every kind, so that rounds can be compared."""
    workload = Workload()
    workload.events(BATCH)
    for _ in range(3):
        kinds = Counter(msgspec.json.decode(item)["type"][9:-3] for item in workload.events(BATCH))
        assert kinds == MIX


def test_the_plain_fold_counts_what_the_worker_counts() -> None:
    """The floor that the worker is measured against does a real join: the same predictions and feedback."""
    log, records = prepared(3_000)
    folded = fold(records)
    store = MemoryStore(log.identity)
    follow(log, store)
    with store.snapshot() as snapshot:
        joined = sum(row[FACTS.columns.index("joined")] is not None for row in snapshot.scan(FACTS))
        assert len(folded.predictions) == snapshot.count(PREDICTIONS)
        assert sum(map(len, folded.feedback.values())) == joined
        assert sum(map(len, folded.waiting.values())) + joined == snapshot.count(FACTS)
        assert snapshot.count(DEAD_LETTERS) == 0


def test_labelled_events_give_as_many_labels() -> None:
    """What the release is measured on: each prediction has a label, one in ten two votes."""
    log, _ = prepared(0)
    items = list(labelled("digit-reader", 50))
    assert len(items) == 1 + 50 * 2 + 5
    log.append([(0, record) for record in _records(items)])
    store = MemoryStore(log.identity)
    follow(log, store)
    with store.snapshot() as snapshot:
        votes = [row[LABELS.columns.index("people")] for row in snapshot.scan(LABELS)]
    assert sorted(votes) == [1] * 45 + [2] * 5


def _records(items: list[bytes]) -> list[bytes]:
    from benchmarks.release import _TYPES
    from streams.log.block import write_block

    return [write_block(_TYPES, [(1, len(items))], items)]


def test_records_are_blocks_of_a_hundred() -> None:
    """Blocks are as the appender packs them from batches of a hundred."""
    sizes = [len(msgspec.json.decode(read_block(record)[1])) for _, record in Workload().records(250)]
    assert sizes == [100, 100, 50]
    assert len(list(islice(labelled("m", 3), 3))) == 3
