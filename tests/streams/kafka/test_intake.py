"""The intake against a real broker: every record is an event or a dead letter, and counts once."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from schemas import problems
from streams.appender import Appender, Batch
from streams.kafka.address import Address
from streams.kafka.cloudevents import BATCH, STRUCTURED, record_of
from streams.kafka.intake import MAX_KEPT_BYTES, Intake, NoIntake
from streams.keeper import Keeper
from streams.log.memory import MemoryLog
from streams.log.port import DEAD, LogUnavailable, NotDurable, PartlyDurable
from streams.log.sqlite import SqliteLog, create_log
from streams.metrics import Metrics
from tests.kafka.broker import Cluster
from tests.kafka.fixtures import unique_prefix
from tests.streams.kafka.taking import (
    PATIENCE_S,
    Sent,
    Views,
    make_topic,
    produce,
    reading,
    remove_topic,
    settled,
)
from tests.streams.sent import event, item

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[3]
_POISON = [
    Sent([], None),
    Sent([("content-type", STRUCTURED.encode())], b"\xff\xfe"),
    Sent([("content-type", STRUCTURED.encode())], b"{" * 200_000),
    Sent([("content-type", STRUCTURED.encode())], b'"' + b"x" * 400_000 + b'"'),
    Sent([("ce_id", b"\xff"), ("ce_type", b"t")], b"{}"),
    Sent([("content-type", b"text/plain")], b"hello"),
    Sent([("ce_id", b"t"), ("ce_type", b"loopline.feedback.thumb.v1")], None),
]
_POISON_CODES = Counter(
    {problems.INVALID_JSON: 1, problems.NOT_UTF8: 2, problems.TOO_LARGE: 2, problems.INVALID_VALUE: 2}
)


@pytest.fixture
def address(kafka: Cluster) -> Address:
    """An intake topic of the test's own, with four partitions."""
    address = Address.parse(kafka.address(unique_prefix()))
    make_topic(address, 4)
    return address


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SqliteLog]:
    """A log with two partitions."""
    create_log(tmp_path / "log.db", 2)
    with closing(SqliteLog(tmp_path / "log.db", writable=True)) as log:
        yield log


@pytest.fixture
def appender(log: SqliteLog) -> Iterator[Appender]:
    """The log's writer."""
    appender = Appender(log)
    yield appender
    appender.stop()


def thumb(number: int) -> bytes:
    """One thumb on a prediction of its own, by its number."""
    data = {"prediction_id": f"p-{number}", "value": "up"}
    return item(event(id=f"e-{number}", data=data))


def structured(number: int) -> Sent:
    """A thumb in structured mode."""
    return Sent([("content-type", STRUCTURED.encode())], thumb(number))


def binary(number: int) -> Sent:
    """A thumb in binary mode."""
    return Sent(*record_of(thumb(number)))


def mixed(count: int, start: int = 0) -> list[Sent]:
    """Thumbs in both modes."""
    return [(structured, binary)[number % 2](number) for number in range(start, start + count)]


async def until(holds: Any, what: str) -> None:
    """Wait for a condition."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.05)


def value_of(metrics: Metrics, name: str, **labels: str) -> float:
    """A sample of the metrics."""
    return metrics.registry.get_sample_value(name, labels) or 0.0


def test_a_thousand_records_in_both_modes(address: Address, log: SqliteLog, appender: Appender) -> None:
    """Every good record is an event in the views, every bad one a dead letter that names its record."""
    records = mixed(900)
    records += [
        Sent([("content-type", BATCH.encode())], b"[" + thumb(900) + b"," + thumb(901) + b",nope]"),
        Sent([], thumb(902)),
        Sent([], thumb(5)),
        *_POISON * 10,
        *[Sent([], json.dumps(event(id=f"b-{n}", type="loopline.unknown.v9")).encode()) for n in range(27)],
    ]
    assert len(records) == 1000

    async def run() -> None:
        await asyncio.to_thread(produce, address, records)
        async with reading(address, appender, log) as (intake, metrics):
            await settled(address, 1000)
            assert intake.failure == ""
            assert value_of(metrics, "loopline_events_accepted_total") == 904
            refused = {
                code: value_of(metrics, "loopline_events_refused_total", code=code)
                for code in problems.COLLECTOR_CODES
            }
            assert sum(refused.values()) == 98
            await until(lambda: value_of(metrics, "loopline_intake_lag_records") == 0, "no lag")

    asyncio.run(run())
    views = Views(log)
    assert (views.facts, views.items) == (903, 904)
    expected = Counter({code: 10 * count for code, count in _POISON_CODES.items()})
    expected.update({problems.UNKNOWN_TYPE: 27, problems.INVALID_JSON: 1})
    assert views.codes == expected
    origins = {letter.origin for letter in views.letters}
    assert len(origins) == 98
    assert {origin and origin[0] for origin in origins} == {address.intake}
    for letter in views.letters:
        assert letter.origin is not None
        _, partition, offset = letter.origin
        sent = records[offset * 4 + partition]
        if sent.value == _POISON[3].value:
            assert letter.bytes == sent.value[: len(letter.bytes)]
            assert letter.detail.endswith(
                f"of {len(sent.value)} bytes the first {len(letter.bytes)} are kept here"
            )
        elif sent in _POISON[:3]:
            assert letter.bytes == (sent.value or b"")
            assert len(letter.bytes) <= MAX_KEPT_BYTES
        elif letter.code == problems.UNKNOWN_TYPE:
            assert letter.bytes == sent.value


class NotText(str):
    """A header's name that a client sends as bytes which are no UTF-8."""

    def encode(self, *_: object) -> bytes:
        """The bytes."""
        return b"ce_\xff"


@pytest.mark.parametrize("compression", [None, "gzip", "lz4", "zstd"])
def test_a_header_whose_name_is_not_utf8(
    address: Address, log: SqliteLog, appender: Appender, compression: str | None
) -> None:
    """What the client library cannot read at all is a dead letter too, and hides nothing around it."""
    poison = Sent([*record_of(thumb(1000)).headers, (NotText("ce_x"), b"1"), ("b", b"\xff")], b"[]")
    records = [*mixed(40), *[poison] * 4, *mixed(40, 40), Sent([], None), *mixed(60, 80)]

    async def run() -> None:
        await asyncio.to_thread(produce, address, records, compression)
        async with reading(address, appender, log) as (intake, _):
            await settled(address, 145)
            await asyncio.to_thread(produce, address, [poison, *mixed(54, 140)], compression)
            await settled(address, 200)
            assert intake.failure == ""

    asyncio.run(run())
    views = Views(log)
    assert (views.facts, views.items) == (194, 194)
    assert len({letter.origin for letter in views.letters}) == len(views.letters) == 6
    assert views.codes == {problems.INVALID_VALUE: 5, problems.INVALID_JSON: 1}
    assert {letter.id for letter in views.letters} == {"e-1000", None}


@pytest.mark.parametrize("poison", [[], [(NotText("ce_x"), b"1")]], ids=["read", "read tolerantly"])
def test_an_aborted_transaction_was_never_said(
    address: Address, log: SqliteLog, appender: Appender, poison: list[tuple[str, bytes]]
) -> None:
    """Of a product's transactions only what was committed counts, also where records are read by hand."""
    producer = KafkaProducer(
        bootstrap_servers=address.bootstrap, transactional_id=f"product-{address.prefix}", acks="all"
    )
    producer.init_transactions()

    def transaction(*numbers: int, kept: bool) -> None:
        producer.begin_transaction()
        for number in numbers:
            headers, value = binary(number)
            producer.send(address.intake, value, headers=[*headers, *poison], partition=0)
        producer.flush()
        (producer.commit_transaction if kept else producer.abort_transaction)()

    async def run() -> None:
        async with reading(address, appender, log):
            await until(lambda: Views(log).items == 3, "what was committed")
            transaction(6, kept=False)
            transaction(7, kept=True)
            await until(lambda: Views(log).items == 4, "what was committed then")

    with closing(producer):
        transaction(1, 2, kept=True)
        transaction(3, 4, kept=False)
        transaction(5, kept=True)
        asyncio.run(run())
    assert (Views(log).facts, Views(log).letters) == (4, [])


def test_what_was_received_when(address: Address, log: SqliteLog, appender: Appender) -> None:
    """The instant of receipt is that of reading, by the collector's clock."""
    metrics = Metrics()
    keeper = Keeper(appender, log.identity.partitions, metrics=metrics)
    intake = Intake(address, keeper, metrics, clock=lambda: 1_700_000_000_000_000_000)

    async def run() -> None:
        await asyncio.to_thread(produce, address, mixed(4))
        await intake.start()
        await settled(address, 4)
        await intake.stop()

    asyncio.run(run())
    assert value_of(metrics, "loopline_clock_ahead_total") == 4


def test_a_missing_topic_is_refused(kafka: Cluster, log: SqliteLog, appender: Appender) -> None:
    """Without the topic a collector does not start, and says what to do; nothing makes the topic."""
    address = Address.parse(kafka.address(unique_prefix()))

    async def run() -> None:
        for _ in range(2):
            with pytest.raises(
                NoIntake, match=rf"{address.intake} is not there: run `loopline topics ensure`"
            ):
                async with reading(address, appender, log):
                    pass

    asyncio.run(run())


def test_no_broker_is_refused(log: SqliteLog, appender: Appender) -> None:
    """Where no broker answers, a collector does not start."""

    async def run() -> None:
        with pytest.raises(LogUnavailable, match=r"no broker of kafka://127\.0\.0\.1:9/"):
            async with reading(Address(("127.0.0.1:9",)), appender, log):
                pass

    asyncio.run(run())


@pytest.mark.crash
def test_killed_between_append_and_commit(address: Address, tmp_path: Path) -> None:
    """What was appended and not committed is read again: twice in the log, once in the views."""
    path, plan = tmp_path / "log.db", tmp_path / "plan"
    create_log(path, 2)
    produce(address, [*mixed(400), *_POISON])
    plan.write_text("intake.3:1")
    command = [sys.executable, "-m", "tests.streams.kafka.taking", str(address), str(path)]
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
    assert len({letter.origin for letter in views.letters}) == len(_POISON)


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
    assert views.letters == []


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


class Half:
    """A writer that keeps one partition at the first try, and all that is missing at the second."""

    position = ""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    async def submit(self, batch: Batch) -> str:
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
    intake = Intake(address, Keeper(half, 2, metrics=metrics), metrics)

    async def run() -> None:
        await asyncio.to_thread(produce, address, [*mixed(20), *_POISON])
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


def test_replaying_an_intake_letter(address: Address, log: SqliteLog, appender: Appender) -> None:
    """A refused record's letter has the bytes to send again: what binary mode sent is an event as JSON."""
    from streams.dead_letters import marked

    wrong = event(data={"prediction_id": "p-81", "value": "sideways"})

    async def run() -> None:
        await asyncio.to_thread(produce, address, [Sent(*record_of(item(wrong)))])
        async with reading(address, appender, log):
            await settled(address, 1)

    asyncio.run(run())
    [letter] = Views(log).letters
    assert (letter.code, letter.id, letter.source) == (problems.INVALID_VALUE, "e-2", "/shop")
    assert json.loads(marked("dead:0:0", letter.bytes)) == {**wrong, "looplinereplay": "dead:0:0"}
