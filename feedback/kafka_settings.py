"""The settings that say how Kafka is reached, beside its address; and what they mean together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from feedback import setting_values as values
from feedback.setting_values import Setting

if TYPE_CHECKING:
    from streams.kafka.security import Security


def _protocol(text: str) -> str:
    from streams.kafka.security import PROTOCOLS

    if text.upper() not in PROTOCOLS:
        raise ValueError(f"it is one of {', '.join(PROTOCOLS)}")
    return text.upper()


def _mechanism(text: str) -> str:
    from streams.kafka.security import MECHANISMS

    if text.upper() not in MECHANISMS:
        raise ValueError(f"it is one of {', '.join(MECHANISMS)}")
    return text.upper()


KAFKA = (
    Setting(
        "kafka_security",
        None,
        "LOOPLINE_KAFKA_SECURITY",
        None,
        "PROTOCOL",
        _protocol,
        "How Kafka is reached, as its security.protocol: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."
        " Without it: SASL_SSL with a kafka_username, SSL with a kafka_ca_file or a kafka_client_certificate,"
        " else PLAINTEXT. Certificates and host names are always verified. SASL_PLAINTEXT is never chosen by"
        " itself, since others on the way can read what is sent.",
    ),
    Setting(
        "kafka_ca_file",
        None,
        "LOOPLINE_KAFKA_CA_FILE",
        None,
        "FILE",
        values.existing_file,
        "Certificates to trust as Kafka's, in PEM. Without it: those of the system.",
    ),
    Setting(
        "kafka_client_certificate",
        None,
        "LOOPLINE_KAFKA_CLIENT_CERTIFICATE",
        None,
        "FILE",
        values.existing_file,
        "Certificate that is shown to Kafka, in PEM, where its listener asks for one (mutual TLS).",
    ),
    Setting(
        "kafka_client_key",
        None,
        "LOOPLINE_KAFKA_CLIENT_KEY",
        None,
        "FILE",
        values.existing_file,
        "Key of kafka_client_certificate, in PEM and without a passphrase. Without it: it is in the same"
        " file.",
    ),
    Setting(
        "kafka_sasl_mechanism",
        "SCRAM-SHA-512",
        "LOOPLINE_KAFKA_SASL_MECHANISM",
        None,
        "NAME",
        _mechanism,
        "How the password is proven to Kafka: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.",
    ),
    Setting(
        "kafka_username",
        None,
        "LOOPLINE_KAFKA_USERNAME",
        None,
        "NAME",
        values.name,
        "Name to log in to Kafka with; a managed Kafka may call it API key.",
    ),
    Setting(
        "kafka_password",
        None,
        "LOOPLINE_KAFKA_PASSWORD",
        None,
        "PASSWORD",
        values.secret,
        "Password of kafka_username. LOOPLINE_KAFKA_PASSWORD_FILE names a file that holds it: safer.",
        secret=True,
    ),
)


def kafka_security(read: Callable[[str], Any]) -> Security:
    """How Kafka is reached; `read` gives a setting's value. Raises BadSecurity (a ValueError)."""
    from streams.kafka.security import Security, derived_protocol

    ca_file, certificate = read("kafka_ca_file") or "", read("kafka_client_certificate") or ""
    username = read("kafka_username") or ""
    security = Security(
        protocol=read("kafka_security") or derived_protocol(username, ca_file, certificate),
        ca_file=ca_file,
        certificate=certificate,
        key=read("kafka_client_key") or "",
        mechanism=read("kafka_sasl_mechanism"),
        username=username,
        password=read("kafka_password") or "",
    )
    security.check()
    return security
