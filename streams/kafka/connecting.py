"""What every connection to the brokers from a command or a reader has in common; and which log lies there.

The topics are only looked at here; making and checking them is left to `streams.kafka.topics`.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError, TopicAuthorizationFailedError, for_code

from streams.kafka.address import Address
from streams.kafka.security import UNSECURED, KafkaRefused, denied
from streams.log.port import DEAD, LogIdentity, LogMissing, LogRefused, LogUnavailable

CLIENT: Mapping[str, Any] = {
    "request_timeout_ms": 5_000,
    "bootstrap_timeout_ms": 4_000,
    "reconnect_backoff_max_ms": 1_000,
}
"""Short enough for somebody to wait for; the libraries' own are half a minute."""

_CONNECT_S = 2.0
_UNKNOWN_TOPIC = 3
_EPOCHS_AT_ONCE = 4


class Epochs(NamedTuple):
    """A log's identity, and the topic partition that each of its partitions is."""

    identity: LogIdentity
    places: dict[int, TopicPartition]


@contextlib.contextmanager
def admin(address: Address) -> Iterator[Any]:
    """A client for the topics at an address. Raises LogUnavailable when no broker answers."""
    _reach(address)
    try:
        client = KafkaAdminClient(**address.client_options, **CLIENT)
        try:
            yield client
        finally:
            client.close()
    except (KafkaError, OSError) as error:
        if isinstance(error, LogUnavailable):
            raise
        if said := denied(error, address.security):
            raise KafkaRefused(said) from error
        _refuse(address)
        raise LogUnavailable(
            f"no broker of {address} answers: {error or type(error).__name__}. Look whether they run and can"
            " be reached."
        ) from error


def _reach(address: Address) -> None:
    """Raises LogUnavailable when no broker takes a connection: sooner than the client libraries give up."""
    said: OSError | None = None
    for server in address.servers:
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
        except OSError as error:
            said = error
        else:
            if address.security != UNSECURED:
                # The library would try for seconds, and not say why it is refused.
                _refuse(address)
            return
    raise LogUnavailable(
        f"no broker of {address} takes a connection: {said}. Look whether they run and can be reached."
    )


def _refuse(address: Address) -> None:
    """Raises KafkaRefused when the brokers answer, and do not let this client in."""
    # Loaded late: it needs the other client library.
    from streams.kafka.diagnosis import refuse

    refuse(address)


def described(client: Any, names: Sequence[str]) -> dict[str, Any]:
    """What the brokers say of these topics; those that do not exist are left out."""
    found = {}
    for topic in client.describe_topics(list(names)):
        if topic["error_code"] == 0:
            found[topic["name"]] = topic
        elif topic["error_code"] != _UNKNOWN_TOPIC:
            if (error := for_code(topic["error_code"])) is TopicAuthorizationFailedError:
                raise error(topic["name"])
            raise LogUnavailable(f"the brokers cannot say now what the topic {topic['name']} is")
    return found


def epoch_topics(client: Any, address: Address) -> list[Any]:
    """The log's topics, oldest epoch first; empty when there is none. Raises LogRefused."""
    found: list[Any] = []
    while True:
        numbers = range(len(found) + 1, len(found) + 1 + _EPOCHS_AT_ONCE)
        topics = described(client, [address.log_topic(number) for number in numbers])
        present = [topics.get(address.log_topic(number)) for number in numbers]
        count = next((place for place, topic in enumerate(present) if topic is None), len(present))
        if any(topic is not None for topic in present[count:]):
            gone = address.log_topic(numbers[count])
            raise LogRefused(
                f"the topic {gone} is not there and a later one is: the log has lost an epoch."
                " Restore a backup of the brokers."
            )
        found += present[:count]
        if count < len(present):
            return found


def look_up(address: Address) -> Epochs:
    """Which log lies at an address. Raises LogUnavailable, LogMissing or LogRefused."""
    with admin(address) as client:
        topics = epoch_topics(client, address)
        letters = described(client, [address.dead_letters])
    if not topics:
        raise LogMissing(
            f"there is no topic {address.log_topic(1)} at {address.bootstrap}: run `loopline topics ensure`"
        )
    if not letters:
        raise LogMissing(f"there is no topic {address.dead_letters}: run `loopline topics ensure`")
    counts = [len(topic["partitions"]) for topic in topics]
    identity = LogIdentity(str(topics[0]["topic_id"]), len(counts), counts[-1], tuple(counts[:-1]))
    places = {
        partition: TopicPartition(address.log_topic(epoch), partition - span.start)
        for epoch, span in enumerate(identity.epochs(), 1)
        for partition in span
    }
    return Epochs(identity, {**places, DEAD: TopicPartition(address.dead_letters, 0)})
