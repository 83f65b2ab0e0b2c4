"""An intake topic of a test's own, and the log behind it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from streams.kafka.address import Address
from streams.log.sqlite import SqliteLog, create_log
from streams.log.writer import Appender
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix
from tests.streams.kafka.intake.intakes import make_topic


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
