"""A broker that hangs keeps aiokafka's clients from nothing that others answer; no broker is needed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import RequestTimedOutError
from aiokafka.protocol.group import HeartbeatRequest

from streams.kafka.steady_client import SteadyClient

HANGS, ANSWERS = 1, 2


class Connection:
    """To a broker that answers with itself, or never."""

    def __init__(self, node: int) -> None:
        self.node = node
        self.closed = False

    def connected(self) -> bool:
        """Until it is closed."""
        return not self.closed

    def close(self, **_: Any) -> None:
        """Nobody waits for it any more."""
        self.closed = True

    async def send(self, _: Any, **__: Any) -> Any:
        """What a broker says."""
        if self.node == HANGS:
            await asyncio.sleep(60)
        return SimpleNamespace(brokers=[self.node])


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> SteadyClient:
    """A client of two brokers, of which one hangs, and which it asks first."""
    monkeypatch.setattr(random, "shuffle", lambda nodes: nodes.sort())
    client: SteadyClient = SteadyClient.__new__(SteadyClient)
    client.aside = {}
    client.connect_s = client.answer_s = 0.05
    client.cluster = SimpleNamespace(
        told=[],
        brokers=lambda: [SimpleNamespace(nodeId=node) for node in (HANGS, ANSWERS)],
        failed_update=lambda _: None,
        update_metadata=lambda metadata: client.cluster.told.extend(metadata.brokers),
    )
    client._conns = {(node, 0): Connection(node) for node in (HANGS, ANSWERS)}
    monkeypatch.setattr(client, "force_metadata_update", lambda: None)
    return client


def soon(what: Callable[[], Awaitable[Any]]) -> Any:
    """What comes of it, within moments."""

    async def within() -> Any:
        async with asyncio.timeout(5):
            return await what()

    return asyncio.run(within())


def test_who_leads_is_asked_of_the_next_broker(client: SteadyClient) -> None:
    """The one that hangs has its moment, and is asked last from then on."""
    assert soon(lambda: client._metadata_update(client.cluster, ["t"]))
    assert client.cluster.told == [ANSWERS]
    client._conns[HANGS, 0].node = ANSWERS
    assert soon(lambda: client._metadata_update(client.cluster, ["t"]))
    assert client.cluster.told == [ANSWERS, ANSWERS]
    assert client._is_aside(HANGS)


def test_a_heartbeat_that_is_not_answered_is_given_up(client: SteadyClient) -> None:
    """Its connection is closed; what has to wait for others, as joining a group has, is waited for."""
    with pytest.raises(RequestTimedOutError):
        soon(lambda: client.send(HANGS, HeartbeatRequest("g", 1, "m"), group=0))
    assert client._conns[HANGS, 0].closed


def test_nobody_waits_for_a_connection_to_who_is_aside(client: SteadyClient) -> None:
    """To connect takes its moment once; then others are gone on with at once."""
    client._conns = {}

    async def hangs(*_: Any, **__: Any) -> None:
        await asyncio.sleep(60)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AIOKafkaClient, "_get_conn", hangs)
        assert soon(lambda: client._get_conn(HANGS, group=0)) is None
        assert client._is_aside(HANGS)
        client.connect_s = 60.0
        assert soon(lambda: client._get_conn(HANGS, group=0)) is None
