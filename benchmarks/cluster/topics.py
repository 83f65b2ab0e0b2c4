"""Topics that are filled before the clock starts, with confluent's client: no part of what is measured."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

_MOST_WAITING = 50_000


def create(bootstrap: str, *names: str, partitions: int = 1) -> None:
    """Make topics on a single broker; returns when they are there."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.create_topics(
        [NewTopic(name, num_partitions=partitions, replication_factor=1) for name in names]
    ).values():
        future.result(30)


def fill(bootstrap: str, topic: str, records: Iterable[tuple[int, bytes | None, bytes]]) -> None:
    """Append (partition, key, value) records; they are acknowledged when this returns."""
    failures: list[str] = []

    def delivered(error: object, _: object) -> None:
        if error is not None:
            failures.append(str(error))

    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "acks": "all",
            "linger.ms": 20,
            "queue.buffering.max.messages": 2 * _MOST_WAITING,
            "queue.buffering.max.kbytes": 1 << 20,
        }
    )
    for partition, key, value in records:
        while len(producer) >= _MOST_WAITING:
            producer.poll(0.05)
        producer.produce(topic, value, key, partition, on_delivery=delivered)
        producer.poll(0)
    producer.flush(60)
    if failures or len(producer):
        raise RuntimeError(f"{topic} was not filled: {failures[:1]}, {len(producer)} are waiting")
