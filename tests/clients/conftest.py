"""What the client's tests share: the fake server, clients that are closed again, a short backoff."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from loopline import Client
from loopline.backoff import Pauses
from tests.services.fake_server import FakeServer, serving

Make = Callable[..., Client]
QUICK = Pauses(first=0.01)
"""A client that tries again at once, so to speak."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A fake server that accepts everything until it is scripted."""
    with serving() as fake:
        yield fake


@pytest.fixture
def make(server: FakeServer) -> Iterator[Make]:
    """Makes clients of the fake server, and closes them when the test ends."""
    made: list[Client] = []

    def client(**settings: Any) -> Client:
        usual = {"url": server.url, "source": "/test/product", "linger": 0.005, "pauses": QUICK}
        settings = {**usual, **settings}
        made.append(Client(**settings))
        return made[-1]

    yield client
    server.released.set()
    for each in made:
        each.close(1.0)
