"""What every writer of a log does: one class that each adapter's tests inherit, and a stand-in for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from streams.log.block import DeadLetter
from streams.log.port import DEAD, Batch, LogWriter, NotDurable, Overloaded, Part, parse_positions
from streams.log.writer import dead_letters

Writing = Callable[..., AbstractAsyncContextManager[LogWriter]]
Kept = Callable[[int, int], list[bytes]]
LETTER = DeadLetter("invalid_json", "no JSON", None, None, b"{")


class StubWriter:
    """The part of a `LogWriter` that is the same in each stand-in: all is well."""

    position = ""
    failed_at: float | None = None
    failure = ""
    stalled = ""


def batch(*items: bytes, partition: int = 0) -> Batch:
    """A batch of one part."""
    return Batch(1, [Part(partition, {"t"}, list(items))])


def run(test: Awaitable[Any]) -> Any:
    """Run a test's coroutine."""

    async def main() -> Any:
        async with asyncio.timeout(30):
            return await test

    return asyncio.run(main())


class LogWriterContract:
    """Inherit, and give two fixtures for one empty log of at least two partitions.

    `writing(**how)` opens a writer for as long as its context lasts, `how` being arguments of the adapter;
    `kept(partition, blocks)` reads that many blocks of a partition and gives their items.
    """

    def test_a_new_writer_stands_where_the_log_ends(self, writing: Writing) -> None:
        """Before anything is written the position is that of the empty log, and nothing has failed."""

        async def test() -> None:
            async with writing() as writer:
                assert set(parse_positions(writer.position).values()) == {0}
                assert (writer.failed_at, writer.failure, writer.stalled) == (None, "", "")

        run(test())

    def test_an_answer_covers_its_batch(self, writing: Writing, kept: Kept) -> None:
        """Each answer is a position behind what was handed over, and the writer's own from then on."""

        async def test() -> None:
            async with writing() as writer:
                first = await writer.write(batch(b"1", b"2"))
                assert first == writer.position
                second = await writer.write(batch(b"3", partition=1))
                before, after = parse_positions(first), parse_positions(second)
                assert (before[0], before[1]) == (1, 0)
                assert (after[0], after[1]) == (1, 1)

        run(test())
        assert (kept(0, 1), kept(1, 1)) == ([b"1", b"2"], [b"3"])

    def test_what_is_handed_over_together_stays_in_order(self, writing: Writing, kept: Kept) -> None:
        """Batches of many requests keep their order in a partition, and every request is answered."""

        async def test() -> int:
            async with writing() as writer:
                positions = await asyncio.gather(*(writer.write(batch(b"%d" % n)) for n in range(20)))
                assert all(parse_positions(each)[0] >= 1 for each in positions)
                return parse_positions(writer.position)[0]

        assert kept(0, run(test())) == [b"%d" % n for n in range(20)]

    def test_refused_items_have_their_partition(self, writing: Writing) -> None:
        """Dead letters move the position of the dead-letter partition alone."""

        async def test() -> None:
            async with writing() as writer:
                moved = parse_positions(await writer.write(Batch(1, [dead_letters([LETTER])])))
                assert [partition for partition, offset in moved.items() if offset] == [DEAD]

        run(test())

    def test_more_than_may_wait_is_refused_at_once(self, writing: Writing) -> None:
        """A batch beyond what may be pending raises Overloaded, and the next one that fits is written."""

        async def test() -> None:
            async with writing(max_pending_bytes=10) as writer:
                with pytest.raises(Overloaded) as refusal:
                    writer.write(batch(b"x" * 11))
                assert refusal.value.kept is False
                assert parse_positions(await writer.write(batch(b"1")))[0] == 1

        run(test())

    def test_a_writer_that_stopped_takes_nothing(self, writing: Writing, kept: Kept) -> None:
        """What was handed over before the end is answered; what comes later raises NotDurable at once."""

        async def test() -> None:
            async with writing() as writer:
                taken = writer.write(batch(b"1"))
            assert parse_positions(await taken)[0] == 1
            with pytest.raises(NotDurable) as refusal:
                writer.write(batch(b"2"))
            assert refusal.value.kept is False

        run(test())
        assert kept(0, 1) == [b"1"]
