"""What becomes of a fetched block: only the next one of a partition that is the worker's is taken."""

from __future__ import annotations

import random

from streams.kafka.worker.buffer import Buffer, Offered
from streams.projection.apply import Block


def block(partition: int, offset: int, size: int = 10) -> Block:
    """A block of so many bytes."""
    return Block(partition, offset, bytes(size))


def test_the_next_block_is_taken_and_others_are_not() -> None:
    """A block is taken at its partition's position; before, behind, or in another partition it is not."""
    buffer = Buffer()
    buffer.restart({0: 3, 1: 0})
    assert buffer.offer(block(0, 2)) is Offered.KNOWN
    assert buffer.offer(block(0, 4)) is Offered.AHEAD
    assert buffer.offer(block(2, 0)) is Offered.FOREIGN
    assert buffer.offer(block(0, 3)) is Offered.TAKEN
    assert buffer.offer(block(0, 4)) is Offered.TAKEN
    assert [(each.partition, each.offset) for each in buffer.first()] == [(0, 3), (0, 4)]


def test_blocks_stay_until_they_are_in_the_store() -> None:
    """What was given out to be applied is given out again, unless it was said to be done."""
    buffer = Buffer()
    buffer.restart({0: 0})
    for offset in range(3):
        buffer.offer(block(0, offset))
    first = buffer.first()
    assert buffer.first() == first
    buffer.done(first[:2])
    assert [each.offset for each in buffer.first()] == [2]


def test_a_revoked_partition_takes_its_blocks_along() -> None:
    """Blocks of a partition that was given away are dropped, those of the others stay."""
    buffer = Buffer()
    buffer.restart({0: 0, 1: 0})
    for offset in range(2):
        buffer.offer(block(0, offset))
        buffer.offer(block(1, offset))
    buffer.leave([0])
    assert [(each.partition, each.offset) for each in buffer.first()] == [(1, 0), (1, 1)]
    assert buffer.offer(block(0, 2)) is Offered.FOREIGN


def test_a_batch_that_ends_after_a_restart_removes_nothing_new() -> None:
    """Blocks that were read again are kept, though the same offsets were just applied from before."""
    buffer = Buffer()
    buffer.restart({0: 0})
    buffer.offer(block(0, 0))
    in_hand = buffer.first()
    buffer.restart({0: 0})
    buffer.offer(block(0, 0))
    buffer.done(in_hand)
    assert len(buffer) == 1


def test_enough_is_enough_by_bytes() -> None:
    """It is full by the bytes that wait, and has room again when they are done or dropped."""
    buffer = Buffer(most_bytes=100)
    buffer.restart({0: 0, 1: 0})
    was_full = []
    buffer.offer(block(0, 0, 60))
    was_full.append(buffer.full)
    buffer.offer(block(1, 0, 60))
    was_full.append(buffer.full)
    buffer.leave([1])
    was_full.append(buffer.full)
    buffer.offer(block(0, 1, 60))
    was_full.append(buffer.full)
    buffer.done(buffer.first())
    was_full.append(buffer.full)
    assert was_full == [False, True, False, True, False]
    assert len(buffer) == 0


def test_whatever_comes_in_each_offset_comes_out_once_in_order() -> None:
    """However blocks repeat, jump and restart, what is applied of a partition is 0, 1, 2, ... each once."""
    drawn = random.Random(7)
    buffer, applied = Buffer(), {0: 0, 1: 0}
    buffer.restart(applied)
    read = dict(applied)
    for _ in range(5_000):
        partition = drawn.choice([0, 1])
        chance = drawn.random()
        if chance < 0.05:
            buffer.restart(applied)
            read = {each: max(0, at - drawn.randrange(3)) for each, at in applied.items()}
        elif chance < 0.3:
            for each in (batch := buffer.first()[: drawn.randrange(1, 5)]):
                assert each.offset == applied[each.partition]
                applied[each.partition] += 1
            buffer.done(batch)
        else:
            buffer.offer(block(partition, read[partition]))
            read[partition] += 1
            if drawn.random() < 0.1:
                read[partition] = max(0, read[partition] - 2)
    assert min(applied.values()) > 100
