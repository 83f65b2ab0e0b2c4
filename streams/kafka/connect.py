"""A client of the brokers for commands and readers, and which log is at an address.

The machine of a broker that hangs still accepts connections. So only brokers that answer are connected to,
and a client is returned only with an open connection to one of them.

The topics are only read here; `streams.kafka.topics.admin` makes and checks them.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAuthorizationFailedError, for_code
from kafka.future import Future
from kafka.net.compat import KafkaNetClient

from streams.daemon_pool import start_daemon
from streams.kafka.address import Address
from streams.kafka.security import UNSECURED, KafkaRefused, denied, tls_context
from streams.log.port import DEAD, LogIdentity, LogMissing, LogRefused, LogUnavailable

CLIENT: Mapping[str, Any] = {
    "request_timeout_ms": 5_000,
    "bootstrap_timeout_ms": 4_000,
    "reconnect_backoff_max_ms": 1_000,
    "metadata_max_age_ms": 10_000,
}
"""Short enough for a person to wait; the libraries' own are half a minute, and five minutes for a leader."""

# To take a connection, be it over TLS, is not to wait for half a minute either.
_CONNECTING = {"socket_connection_setup_timeout_ms": 2_000, "socket_connection_setup_timeout_max_ms": 4_000}
_ANSWER_S = 2.0
_OTHERS_S = 0.1
# ApiVersions, version 0, of a client without a name: what every broker answers before anything else.
_HELLO = bytes.fromhex("0000000a 0012 0000 00000000 ffff")
_UNKNOWN_TOPIC = 3

# The library logs each closed connection as an error; the caller reports the result.
logging.getLogger("kafka").setLevel(logging.CRITICAL)
_EPOCHS_AT_ONCE = 4


class Epochs(NamedTuple):
    """A log's identity, and the topic partition that each of its partitions is."""

    identity: LogIdentity
    topic_partitions: dict[int, TopicPartition]


@contextlib.contextmanager
def admin(address: Address) -> Iterator[Any]:
    """A client for the topics at an address. Raises LogUnavailable when no broker answers, or LogRefused."""
    client = connected(address)
    try:
        yield client
    except (KafkaError, OSError) as error:
        if isinstance(error, LogUnavailable):
            raise
        raise failed(address, error) from error
    finally:
        client.close()


def connected(address: Address, **settings: Any) -> Any:
    """A client with a connection to a broker that answers, which its requests go to first.

    Raises LogUnavailable when there is none, and KafkaRefused when the brokers do not let this client in.
    """
    servers = answering(address)
    if address.security != UNSECURED:
        # The library would try for seconds, and not say why it is refused.
        _refuse(address)
    made: list[Any] = []

    def net_client(**options: Any) -> Any:
        made.append(KafkaNetClient(**_CONNECTING, **options))
        return made[0]

    try:
        client = KafkaAdminClient(
            **{**address.client_options, "bootstrap_servers": servers, **CLIENT, **settings},
            kafka_client=net_client,
        )
    except (KafkaError, OSError) as error:
        # It has a thread by then, that nobody else could end.
        for each in made:
            each.close()
        raise failed(address, error) from error
    try:
        client._manager.run(_until_connected, client._manager)
    except BaseException as error:
        client.close()
        if isinstance(error, KafkaError | OSError):
            raise failed(address, error) from error
        raise
    return client


async def _until_connected(manager: Any) -> None:
    """Connect to all brokers, and wait for the first of them."""
    first = Future()

    def came(_: object) -> None:
        if not first.is_done:
            first.success(None)

    for broker in manager.cluster.brokers():
        manager.get_connection(broker.node_id).init_future.add_callback(came)
    await manager.wait_for(first, _ANSWER_S * 1000)


def failed(address: Address, error: Exception) -> Exception:
    """What a client's error means: that the brokers deny something, or do not answer.

    Raises KafkaRefused when they do not let this client in at all.
    """
    if denial := denied(error, address.security):
        return KafkaRefused(denial)
    _refuse(address)
    return _unanswered(address, error)


def _refuse(address: Address) -> None:
    """Raises KafkaRefused when the brokers answer, and do not let this client in."""
    # Loaded late: it needs the other client library.
    from streams.kafka.diagnosis import refuse

    refuse(address)


def _unanswered(address: Address, error: object) -> LogUnavailable:
    return LogUnavailable(
        f"no broker of {address} answers: {str(error) or type(error).__name__}. Check that they run and can"
        " be reached; nothing is lost, and Loopline continues when they are back."
    )


def answering(address: Address) -> list[str]:
    """The servers of an address that answer now. Raises LogUnavailable when none does within two seconds.

    A server that closes the connection has answered too; one that sends nothing, or accepts no connection,
    has not.
    """
    answers: queue.SimpleQueue[tuple[str, Exception | None]] = queue.SimpleQueue()
    for server in address.servers:
        start_daemon("greeting", partial(_greet, server, _hello(address, server), answers))
    found: list[str] = []
    why: Exception | None = None
    deadline = time.monotonic() + _ANSWER_S + _OTHERS_S
    for _ in address.servers:
        try:
            server, error = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            break
        if error is None:
            found.append(server)
            deadline = min(deadline, time.monotonic() + _OTHERS_S)
        else:
            why = error
    if not found:
        raise _unanswered(address, why or "they accept connections and send no answer")
    return found


def _hello(address: Address, server: str) -> bytes:
    """The first bytes that a client of this address sends."""
    if not address.security.encrypted:
        return _HELLO
    outgoing = ssl.MemoryBIO()
    context = tls_context(address.security)
    greeting = context.wrap_bio(
        ssl.MemoryBIO(), outgoing, server_hostname=server.rpartition(":")[0].strip("[]")
    )
    with contextlib.suppress(ssl.SSLWantReadError):
        greeting.do_handshake()
    return outgoing.read()


def _greet(server: str, hello: bytes, answers: queue.SimpleQueue[tuple[str, Exception | None]]) -> None:
    host, _, port = server.rpartition(":")
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), _ANSWER_S) as connection,
            # To hang up is to answer.
            contextlib.suppress(ConnectionError),
        ):
            connection.sendall(hello)
            connection.recv(1)
    except (OSError, ValueError) as error:
        # The latter is a name that cannot be one.
        answers.put((server, error))
    else:
        answers.put((server, None))


def described(client: Any, names: Sequence[str]) -> dict[str, Any]:
    """The brokers' descriptions of these topics; topics that do not exist are left out."""
    found = {}
    for topic in client.describe_topics(list(names)):
        if topic["error_code"] == 0:
            found[topic["name"]] = topic
        elif topic["error_code"] != _UNKNOWN_TOPIC:
            if (error := for_code(topic["error_code"])) is TopicAuthorizationFailedError:
                raise error(topic["name"])
            raise LogUnavailable(f"the brokers cannot describe the topic {topic['name']} now")
    return found


def epoch_topics(client: Any, address: Address) -> list[Any]:
    """The log's topics, oldest epoch first; empty when there is none. Raises LogRefused."""
    found: list[Any] = []
    while True:
        numbers = range(len(found) + 1, len(found) + 1 + _EPOCHS_AT_ONCE)
        topics = described(client, [address.log_topic(number) for number in numbers])
        present = [topics.get(address.log_topic(number)) for number in numbers]
        count = next((index for index, topic in enumerate(present) if topic is None), len(present))
        if any(topic is not None for topic in present[count:]):
            gone = address.log_topic(numbers[count])
            raise LogRefused(
                f"the topic {gone} is missing and a later one exists: the log has lost an epoch."
                " Restore a backup of the brokers."
            )
        found += present[:count]
        if count < len(present):
            return found


def look_up(client: Any, address: Address) -> Epochs:
    """Which log lies at an address. Raises KafkaError, LogUnavailable, LogMissing or LogRefused."""
    topics = epoch_topics(client, address)
    dead_letters = described(client, [address.dead_letters])
    if not topics:
        raise LogMissing(
            f"there is no topic {address.log_topic(1)} at {address.bootstrap}: run `loopline topics ensure`"
        )
    if not dead_letters:
        raise LogMissing(f"there is no topic {address.dead_letters}: run `loopline topics ensure`")
    counts = [len(topic["partitions"]) for topic in topics]
    identity = LogIdentity(str(topics[0]["topic_id"]), len(counts), counts[-1], tuple(counts[:-1]))
    topic_partitions = {
        partition: TopicPartition(address.log_topic(epoch), partition - span.start)
        for epoch, span in enumerate(identity.epochs(), 1)
        for partition in span
    }
    return Epochs(identity, {**topic_partitions, DEAD: TopicPartition(address.dead_letters, 0)})
