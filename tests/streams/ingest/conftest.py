"""What the tests of the collector share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.streams.ingest.serving import Served


@pytest.fixture
def served() -> Iterator[Served]:
    """A collector with one partition."""
    served = Served()
    yield served
    served.log.open.set()
    served.appender.stop()
