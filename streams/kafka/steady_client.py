"""aiokafka's client, for clusters in which one broker hangs.

The library asks one broker after the other for the leaders, and connects to one at a time. A broker that
accepts connections and sends no answer blocks it for the whole time-out of a request, which for members of a
group is as long as a rebalance, and meanwhile it does not learn of new leaders. Here each broker has a few
seconds for requests that brokers answer at once; a broker without an answer is asked last for a while.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Collection
from typing import Any, TypeVar

from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.conn import CloseReason
from aiokafka.errors import KafkaError, RequestTimedOutError
from aiokafka.protocol.commit import OffsetCommitRequest, OffsetFetchRequest
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.group import HeartbeatRequest
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest

from streams.kafka.address import Address
from streams.kafka.connect import answering

T = TypeVar("T")

METADATA_MS = 5_000
"""How old what a client knows of the leaders may be; the library's own is five minutes."""

_ASIDE_S = 2.0
_ANSWERED_AT_ONCE = (
    FindCoordinatorRequest,
    HeartbeatRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
    OffsetRequest,
)


async def options(address: Address) -> dict[str, Any]:
    """What a client is told to reach the brokers of an address that answer now. Raises LogUnavailable."""
    servers = await asyncio.to_thread(answering, address)
    return {**address.client_options, "bootstrap_servers": servers}


def steady(owner: T) -> T:
    """A consumer or producer that was just made, with a client that does not wait for a broker that hangs."""
    # The library makes its client itself, and leaves no other way in.
    client: Any = getattr(owner, "_client", None) or owner.client  # type: ignore[attr-defined]  # of both kinds
    client.__class__ = SteadyClient
    client.aside = {}
    return owner


class SteadyClient(AIOKafkaClient):  # type: ignore[misc]  # the library says no types
    """`steady` makes one of a client; `aside` says until when each broker without an answer is set aside.

    A broker has `connect_s` to take a connection, and `answer_s` for what every broker answers at once.
    """

    aside: dict[Any, float]
    connect_s: float = 3.0
    answer_s: float = 3.0

    async def _get_conn(self, node_id: Any, *, group: Any = ConnectionGroup.DEFAULT, **how: Any) -> Any:
        open_one = self._conns.get((node_id, group))
        if (open_one is None or not open_one.connected()) and self._is_aside(node_id):
            self.force_metadata_update()
            return None
        try:
            async with asyncio.timeout(self.connect_s):
                return await super()._get_conn(node_id, group=group, **how)
        except TimeoutError:
            self._set_aside(node_id)
            self.force_metadata_update()
            return None

    async def send(self, node_id: Any, request: Any, *, group: Any = ConnectionGroup.DEFAULT) -> Any:
        """A broker's answer. Raises KafkaError."""
        if not isinstance(request, _ANSWERED_AT_ONCE):
            return await super().send(node_id, request, group=group)
        try:
            async with asyncio.timeout(self.connect_s + self.answer_s):
                return await super().send(node_id, request, group=group)
        except TimeoutError:
            self._set_aside(node_id)
            if (connection := self._conns.get((node_id, group))) is not None:
                connection.close(reason=CloseReason.CONNECTION_TIMEOUT)
            raise RequestTimedOutError from None

    async def _metadata_update(self, cluster_metadata: Any, topics: Collection[str]) -> bool:
        """Ask for the leaders, those set aside last; as the library does, with shorter time-outs."""
        request = MetadataRequest(list(topics) if topics else None)
        nodes = [broker.nodeId for broker in self.cluster.brokers()]
        random.shuffle(nodes)
        if ("bootstrap", ConnectionGroup.DEFAULT) in self._conns:
            nodes.append("bootstrap")
        for node in sorted(nodes, key=self._is_aside):
            connection = await self._get_conn(node)
            if connection is None:
                continue
            try:
                async with asyncio.timeout(self.answer_s):
                    metadata = await connection.send(request)
            except TimeoutError:
                self._set_aside(node)
            except KafkaError:
                continue
            else:
                if not metadata.brokers:
                    return False
                cluster_metadata.update_metadata(metadata)
                first = self._conns.pop(("bootstrap", ConnectionGroup.DEFAULT), None)
                if first is not None:
                    first.close()
                return True
        cluster_metadata.failed_update(None)
        return False

    def _is_aside(self, node_id: Any) -> bool:
        return self.aside.get(node_id, 0.0) > time.monotonic()

    def _set_aside(self, node_id: Any) -> None:
        self.aside[node_id] = time.monotonic() + _ASIDE_S
