"""Refused items as they come back from Kafka: whatever a record says, its row can be written."""

from __future__ import annotations

import pytest

from streams.kafka.intake.cloudevents import items_of
from streams.kafka.log.dead_letters import Headers, block_of, dead_letter_record
from streams.log.block import DeadLetter
from streams.log.port import DEAD
from streams.projection.apply import Block, BlockBatch, apply
from streams.store.postgres import PostgresStore
from streams.store.tables import DEAD_LETTERS

LONG = "".join(chr(0x10000 + number * 61) for number in range(4096))
OURS = [("loopline.code", b"invalid_value"), ("loopline.received", b"1")]


def from_the_intake(*headers: tuple[str, bytes]) -> Headers:
    """The headers of the dead letter that a record of the intake topic becomes."""
    [(item, problem)] = items_of(headers, b"{}")
    assert problem is not None
    return dead_letter_record(
        1, DeadLetter(problem.code, problem.detail, None, None, item), "loopline"
    ).headers


def test_a_foreign_record_from_any_time_can_be_written(store: PostgresStore) -> None:
    """Where a topic keeps producers' timestamps, they may say anything; the instant is the same each time."""
    batch = BlockBatch(store.log)
    for offset, timestamp_ms in enumerate((-1, 2**62)):
        record = block_of(b"{}", [], timestamp_ms)
        assert record == block_of(b"{}", [], timestamp_ms)
        batch.add(Block(DEAD, offset, record))
    assert apply(store, batch) == 2


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param(from_the_intake(("ce_a\x00b", b"\xff")), id="zero in an attribute's name"),
        pytest.param([*OURS, ("__connect.errors.exception.message", b"a\x00b")], id="zero in a detail"),
        pytest.param([*OURS, ("loopline.id", b"a\x00b")], id="zero in an id"),
        pytest.param([*OURS, ("loopline.id", LONG.encode())], id="a long id"),
        pytest.param([*OURS, ("loopline.source", LONG.encode())], id="a long source"),
        pytest.param([("loopline.code", LONG.encode()), OURS[1]], id="a long code"),
        pytest.param([OURS[0], ("loopline.received", b"9" * 19)], id="an instant out of range"),
    ],
)
def test_no_record_of_dead_letters_stops_a_worker(store: PostgresStore, headers: Headers) -> None:
    """Who may write to the topics cannot write what PostgreSQL would refuse for ever."""
    batch = BlockBatch(store.log)
    batch.add(Block(DEAD, 0, block_of(b"{}", headers, 1)))
    assert apply(store, batch) == 1
    with store.snapshot() as snapshot:
        [row] = snapshot.scan(DEAD_LETTERS)
        assert snapshot.positions()[DEAD].offset == 1
    assert row[3]
