"""The brokers that tests share: one for most, three for what needs replicas; each session's own.

A test keeps to itself by a prefix of its own: `kafka.address(unique_prefix())`. A test that stops or
freezes a shared broker starts it again before it ends. Without Java they skip, with the reason.

A broker costs the processor something while nobody asks it too: where several processes run the tests,
brokers end when the next test needs none.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.services.kafka.broker import Cluster
from tests.services.kafka.jars import KafkaMissing
from tests.services.kafka.prepared import prepared


def unique_prefix() -> str:
    """A prefix of topics that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


_SHARED: dict[str, Cluster] = {}
"""By the name of their fixture."""


def start_needed(item: pytest.Item) -> None:
    """Start those that the test needs and that have ended, or that an earlier test has left stopped."""
    for fixture in getattr(item, "fixturenames", ()):
        cluster = _SHARED.get(fixture)
        if cluster is not None and not all(broker.running for broker in cluster.brokers):
            cluster.start()


def end_unneeded(config: pytest.Config, next_item: pytest.Item | None) -> None:
    """End those that the next test does not need, in one of several processes."""
    if hasattr(config, "workerinput"):
        for fixture, cluster in _SHARED.items():
            if fixture not in getattr(next_item, "fixturenames", ()):
                cluster.kill()


def _cluster(fixture: str, brokers: int) -> Iterator[Cluster]:
    try:
        prepared()
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    with Cluster(brokers, secured=brokers == 1) as cluster:
        _SHARED[fixture] = cluster
        yield cluster
        del _SHARED[fixture]


@pytest.fixture(scope="session")
def kafka() -> Iterator[Cluster]:
    """One broker; its listeners with TLS and logins are for `tests.services.kafka.rights`."""
    yield from _cluster("kafka", 1)


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[Cluster]:
    """Three brokers."""
    yield from _cluster("kafka_cluster", 3)
