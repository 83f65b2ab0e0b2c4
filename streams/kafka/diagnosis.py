"""Why the brokers do not let this client in, in one sentence that says what to do.

The client libraries retry and report that no broker answers, whether a broker is unavailable or refuses this
client. Here one connection to each broker finds out which; only a refusal, which a person has to mend, is
reported.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from typing import Any

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)
from aiokafka.protocol.admin import SaslHandShakeRequest
from aiokafka.protocol.metadata import MetadataRequest

from streams.daemon_pool import run_in_background
from streams.kafka.address import Address
from streams.kafka.security import (
    PLAINTEXT,
    SASL_PLAINTEXT,
    SASL_SSL,
    SSL,
    KafkaRefused,
    Security,
    client_options,
    denied,
    tls_context,
)
from streams.log.port import LogUnavailable

ANSWER_S = 2.0
"""A broker that takes longer is unavailable, which is no refusal."""

_CLOSE_S = 0.5

# What OpenSSL says of a certificate: see its manual, `openssl verify`.
_EXPIRED, _NOT_YET, _OTHER_NAME = 10, 9, {62, 64}
_UNKNOWN_ISSUER = {2, 18, 19, 20, 21}
_IN_CLEAR = {SSL: PLAINTEXT, SASL_SSL: SASL_PLAINTEXT}
_BY_TLS = {PLAINTEXT: SSL, SASL_PLAINTEXT: SASL_SSL}


async def refusal(address: Address) -> str | None:
    """Why no broker of an address lets this client in; None when one does, or when they are unavailable.

    Raises BadCertificates.
    """
    looks = [asyncio.create_task(_why(server, address.security)) for server in address.servers]
    _, late = await asyncio.wait(looks, timeout=ANSWER_S)
    for look in late:
        look.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    found = [None if look.cancelled() else look.result() for look in looks]
    reasons = [reason for reason in found if reason is not None]
    # One broker that lets it in is enough, and one that is unavailable may.
    return reasons[0] if reasons and "" not in found else None


async def reason(address: Address, error: BaseException) -> str:
    """Why a client of aiokafka failed: it was refused or denied something, or else the library's error."""
    if denial := denied(error, address.security):
        return denial
    try:
        found = await refusal(address)
    except KafkaRefused as bad:
        found = str(bad)
    except Exception:
        # The diagnosis is advice: without it the caller reports the library's error.
        found = None
    if isinstance(error, LogUnavailable):
        return found or str(error)
    return found or f"no broker of {address} answers: {str(error) or type(error).__name__}"


def refuse(address: Address) -> None:
    """Raises KafkaRefused when no broker lets this client in. Waits for them, on a thread of its own."""
    # The caller may be a coroutine's thread, which has a loop already.
    found = run_in_background("diagnosis", lambda: asyncio.run(refusal(address))).result()
    if found is not None:
        raise KafkaRefused(found)


async def _why(server: str, security: Security) -> str | None:
    """Why a broker refuses, "" when it does not, None when nothing is known."""
    try:
        async with _connected(server, **client_options(security)) as connection:
            # A listener that wants a name first closes the connection here.
            await connection.send(MetadataRequest([]))
            return ""
    except ssl.SSLCertVerificationError as error:
        return _certificate(server, security, error)
    except SaslAuthenticationFailed:
        return (
            f"{server} does not take the user {security.username!r} with this password, by"
            f" {security.mechanism}: correct kafka_username and kafka_password, or kafka_sasl_mechanism if"
            " the user was made for another one"
        )
    except UnsupportedSaslMechanismError:
        offered = await _mechanisms(server, security)
        return (
            f"{server} does not take {security.mechanism}{f', but {offered}' if offered else ''}: set"
            " kafka_sasl_mechanism accordingly"
        )
    except IllegalSaslStateError:
        return (
            f"{server} takes no user and password there: name the port of its SASL listener, or leave"
            " kafka_username and kafka_password out"
        )
    except (ConnectionRefusedError, TimeoutError):
        return None
    except (KafkaError, OSError, EOFError) as error:
        return await _closed(server, security, error)


async def _closed(server: str, security: Security, error: BaseException) -> str | None:
    """What a connection that was closed, or never answered, means: is it another kind of listener?"""
    alert = _alert(error)
    if security.encrypted and "CERTIFICATE" in alert:
        shown = "the one of kafka_client_certificate" if security.certificate else "this client shows none"
        return (
            f"{server} asks for a client's certificate that it trusts, and refuses ({shown}): set"
            " kafka_client_certificate and kafka_client_key"
        )
    if security.encrypted and await _answers(server, PLAINTEXT):
        return (
            f"{server} speaks no TLS: name the port of its TLS listener, or set kafka_security ="
            f" {_IN_CLEAR[security.protocol]} if others on the way may read what is sent"
        )
    if not security.encrypted and await _speaks_tls(server):
        return (
            f"{server} speaks TLS only: set kafka_security = {_BY_TLS[security.protocol]}, and kafka_ca_file"
            " if its certificate is signed by an authority of your own"
        )
    if not security.logs_in and await _wants_name(server, security):
        wanted = SASL_SSL if security.encrypted else SASL_PLAINTEXT
        return (
            f"{server} wants a user and a password: set kafka_username and kafka_password, and"
            f" kafka_security = {wanted}"
        )
    return None


def _certificate(server: str, security: Security, error: ssl.SSLCertVerificationError) -> str:
    host = server.rpartition(":")[0]
    if error.verify_code in _OTHER_NAME:
        return (
            f"the certificate of {server} is not for {host} ({_plain(error.verify_message)}): use the name"
            " that it is for, or give the broker a certificate with this one among its subject alternative"
            " names"
        )
    if error.verify_code in _UNKNOWN_ISSUER:
        trusted = f"kafka_ca_file={security.ca_file}" if security.ca_file else "the system's authorities"
        return (
            f"the certificate of {server} is signed by an authority that is not trusted ({trusted}): name the"
            " file with its certificate in kafka_ca_file"
        )
    if error.verify_code in (_EXPIRED, _NOT_YET):
        return (
            f"the certificate of {server} is out of date ({_plain(error.verify_message)}): renew it, or set"
            " the clock of this machine"
        )
    return f"the certificate of {server} cannot be trusted: {_plain(error.verify_message)}"


@contextlib.asynccontextmanager
async def _connected(server: str, **options: Any) -> AsyncIterator[Any]:
    """A connection that has logged in, if it is to."""
    options.pop("bootstrap_servers", None)
    host, _, port = server.rpartition(":")
    connection = AIOKafkaConnection(
        host.strip("[]"), int(port), client_id="loopline", request_timeout_ms=int(ANSWER_S * 1000), **options
    )
    try:
        await connection.connect()
        yield connection
    finally:
        closed = connection.close()
        # A connection that was never open reports no close.
        if connection._protocol is not None:
            await asyncio.wait((closed,), timeout=_CLOSE_S)


async def _answers(server: str, protocol: str, **options: Any) -> bool:
    """Whether a listener answers the first question of every client, with this protocol and no login."""
    with contextlib.suppress(KafkaError, OSError, EOFError):
        async with _connected(server, security_protocol=protocol, **options):
            return True
    return False


async def _wants_name(server: str, security: Security) -> bool:
    """Whether it speaks as we do and closes the connection at the first question that needs a user."""
    options = {"ssl_context": tls_context(security)} if security.encrypted else {}
    return await _answers(server, security.protocol, **options)


async def _speaks_tls(server: str) -> bool:
    """Whether a TLS handshake succeeds; nothing is sent over it, so it need not be believed."""
    host, _, port = server.rpartition(":")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError):
        _, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=context)
        writer.close()
        await writer.wait_closed()
        return True
    return False


async def _mechanisms(server: str, security: Security) -> str:
    """The mechanisms that a broker offers, of those that we know."""
    options = {"ssl_context": tls_context(security)} if security.encrypted else {}
    protocol = SSL if security.encrypted else PLAINTEXT
    with contextlib.suppress(KafkaError, OSError, EOFError):
        async with _connected(server, security_protocol=protocol, **options) as connection:
            answer = await connection.send(SaslHandShakeRequest(security.mechanism))
            return ", ".join(map(str, answer.enabled_mechanisms))
    return ""


def _alert(error: BaseException | None) -> str:
    """The TLS alert behind a failure, if there is one."""
    while error is not None:
        if isinstance(error, ssl.SSLError):
            return error.reason or ""
        error = error.__cause__ or error.__context__
    return ""


def _plain(message: str) -> str:
    return message.strip().rstrip(".")
