"""Users of the shared broker that log in, and what they may do there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from kafka.admin import KafkaAdminClient, ScramMechanism, UserScramCredentialUpsertion

from streams.kafka.security import SASL_SSL, Security
from tests.kafka.broker import Cluster


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
