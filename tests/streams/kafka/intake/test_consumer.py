"""The intake against a real broker: every record is an event or a dead letter, and counts once."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from contextlib import closing

import pytest
from kafka import KafkaProducer

from schemas import problems
from streams.ingest.receipts import Receipts
from streams.ingest.recorder import Recorder
from streams.kafka.address import Address
from streams.kafka.intake.cloudevents import BATCH, record_of
from streams.kafka.intake.consumer import MAX_KEPT_BYTES, Intake, NoIntake
from streams.log.port import LogUnavailable
from streams.log.sqlite import SqliteLog
from streams.log.writer import Appender
from streams.metrics import Metrics
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix
from tests.streams.kafka.intake.intakes import (
    POISON,
    POISON_CODES,
    Sent,
    Views,
    binary,
    mixed,
    produce,
    reading,
    settled,
    thumb,
    until,
    value_of,
)
from tests.streams.sent import event, item

pytestmark = pytest.mark.broker


def test_a_thousand_records_in_both_modes(address: Address, log: SqliteLog, appender: Appender) -> None:
    """Every good record is an event in the views, every bad one a dead letter that names its record."""
    records = mixed(900)
    records += [
        Sent([("content-type", BATCH.encode())], b"[" + thumb(900) + b"," + thumb(901) + b",nope]"),
        Sent([], thumb(902)),
        Sent([], thumb(5)),
        *POISON * 10,
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
    expected = Counter({code: 10 * count for code, count in POISON_CODES.items()})
    expected.update({problems.UNKNOWN_TYPE: 27, problems.INVALID_JSON: 1})
    assert views.codes == expected
    origins = {letter.origin for letter in views.dead_letters}
    assert len(origins) == 98
    assert {origin and origin[0] for origin in origins} == {address.intake}
    for letter in views.dead_letters:
        assert letter.origin is not None
        _, partition, offset = letter.origin
        sent = records[offset * 4 + partition]
        if sent.value is not None and sent.value == POISON[3].value:
            assert letter.bytes == sent.value[: len(letter.bytes)]
            assert letter.detail.endswith(
                f"of {len(sent.value)} bytes the first {len(letter.bytes)} are kept here"
            )
        elif sent in POISON[:3]:
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
    assert len({letter.origin for letter in views.dead_letters}) == len(views.dead_letters) == 6
    assert views.codes == {problems.INVALID_VALUE: 5, problems.INVALID_JSON: 1}
    assert {letter.id for letter in views.dead_letters} == {"e-1000", None}


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
    assert (Views(log).facts, Views(log).dead_letters) == (4, [])


def test_what_was_received_when(address: Address, log: SqliteLog, appender: Appender) -> None:
    """The instant of receipt is that of writing it down, by the collector's clock."""
    metrics = Metrics()
    receipts = Receipts(lambda: 1_700_000_000_000_000_000)
    recorder = Recorder(appender, log.identity.partitions, metrics=metrics, receipts=receipts)
    intake = Intake(address, recorder, metrics)

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
            with pytest.raises(NoIntake, match=rf"{address.intake} is missing: run `loopline topics ensure`"):
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


def test_replaying_an_intake_letter(address: Address, log: SqliteLog, appender: Appender) -> None:
    """A refused record's letter has the bytes to send again: what binary mode sent is an event as JSON."""
    from streams.ingest.replay import marked

    wrong = event(data={"prediction_id": "p-81", "value": "sideways"})

    async def run() -> None:
        await asyncio.to_thread(produce, address, [Sent(*record_of(item(wrong)))])
        async with reading(address, appender, log):
            await settled(address, 1)

    asyncio.run(run())
    [letter] = Views(log).dead_letters
    assert (letter.code, letter.id, letter.source) == (problems.INVALID_VALUE, "e-2", "/shop")
    assert json.loads(marked("dead:0:0", letter.bytes)) == {**wrong, "looplinereplay": "dead:0:0"}
