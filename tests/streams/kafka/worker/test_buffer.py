"""What becomes of a fetched block: only the next one of a partition that is the worker's is taken."""

from __future__ import annotations

import random

from streams.kafka.worker.buffer import Gathering, Verdict
from streams.projection.apply import Block


def block(partition: int, offset: int, size: int = 10) -> Block:
    """A block of so many bytes."""
    return Block(partition, offset, bytes(size))


def test_the_next_block_is_taken_and_others_are_not() -> None:
    """A block is taken at its partition's position; before, behind, or in another partition it is not."""
    gathering = Gathering()
    gathering.restart({0: 3, 1: 0})
    assert gathering.offer(block(0, 2)) is Verdict.KNOWN
    assert gathering.offer(block(0, 4)) is Verdict.AHEAD
    assert gathering.offer(block(2, 0)) is Verdict.FOREIGN
    assert gathering.offer(block(0, 3)) is Verdict.TAKEN
    assert gathering.offer(block(0, 4)) is Verdict.TAKEN
    assert [(each.partition, each.offset) for each in gathering.first()] == [(0, 3), (0, 4)]


def test_blocks_stay_until_they_are_in_the_store() -> None:
    """What was given out to be applied is given out again, unless it was said to be done."""
    gathering = Gathering()
    gathering.restart({0: 0})
    for offset in range(3):
        gathering.offer(block(0, offset))
    first = gathering.first()
    assert gathering.first() == first
    gathering.done(first[:2])
    assert [each.offset for each in gathering.first()] == [2]


def test_a_revoked_partition_takes_its_blocks_along() -> None:
    """Blocks of a partition that was given away are dropped, those of the others stay."""
    gathering = Gathering()
    gathering.restart({0: 0, 1: 0})
    for offset in range(2):
        gathering.offer(block(0, offset))
        gathering.offer(block(1, offset))
    gathering.leave([0])
    assert [(each.partition, each.offset) for each in gathering.first()] == [(1, 0), (1, 1)]
    assert gathering.offer(block(0, 2)) is Verdict.FOREIGN


def test_a_batch_that_ends_after_a_restart_removes_nothing_new() -> None:
    """Blocks that were read again are kept, though the same offsets were just applied from before."""
    gathering = Gathering()
    gathering.restart({0: 0})
    gathering.offer(block(0, 0))
    in_hand = gathering.first()
    gathering.restart({0: 0})
    gathering.offer(block(0, 0))
    gathering.done(in_hand)
    assert len(gathering) == 1


def test_enough_is_enough_by_bytes() -> None:
    """It is full by the bytes that wait, and has room again when they are done or dropped."""
    gathering = Gathering(most_bytes=100)
    gathering.restart({0: 0, 1: 0})
    was_full = []
    gathering.offer(block(0, 0, 60))
    was_full.append(gathering.full)
    gathering.offer(block(1, 0, 60))
    was_full.append(gathering.full)
    gathering.leave([1])
    was_full.append(gathering.full)
    gathering.offer(block(0, 1, 60))
    was_full.append(gathering.full)
    gathering.done(gathering.first())
    was_full.append(gathering.full)
    assert was_full == [False, True, False, True, False]
    assert len(gathering) == 0


def test_whatever_comes_in_each_offset_comes_out_once_in_order() -> None:
    """However blocks repeat, jump and restart, what is applied of a partition is 0, 1, 2, ... each once."""
    drawn = random.Random(7)
    gathering, applied = Gathering(), {0: 0, 1: 0}
    gathering.restart(applied)
    read = dict(applied)
    for _ in range(5_000):
        partition = drawn.choice([0, 1])
        chance = drawn.random()
        if chance < 0.05:
            gathering.restart(applied)
            read = {each: max(0, at - drawn.randrange(3)) for each, at in applied.items()}
        elif chance < 0.3:
            for each in (batch := gathering.first()[: drawn.randrange(1, 5)]):
                assert each.offset == applied[each.partition]
                applied[each.partition] += 1
            gathering.done(batch)
        else:
            gathering.offer(block(partition, read[partition]))
            read[partition] += 1
            if drawn.random() < 0.1:
                read[partition] = max(0, read[partition] - 2)
    assert min(applied.values()) > 100
