"""The brokers that tests share: one for most, three for what needs replicas; each session's own.

A test keeps to itself by a prefix of its own: `kafka.address(unique_prefix())`. A test that stops or
freezes a shared broker starts it again before it ends. Without Java they skip, with the reason.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.kafka.broker import Cluster
from tests.kafka.jars import KafkaMissing, kafka_jars


def unique_prefix() -> str:
    """A prefix of topics that no other test uses."""
    return f"t-{uuid.uuid4().hex[:12]}"


def _cluster(brokers: int) -> Iterator[Cluster]:
    try:
        kafka_jars()
    except KafkaMissing as missing:
        pytest.skip(str(missing))
    with Cluster(brokers, secured=brokers == 1) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def kafka() -> Iterator[Cluster]:
    """One broker; its listeners with TLS and logins are for `tests.kafka.rights`."""
    yield from _cluster(1)


@pytest.fixture(scope="session")
def kafka_cluster() -> Iterator[Cluster]:
    """Three brokers."""
    yield from _cluster(3)
