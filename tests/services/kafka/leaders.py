"""Who leads the partitions of a topic, and another leader in its place, as after each restart of a broker."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from typing import Any

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient

_PREFERRED = 0
_PATIENCE_S = 20.0


@contextlib.contextmanager
def _asking(bootstrap: str) -> Iterator[Any]:
    client = KafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        yield client
    finally:
        client.close()


def leaders_of(bootstrap: str, topic: str) -> dict[int, int]:
    """The id of the broker that leads each partition."""
    with _asking(bootstrap) as client:
        return _leaders(client, topic)


def move_leaders(bootstrap: str, topics: Iterable[str]) -> None:
    """Let another broker lead each partition; all brokers stay up, and connected."""
    with _asking(bootstrap) as client:
        for topic in topics:
            [described] = client.describe_topics([topic])
            before = _leaders(client, topic)
            turned = {
                TopicPartition(topic, each["partition_index"]): _other_first(
                    each["replica_nodes"], before[each["partition_index"]]
                )
                for each in described["partitions"]
            }
            client.alter_partition_reassignments(turned)
            client.elect_leaders(_PREFERRED, {topic: list(before)})
            deadline = time.monotonic() + _PATIENCE_S
            while any(leader == before[place] for place, leader in _leaders(client, topic).items()):
                assert time.monotonic() < deadline, f"{topic} is still led by {before}"
                time.sleep(0.05)


def _leaders(client: Any, topic: str) -> dict[int, int]:
    [described] = client.describe_topics([topic])
    return {each["partition_index"]: each["leader_id"] for each in described["partitions"]}


def _other_first(replicas: list[int], leader: int) -> list[int]:
    first = next(each for each in replicas if each != leader)
    return [first, *(each for each in replicas if each != first)]
