"""The intake on bad days, against a real broker: nothing is missed, and what is read twice counts once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from schemas import problems
from streams.ingest.recorder import Recorder
from streams.kafka.address import Address
from streams.kafka.intake.consumer import Intake
from streams.log.memory import MemoryLog
from streams.log.port import DEAD, Batch, NotDurable, PartlyDurable
from streams.log.sqlite import SqliteLog, create_log
from streams.log.writer import Appender
from streams.metrics import Metrics
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix
from tests.streams.kafka.intake.intakes import (
    POISON,
    Views,
    make_topic,
    mixed,
    produce,
    reading,
    remove_topic,
    settled,
    until,
    value_of,
)
from tests.streams.log.writer_contract import StubWriter

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[4]


@pytest.mark.crash
def test_killed_between_append_and_commit(address: Address, tmp_path: Path) -> None:
    """What was appended and not committed is read again: twice in the log, once in the views."""
    path, plan = tmp_path / "log.db", tmp_path / "plan"
    create_log(path, 2)
    produce(address, [*mixed(400), *POISON])
    plan.write_text("intake.3:1")
    command = [sys.executable, "-m", "tests.streams.kafka.intake.intakes", str(address), str(path)]
    killed = subprocess.run(
        command, env={**os.environ, "LOOPLINE_CRASH_PLAN": str(plan)}, cwd=ROOT, timeout=60, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    with closing(SqliteLog(path)) as log:
        before = Views(log)
    assert before.items > 0
    # The broker waits for the dead member's session to end before it gives its partitions away.
    again = subprocess.Popen(command, cwd=ROOT)
    try:
        asyncio.run(settled(address, 407))
    finally:
        again.terminate()
        assert again.wait(30) == 0
    with closing(SqliteLog(path)) as log:
        views = Views(log)
    assert views.facts == 400
    assert views.items == 400 + before.items
    assert len({letter.origin for letter in views.dead_letters}) == len(POISON)


def test_a_rebalance_between_two(address: Address, log: SqliteLog, appender: Appender) -> None:
    """One joins and one leaves under load: nothing is missed, and little is read twice."""

    async def run() -> None:
        async with reading(address, appender, log) as (first, first_metrics):
            producing = asyncio.create_task(asyncio.to_thread(produce_slowly, address, 2000))
            await until(lambda: value_of(first_metrics, "loopline_events_accepted_total") > 0, "the first")
            async with reading(address, appender, log) as (second, second_metrics):
                await until(
                    lambda: value_of(second_metrics, "loopline_events_accepted_total") > 0, "the second"
                )
            await producing
            await settled(address, 2000)
            assert first.failure == second.failure == ""

    asyncio.run(run())
    views = Views(log)
    assert views.facts == 2000
    assert 2000 <= views.items < 2500
    assert views.dead_letters == []


def produce_slowly(address: Address, count: int) -> None:
    """Records over some seconds."""
    for start in range(0, count, 50):
        produce(address, mixed(50, start))
        time.sleep(0.1)


class Reluctant(MemoryLog):
    """A log that refuses to append for as long as it is told to."""

    refuses = True
    refused = 0

    def append(self, records: Sequence[tuple[int, bytes]]) -> None:
        """Append, or refuse."""
        if self.refuses:
            self.refused += 1
            raise NotDurable("the disk is full")
        super().append(records)


@asynccontextmanager
async def _reluctant(address: Address) -> Any:
    log = Reluctant(2)
    appender = Appender(log)
    try:
        async with reading(address, appender, log) as (intake, metrics):
            yield log, intake, metrics
    finally:
        appender.stop()


def test_a_log_that_cannot_be_written(address: Address) -> None:
    """Nothing is committed or skipped until it is there; the lag and `failure` say so; ending is quick."""

    async def run() -> None:
        await asyncio.to_thread(produce, address, mixed(100))
        async with _reluctant(address) as (log, intake, metrics):
            await until(lambda: log.refused >= 3, "three tries")
            await asyncio.to_thread(produce, address, mixed(100, 100))
            assert intake.failure == "the disk is full"
            await until(lambda: value_of(metrics, "loopline_intake_lag_records") == 200, "a lag of all")
        assert Views(log).items == 0
        async with _reluctant(address) as (log, intake, metrics):
            await until(lambda: log.refused >= 1, "a try")
            log.refuses = False
            await settled(address, 200)
            await until(lambda: value_of(metrics, "loopline_intake_lag_records") == 0, "no lag")
            assert intake.failure == ""
        views = Views(log)
        assert (views.facts, views.items) == (200, 200)

    asyncio.run(run())


class Half(StubWriter):
    """A writer that keeps one partition at the first try, and all that is missing at the second."""

    position = ""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def write(self, batch: Batch) -> str:
        """Keep it, or a part of it."""
        self.batches.append(batch)
        if len(self.batches) == 1:
            missing = frozenset(part.partition for part in batch.parts if part.partition != 0)
            raise PartlyDurable("a broker is away", "0:1", missing)
        return "0:1,1:1,dead:1"


def test_only_what_is_missing_is_written_again(kafka: Cluster) -> None:
    """When some partitions have acknowledged, only the others are tried again; each item counts once."""
    address = Address.parse(kafka.address(unique_prefix()))
    make_topic(address, 1)
    half, metrics = Half(), Metrics()
    intake = Intake(address, Recorder(half, 2, metrics=metrics), metrics)

    async def run() -> None:
        await asyncio.to_thread(produce, address, [*mixed(20), *POISON])
        await intake.start()
        await settled(address, 27)
        await intake.stop()

    asyncio.run(run())
    first, second = ({part.partition: list(part.items) for part in batch.parts} for batch in half.batches[:2])
    assert set(first) == {0, 1, DEAD}
    assert second == {partition: items for partition, items in first.items() if partition != 0}
    assert value_of(metrics, "loopline_events_accepted_total") == 20
    refused = [
        value_of(metrics, "loopline_events_refused_total", code=code) for code in problems.COLLECTOR_CODES
    ]
    assert sum(refused) == 7


def test_a_broker_that_is_away_for_a_while(tmp_path: Path, log: SqliteLog, appender: Appender) -> None:
    """The broker stops and starts: reading goes on by itself, with what was produced before and after."""
    with Cluster() as own:
        address = Address.parse(own.address("away"))
        make_topic(address, 2)

        async def run() -> None:
            await asyncio.to_thread(produce, address, mixed(100))
            async with reading(address, appender, log):
                await settled(address, 100)
                await asyncio.to_thread(produce, address, mixed(50, 100))
                await asyncio.to_thread(own.stop)
                await asyncio.sleep(2)
                await asyncio.to_thread(own.start)
                await asyncio.to_thread(produce, address, mixed(100, 150))
                await settled(address, 250)

        asyncio.run(run())
    assert Views(log).facts == 250


def test_a_topic_that_was_made_again(address: Address, log: SqliteLog, appender: Appender) -> None:
    """A recreated topic is read from its start, whatever was committed of the other one."""

    async def run() -> None:
        await asyncio.to_thread(produce, address, mixed(40))
        async with reading(address, appender, log):
            await settled(address, 40)
        await asyncio.to_thread(remove_topic, address)
        await asyncio.sleep(1)
        await asyncio.to_thread(make_topic, address, 4)
        await asyncio.to_thread(produce, address, mixed(20, 40))
        async with reading(address, appender, log):
            await until(lambda: Views(log).facts == 60, "all records of both topics")

    asyncio.run(run())
