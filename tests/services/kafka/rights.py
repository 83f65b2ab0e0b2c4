"""Users of the shared broker that log in, and what they may do there."""

from __future__ import annotations

import argparse
import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ACLResourcePatternType,
    KafkaAdminClient,
    ResourcePattern,
    ResourceType,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from streams.kafka.security import SASL_SSL, Security
from tests.services.kafka.broker import Cluster


@contextlib.contextmanager
def admin_of(kafka: Cluster) -> Iterator[Any]:
    """A client that may do everything: it comes by the listener without logins."""
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    try:
        yield client
    finally:
        client.close()


def user_of(kafka: Cluster, name: str, password: str = "s3cret-s3cret") -> Security:
    """Make a user who logs in by SCRAM-SHA-512, and say how; skips where there are no certificates."""
    if kafka.certificates is None:
        pytest.skip("there is no openssl here")
    with admin_of(kafka) as client:
        made = UserScramCredentialUpsertion(name, ScramMechanism.SCRAM_SHA_512, password)
        assert client.alter_user_scram_credentials([made]) == {name: None}
    return Security(SASL_SSL, str(kafka.certificates.ca), username=name, password=password)


def documented_rights(page: str) -> list[list[str]]:
    """The words behind `kafka-acls` of each command that a page lists."""
    return [line.split()[1:] for line in page.splitlines() if line.startswith("kafka-acls ")]


def grant(kafka: Cluster, rights: list[list[str]], names: Mapping[str, str]) -> None:
    """Do what these commands say, with other names: each begins with one of `names`, which is replaced."""
    acls = []
    for words in rights:
        given = _PARSER.parse_args(words)
        kind = (
            ResourceType.TOPIC if given.topic else ResourceType.GROUP if given.group else ResourceType.CLUSTER
        )
        name = given.topic or given.group or "kafka-cluster"
        user = given.allow_principal.removeprefix("User:")
        pattern = ResourcePattern(
            kind, _renamed(name, names), ACLResourcePatternType[given.resource_pattern_type.upper()]
        )
        acls += [
            ACL(f"User:{names[user]}", "*", operation, ACLPermissionType.ALLOW, pattern)
            for operation in (ACLOperation[_SPELLED.sub("_", each).upper()] for each in given.operation)
        ]
    with admin_of(kafka) as client:
        assert client.create_acls(acls)["failed"] == []


def _renamed(name: str, names: Mapping[str, str]) -> str:
    return name.replace("loopline", names["loopline"], 1)


_SPELLED = re.compile(r"(?<=[a-z])(?=[A-Z])")
_PARSER = argparse.ArgumentParser()
_PARSER.add_argument("--add", action="store_true", required=True)
_PARSER.add_argument("--allow-principal", required=True)
_PARSER.add_argument("--operation", action="append", required=True)
_PARSER.add_argument("--topic")
_PARSER.add_argument("--group")
_PARSER.add_argument("--cluster", action="store_true")
_PARSER.add_argument("--resource-pattern-type", default="literal")
