"""Where a Kafka log is: its brokers, and the prefix that the names of its topics and groups begin with.

An address is written `kafka://HOST:PORT[,HOST:PORT...][/PREFIX]`; how the brokers are reached goes along with
it, and is never written into it. Connecting is left to who uses it.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple, Self

from schemas.errors import Malformed
from streams.kafka.security import UNSECURED, Security, client_options

SCHEME = "kafka://"
DEFAULT_PREFIX = "loopline"

_SERVER = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*\.?|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
# Kafka's own rule for topics, short enough for the longest name that is made of it.
_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}")


class BadAddress(Malformed):
    """A text that is no address of a Kafka log."""


class Address(NamedTuple):
    """The brokers to ask first, each as `HOST:PORT`, the prefix, and how to reach them."""

    servers: tuple[str, ...]
    prefix: str = DEFAULT_PREFIX
    security: Security = UNSECURED

    @classmethod
    def parse(cls, text: str, security: Security = UNSECURED) -> Self:
        """The address that a text like `kafka://127.0.0.1:9092/loopline` names. Raises BadAddress."""
        if not text.startswith(SCHEME):
            raise BadAddress(
                f"{text!r} is no address of a Kafka log: write {SCHEME}HOST:PORT[,HOST:PORT][/PREFIX]"
            )
        brokers, slash, prefix = text.removeprefix(SCHEME).partition("/")
        if "@" in brokers:
            raise BadAddress(
                f"an address holds no user name and no password: write {SCHEME}HOST:PORT, and set"
                " kafka_username and kafka_password"
            )
        servers = tuple(brokers.split(","))
        for server in servers:
            match = _SERVER.fullmatch(server)
            if match is None or not 0 < int(match[1]) < 65536:
                raise BadAddress(f"{server!r} is no broker: write HOST:PORT, as in {SCHEME}127.0.0.1:9092")
        if not slash or not prefix:
            return cls(servers, security=security)
        if _PREFIX.fullmatch(prefix) is None:
            raise BadAddress(
                f"{prefix!r} is no prefix of topics: letters, digits, `.`, `_` and `-`, at most 200, no slash"
            )
        return cls(servers, prefix, security)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bootstrap}/{self.prefix}"

    @property
    def bootstrap(self) -> str:
        """The brokers as clients take them: `HOST:PORT,HOST:PORT`."""
        return ",".join(self.servers)

    @property
    def client_options(self) -> dict[str, Any]:
        """What every client, of kafka-python or of aiokafka, is told to reach them; a password is in it."""
        return {"bootstrap_servers": self.bootstrap, **client_options(self.security)}

    def log_topic(self, epoch: int) -> str:
        """The topic of an epoch's blocks."""
        return f"{self.prefix}.log.{epoch}"

    @property
    def intake(self) -> str:
        """The topic to which products may produce events themselves."""
        return f"{self.prefix}.intake"

    @property
    def dead_letters(self) -> str:
        """The topic of refused items, one a record."""
        return f"{self.prefix}.dead-letters"

    @property
    def intake_group(self) -> str:
        """The consumer group in which collectors read the intake."""
        return f"{self.prefix}-intake"
