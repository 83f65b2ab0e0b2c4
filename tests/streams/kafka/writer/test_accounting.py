"""What the appender answers when acknowledgements come late or without an offset; no broker is needed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import pytest

from streams.clocks import ClockWatch
from streams.kafka.address import Address
from streams.kafka.log.dead_letters import ProducedRecord
from streams.kafka.log.reader import KafkaLog
from streams.kafka.writer import writer as module
from streams.kafka.writer.producer import Ack
from streams.kafka.writer.writer import KafkaAppender
from streams.log.port import DEAD, Batch, LogIdentity, NotDurable, Part

HOLD_S = 0.2
SECOND = 1_000_000_000


class EmptyLog:
    """A log of two partitions in which nothing is yet."""

    address = Address.parse("kafka://127.0.0.1:9092")
    identity = LogIdentity("log", 1, 2)

    def ends(self) -> dict[int, int]:
        """Everything begins at 0."""
        return {0: 0, 1: 0, DEAD: 0}

    def acknowledged(self, partition: int, end: int) -> None:
        """Nothing to remember."""


class Held:
    """A producer that acknowledges when the test says so."""

    down = ""

    def __init__(self, _: Address) -> None:
        self.sent: dict[int, asyncio.Future[Ack]] = {}

    def send(
        self, topic_partition: tuple[str, int], records: Sequence[ProducedRecord]
    ) -> asyncio.Future[Ack]:
        """Keep it on its way."""
        answer = self.sent[topic_partition[1]] = asyncio.get_running_loop().create_future()
        return answer


class AtOnce:
    """Other collectors have written nothing."""

    def __init__(self, *_: Any) -> None: ...

    def ask(self, then: Callable[[], None]) -> None:
        """It is known at once."""
        then()


def appending(monkeypatch: pytest.MonkeyPatch, **how: Any) -> tuple[KafkaAppender, dict[int, Any]]:
    """An appender without brokers, and what it has under way in each partition."""
    monkeypatch.setattr(module, "Producer", Held)
    monkeypatch.setattr(module, "EndOffsets", AtOnce)
    appender = KafkaAppender(cast(KafkaLog, EmptyLog()), **how)
    return appender, cast(Held, appender._producer).sent


def stand_still(seconds: float) -> None:
    """Keep the event loop from everything for so long."""
    time.sleep(seconds)


async def until(what: Callable[[], object]) -> None:
    """Wait for it, and not for long."""
    async with asyncio.timeout(10):
        while not what():  # noqa: ASYNC110 -- nobody there sets an event
            await asyncio.sleep(0.005)


def test_a_late_acknowledgement_decides_nothing_about_another_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request is answered when each of its blocks is decided: one that was given up counts once."""

    async def answered() -> None:
        appender, sent = appending(monkeypatch, hold_events=2, hold_s=HOLD_S, ack_s=HOLD_S)
        answer = appender.write(Batch(1, [Part(0, {"t"}, [b"1", b"2"]), Part(1, {"t"}, [b"3"])]))
        # The full block goes at once and is given up when the other one goes.
        await until(lambda: appender.failed_at is not None and 1 in sent)
        sent[0].set_result(Ack(0, 0))
        await asyncio.sleep(HOLD_S / 4)
        assert not answer.done()
        with pytest.raises(NotDurable) as refusal:
            await answer
        assert type(refusal.value) is NotDurable
        assert refusal.value.kept is None

    asyncio.run(answered())


def test_nothing_is_acknowledged_later_than_an_append_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that stood still while it held a block gives it up, though the broker answers at once."""

    async def answered() -> None:
        appender, sent = appending(monkeypatch, hold_s=0.02, ack_s=0.1)
        answer = appender.write(Batch(1, [Part(0, {"t"}, [b"1"])]))
        # As when it was stopped: the loop does nothing meanwhile.
        stand_still(0.15)
        await until(lambda: answer.done() or 0 in sent)
        await until(lambda: appender.failed_at is not None)
        sent[0].set_result(Ack(0, 0))
        with pytest.raises(NotDurable, match="has not acknowledged") as refusal:
            await answer
        assert refusal.value.kept is None

    asyncio.run(answered())


def test_the_brokers_time_in_an_acknowledgement_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between handing over and acknowledgement is when it was appended; only what lies outside is skew."""
    elapsed = 0
    clocks = ClockWatch(lambda: 100 * SECOND + elapsed, lambda: elapsed)

    async def answered(partition: int, appended_s: float) -> float:
        nonlocal elapsed
        appender, sent = appending(monkeypatch, hold_events=1, clocks=clocks)
        answer = appender.write(Batch(1, [Part(partition, {"t"}, [b"1"])]))
        await until(lambda: partition in sent)
        elapsed += SECOND // 2
        sent[partition].set_result(Ack(0, 0, round(appended_s * 1000), f"broker {partition}"))
        await answer
        return clocks.skews()[f"broker {partition}"].seconds

    assert asyncio.run(answered(0, 100.2)) == 0
    assert asyncio.run(answered(1, 105.0)) == -4.0
    (reason,) = clocks.reasons()
    assert reason.startswith(
        "the clock of broker 1 is 4.0 s ahead of this machine's, with which broker 0 agrees"
    )


def test_a_partition_that_hangs_is_told_and_is_no_failure_of_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever acknowledges something is in use; who acknowledges nothing any more has failed."""

    async def told() -> None:
        appender, sent = appending(monkeypatch, hold_events=1, ack_s=0.2)
        hanging = appender.write(Batch(1, [Part(0, {"t"}, [b"1"])]))
        first = sent.pop(0)
        for offset in range(6):
            going = appender.write(Batch(1, [Part(1, {"t"}, [b"2"])]))
            sent.pop(1).set_result(Ack(offset, offset))
            await going
            await asyncio.sleep(0.05)
        assert "partition 0" in appender.stalled
        since = appender.failed_at
        assert since is None
        with pytest.raises(NotDurable):
            await hanging
        last = appender.write(Batch(1, [Part(1, {"t"}, [b"3"])]))
        with pytest.raises(NotDurable):
            await last
        assert appender.failed_at is not None
        assert "partition 1" in appender.failure
        sent.pop(1).set_result(Ack(6, 6))
        first.set_result(Ack(0, 0))
        await until(lambda: appender.failed_at is None and not appender.stalled)

    asyncio.run(told())
