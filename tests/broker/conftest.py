"""What the bad days share: a deployment on a broker and a database that are there for the whole run."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.deployment import Deployment
from tests.services.kafka.broker import Cluster

ROUNDS = int(os.environ.get("CRASH_ROUNDS", "4"))
"""How often what dies in turn dies; `CRASH_ROUNDS=50 make test ARGS=tests/broker` for many."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs both servers, and time to notice what went away."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.broker)
            item.add_marker(pytest.mark.postgres)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(240))


@pytest.fixture
def loopline(kafka: Cluster, postgres_url: str) -> Iterator[Deployment]:
    """An empty deployment, without collectors and workers yet, on servers that stay up."""
    with Deployment(kafka.address(f"t{secrets.token_hex(4)}"), postgres_url) as deployment:
        yield deployment
