"""The appender: requests share an append, each is answered after it, and a failure is never a success."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.log.block import MAX_BLOCK_BYTES, DeadLetter, raw_items, read_block, read_dead_letters
from streams.log.memory import MemoryLog
from streams.log.port import DEAD, Batch, LogWriter, NotDurable, Overloaded, Part
from streams.log.sqlite import SqliteLog, create_log
from streams.log.writer import MAX_BLOCK_ITEMS, Appender, dead_letters, pack
from tests.streams.log.writer_contract import Kept, LogWriterContract, Writing


class GatedLog(MemoryLog):
    """A log whose appends can be held up, counted, and made to fail."""

    def __init__(self, partitions: int = 1) -> None:
        super().__init__(partitions)
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.appends = 0
        self.fail: Exception | None = None

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Append when the gate is open."""
        self.entered.set()
        assert self.open.wait(10)
        if self.fail is not None:
            raise self.fail
        self.appends += 1
        super().append(records)


def batch(*items: bytes, partition: int = 0, received: int = 1) -> Batch:
    """A batch with one part."""
    return Batch(received, [Part(partition, {"loopline.feedback.thumb.v1"}, list(items))])


@pytest.fixture
def log() -> GatedLog:
    """A log in memory that counts its appends."""
    return GatedLog(2)


@pytest.fixture
def appender(log: GatedLog) -> Iterator[Appender]:
    """The one writer of that log."""
    appender = Appender(log, max_pending_bytes=1000)
    yield appender
    log.open.set()
    appender.stop()


class TestContract(LogWriterContract):
    """The embedded writer holds to the contract."""

    @pytest.fixture
    def writing(self, log: GatedLog) -> Writing:
        """A writer to that log, which ends with the context."""

        @asynccontextmanager
        async def open_writer(**how: Any) -> AsyncIterator[LogWriter]:
            writer = Appender(log, **how)
            try:
                yield writer
            finally:
                await asyncio.to_thread(writer.stop)

        return open_writer

    @pytest.fixture
    def kept(self, log: GatedLog) -> Kept:
        """The items of that log's blocks."""
        return lambda partition, blocks: [
            item for record in log.read(partition, 0, blocks) for item in raw_items(record)
        ]


def test_many_requests_share_one_append(log: GatedLog, appender: Appender) -> None:
    """While one append is under way the others gather, and go into the next one together."""

    async def run() -> list[str]:
        log.open.clear()
        first = appender.write(batch(b"0"))
        await asyncio.get_running_loop().run_in_executor(None, log.entered.wait, 10)
        rest = [appender.write(batch(b"%d" % number)) for number in range(1, 33)]
        await asyncio.sleep(0.05)
        assert not first.done()
        assert not any(answer.done() for answer in rest)
        log.open.set()
        return list(await asyncio.gather(first, *rest))

    positions = asyncio.run(run())
    assert log.appends == 2
    assert positions == ["0:1,1:0,dead:0"] + ["0:2,1:0,dead:0"] * 32
    assert raw_items(log.read(0, 1, 1)[0]) == [b"%d" % number for number in range(1, 33)]


def test_the_event_loop_is_woken_once_for_all_waiters(log: GatedLog, appender: Appender) -> None:
    """One append calls into the event loop once, whatever the number of requests it served."""

    async def run() -> int:
        loop = asyncio.get_running_loop()
        calls = 0
        original = loop.call_soon_threadsafe

        def counted(*args: object, **more: object) -> object:
            nonlocal calls
            calls += 1
            return original(*args, **more)  # type: ignore[arg-type]

        log.open.clear()
        first = appender.write(batch(b"0"))
        while not log.entered.is_set():  # noqa: ASYNC110 -- a thread sets it
            await asyncio.sleep(0.001)
        rest = [appender.write(batch(b"1")) for _ in range(20)]
        loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]
        log.open.set()
        await asyncio.gather(first, *rest)
        return calls

    assert asyncio.run(run()) == 2


def test_a_failed_append_is_told_to_every_waiter_and_the_next_one_works(
    log: GatedLog, appender: Appender
) -> None:
    """Nothing of a failed append is acknowledged or kept, and the writer goes on."""
    for failure in (NotDurable("the disk is full"), OSError("broken")):
        log.fail = failure

        async def both() -> list[object]:
            return list(
                await asyncio.gather(
                    appender.write(batch(b"1")), appender.write(batch(b"2")), return_exceptions=True
                )
            )

        assert all(isinstance(answer, NotDurable) for answer in asyncio.run(both()))
        assert appender.failed_at is not None
        assert appender.position == "0:0,1:0,dead:0"
    log.fail = None
    assert appender.write_and_wait(batch(b"3")) == "0:1,1:0,dead:0"
    assert appender.failed_at is None


def test_too_much_pending_is_refused_at_once(log: GatedLog, appender: Appender) -> None:
    """A slow disk fills the queue up to its limit and not the memory."""

    async def run() -> None:
        log.open.clear()
        first = appender.write(batch(b"x" * 900))
        with pytest.raises(Overloaded):
            appender.write(batch(b"x" * 200))
        log.open.set()
        await first
        await appender.write(batch(b"x" * 200))

    asyncio.run(run())


def test_stopping_writes_what_is_pending(log: GatedLog) -> None:
    """What was taken is written and answered before the writer ends; later batches are refused."""
    appender = Appender(log)

    async def run() -> list[str]:
        log.open.clear()
        answers = [appender.write(batch(b"%d" % number)) for number in range(5)]
        stopping = asyncio.get_running_loop().run_in_executor(None, appender.stop)
        await asyncio.sleep(0.02)
        log.open.set()
        await stopping
        return list(await asyncio.gather(*answers))

    assert asyncio.run(run())[-1].startswith(("0:1", "0:2"))
    assert sum(len(raw_items(record)) for record in log.read(0, 0, 10)) == 5
    with pytest.raises(NotDurable):
        appender.write_and_wait(batch(b"late"))


def test_a_waiter_that_gave_up_disturbs_nobody(log: GatedLog, appender: Appender) -> None:
    """A cancelled request's events are written all the same, and the others get their answers."""

    async def run() -> str:
        log.open.clear()
        gone, stays = appender.write(batch(b"1")), appender.write(batch(b"2"))
        gone.cancel()
        log.open.set()
        return await stays

    assert asyncio.run(run()) in ("0:1,1:0,dead:0", "0:2,1:0,dead:0")


def test_a_loop_that_is_gone_disturbs_nobody(log: GatedLog, appender: Appender) -> None:
    """An answer that no event loop waits for any more is dropped, and the writer goes on."""
    log.open.clear()
    loop = asyncio.new_event_loop()

    async def hand_over() -> None:
        appender.write(batch(b"1"))

    loop.run_until_complete(hand_over())
    loop.close()
    log.open.set()
    assert appender.write_and_wait(batch(b"2")).endswith("dead:0")
    appender.stop()
    assert sum(len(raw_items(record)) for record in log.read(0, 0, 10)) == 2


def test_a_position_covers_what_came_before(tmp_path: Path) -> None:
    """A writer on an existing log begins with the position of its end."""
    create_log(tmp_path / "log.sqlite", 2)
    log = SqliteLog(tmp_path / "log.sqlite", writable=True)
    first = Appender(log)
    refused = DeadLetter("invalid_json", "no", None, None, b"{")
    first.write_and_wait(Batch(5, [Part(1, {"loopline.feedback.thumb.v1"}, [b"1"]), dead_letters([refused])]))
    first.stop()
    second = Appender(log)
    assert second.position == "0:0,1:1,dead:1"
    assert second.ends == {0: 0, 1: 1, DEAD: 1}
    second.stop()
    assert read_dead_letters(log.read(DEAD, 0, 1)[0]) == [(5, refused)]
    log.close()


PARTS = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.lists(st.integers(1, 400).map(lambda size: b"1" * size), min_size=1, max_size=30),
    ),
    max_size=4,
)


@given(st.lists(st.tuples(st.integers(1, 5), PARTS), max_size=12))
def test_packing_keeps_every_item_in_order(requests: list[tuple[int, list[tuple[int, list[bytes]]]]]) -> None:
    """Whatever the batches, each partition's items come out in order, each with its own receipt and type."""
    batches = [
        Batch(received, [Part(partition, {f"type-{partition}"}, items) for partition, items in parts])
        for received, parts in requests
    ]
    found: dict[int, list[tuple[int, bytes]]] = {}
    for partition, record in pack(batches):
        header, _ = read_block(record)
        assert header.types == [f"type-{partition}"]
        found.setdefault(partition, []).extend(zip(header.instants(), raw_items(record), strict=True))
    expected: dict[int, list[tuple[int, bytes]]] = {}
    for received, parts in requests:
        for partition, items in parts:
            expected.setdefault(partition, []).extend((received, item) for item in items)
    assert found == expected


def test_a_block_keeps_its_limits() -> None:
    """A block has at most 1,000 items and 512 KiB of them; only a lone item may be larger."""
    many = [batch(*[b"1"] * 900), batch(*[b"2"] * 900)]
    sizes = [len(raw_items(record)) for _, record in pack(many)]
    assert sizes == [MAX_BLOCK_ITEMS, 800]
    large = [batch(*[b'"%s"' % (b"x" * 60_000)] * 30)]
    bodies = [read_block(record)[1] for _, record in pack(large)]
    assert len(bodies) == 4
    assert all(len(body) <= MAX_BLOCK_BYTES + 1 for body in bodies)
    lone = [batch(b"1"), batch(b'"%s"' % (b"x" * MAX_BLOCK_BYTES)), batch(b"2")]
    assert [len(raw_items(record)) for _, record in pack(lone)] == [1, 1, 1]
