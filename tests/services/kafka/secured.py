"""What a broker needs to be reached as a managed Kafka is: certificates, TLS, logins and ACLs.

The listener without all that stays, and whoever comes by it may do everything: tests of other things use it.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

PLAIN_USER, PLAIN_PASSWORD = "product", "product-s3cret"
REAUTHENTICATE_MS = 4000
"""A login holds so long: the broker closes the connection of a client that goes on without another one."""


class Certificates(NamedTuple):
    """Files in PEM. `ca` signed the two others; nobody trusts `stranger`."""

    ca: Path
    broker: Path
    client: Path
    stranger: Path


def openssl_is_here() -> bool:
    """Whether certificates can be made on this machine."""
    return shutil.which("openssl") is not None


def certificates(folder: Path) -> Certificates:
    """Make them. The broker's is for localhost, and for no address."""
    folder.mkdir(parents=True, exist_ok=True)
    made = Certificates(*(folder / f"{name}.pem" for name in Certificates._fields))
    _make(made.ca, "authority", "-addext", "keyUsage=keyCertSign,cRLSign")
    _make(made.stranger, "stranger", "-addext", "keyUsage=keyCertSign,cRLSign")
    signed = [
        "-CA",
        str(made.ca),
        "-CAkey",
        str(_key(made.ca)),
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ]
    _make(made.broker, "localhost", *signed, "-addext", "subjectAltName=DNS:localhost")
    _make(made.client, "collector", *signed)
    for each in (made.broker, made.client):
        # A key before its certificate, as Kafka wants it and OpenSSL takes it.
        each.write_text(_key(each).read_text() + each.read_text())
    return made


def _key(certificate: Path) -> Path:
    return certificate.with_suffix(".key")


def _make(certificate: Path, name: str, *words: str) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += [
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
        "-keyout",
        str(_key(certificate)),
        "-out",
        str(certificate),
    ]
    subprocess.run([*command, *words], check=True, capture_output=True)


def listener_settings(
    made: Certificates, plain: int, login: int, mutual: int, controller: int
) -> Mapping[str, str]:
    """The lines of `server.properties`: SASL_SSL on the port `login`, mutual TLS on `mutual`."""
    module = "org.apache.kafka.common.security"
    return {
        "listeners": f"PLAINTEXT://127.0.0.1:{plain},SASL_SSL://127.0.0.1:{login},SSL://127.0.0.1:{mutual},"
        f"CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{plain},SASL_SSL://localhost:{login},"
        f"SSL://localhost:{mutual}",
        "listener.security.protocol.map": ",".join(
            ("PLAINTEXT:PLAINTEXT", "CONTROLLER:PLAINTEXT", "SSL:SSL", "SASL_SSL:SASL_SSL")
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(made.broker),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(made.ca),
        "listener.name.ssl.ssl.client.auth": "required",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": f"{module}.plain.PlainLoginModule required"
        f' user_{PLAIN_USER}="{PLAIN_PASSWORD}";',
        "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.sasl_ssl.connections.max.reauth.ms": str(REAUTHENTICATE_MS),
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
    }
