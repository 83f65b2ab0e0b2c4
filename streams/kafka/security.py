"""How the brokers are reached: whether the connection is encrypted, and who this client is to them.

One `Security` goes along with the address; `client_options` says it to kafka-python and to aiokafka, which
take the same names. Reading settings is left to `feedback`, telling why a broker refuses to `diagnosis`.
"""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import Malformed
from streams.log.port import LogDenied

PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL = "PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"
DENIED = {29: "on a topic", 30: "on a consumer group", 31: "on the cluster", 53: "on a transactional id"}
"""Kafka's errors for a right that is missing, and what it is a right to."""
PROTOCOLS = (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)
"""Kafka's own names, as in `security.protocol`."""
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
DEFAULT_MECHANISM = "SCRAM-SHA-512"


class KafkaRefused(LogDenied):
    """The brokers are there and do not let this client in, or do something; the text says what to do."""


class BadCertificates(KafkaRefused):
    """A file with certificates or a key cannot be used; the text says which, and what to do."""


class BadSecurity(Malformed):
    """Settings that contradict each other."""


@dataclass(frozen=True)
class Security:
    """How to connect. `check` says whether it makes sense.

    Args:
        protocol: one of PROTOCOLS.
        ca_file: certificates to trust, in PEM; the system's when it is empty.
        certificate, key: files with what this client shows of itself; the key may lie in the certificate's.
        mechanism: one of MECHANISMS.
        username, password: who this client is.
    """

    protocol: str = PLAINTEXT
    ca_file: str = ""
    certificate: str = ""
    key: str = ""
    mechanism: str = DEFAULT_MECHANISM
    username: str = ""
    password: str = field(default="", repr=False)

    @property
    def encrypted(self) -> bool:
        """Whether others on the way can read what is sent."""
        return self.protocol in (SSL, SASL_SSL)

    @property
    def logs_in(self) -> bool:
        """Whether a name and a password are sent."""
        return self.protocol in (SASL_PLAINTEXT, SASL_SSL)

    def check(self) -> None:
        """Raises BadSecurity, in the settings' names."""
        if self.logs_in and not self.username:
            raise BadSecurity(f"kafka_security is {self.protocol}, which needs kafka_username")
        if self.username and not self.password:
            raise BadSecurity("kafka_username needs kafka_password, best by LOOPLINE_KAFKA_PASSWORD_FILE")
        if self.password and not self.username:
            raise BadSecurity("kafka_password needs kafka_username")
        if self.username and not self.logs_in:
            raise BadSecurity(
                f"kafka_security is {self.protocol}, which sends no name and password: leave it out, or say"
                f" {SASL_SSL}; {SASL_PLAINTEXT} sends them over a connection that others can read"
            )
        if (self.ca_file or self.certificate) and not self.encrypted:
            raise BadSecurity(f"kafka_security is {self.protocol}, which uses no certificates")
        if self.key and not self.certificate:
            raise BadSecurity("kafka_client_key needs kafka_client_certificate")


UNSECURED = Security()


def derived_protocol(username: str, ca_file: str, certificate: str) -> str:
    """The protocol where none is set: never one on which others could read a password."""
    if username:
        return SASL_SSL
    return SSL if ca_file or certificate else PLAINTEXT


def client_options(security: Security) -> dict[str, Any]:
    """What a client of kafka-python or of aiokafka is told. Raises BadCertificates."""
    options: dict[str, Any] = {}
    if security.protocol != PLAINTEXT:
        options["security_protocol"] = security.protocol
    if security.encrypted:
        options["ssl_context"] = tls_context(security)
    if security.logs_in:
        options["sasl_mechanism"] = security.mechanism
        options["sasl_plain_username"] = security.username
        options["sasl_plain_password"] = security.password
    return options


def denied(error: BaseException, security: Security) -> str:
    """That the brokers deny this client a right, if an error of either library says so; else ""."""
    on = DENIED.get(getattr(error, "errno", 0))
    if on is None:
        return ""
    who = f"the user {security.username!r}" if security.username else "this client"
    return (
        f"the brokers deny {who} a right {on} ({str(error) or type(error).__name__}): give it the rights that"
        " docs/how-to/secure-kafka.md lists"
    )


def tls_context(security: Security) -> ssl.SSLContext:
    """A context that verifies the broker's certificate and its host name. Raises BadCertificates.

    The files are read again when they have changed: a renewed certificate is used by the next connection.
    """
    files = (security.ca_file, security.certificate, security.key)
    return _context(*files, *map(_changed, files))


@functools.lru_cache(maxsize=4)
def _context(ca_file: str, certificate: str, key: str, *_changed: int) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file or None)
    except (OSError, ssl.SSLError) as error:
        raise BadCertificates(
            f"kafka_ca_file={ca_file!r} cannot be used: {_reason(error)}. It must hold certificates in PEM,"
            " beginning with -----BEGIN CERTIFICATE-----."
        ) from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate:
        try:
            context.load_cert_chain(certificate, key or None, password=_no_passphrase)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise BadCertificates(
                f"kafka_client_certificate={certificate!r} and kafka_client_key={key!r} cannot be used:"
                f" {_reason(error)}. They must hold a certificate and its key in PEM, without a passphrase."
            ) from error
    return context


def _no_passphrase() -> str:
    # The library would ask for one on the terminal.
    raise ValueError("the key has a passphrase")


def _reason(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _changed(name: str) -> int:
    try:
        return Path(name).stat().st_mtime_ns if name else 0
    except OSError:
        return -1
