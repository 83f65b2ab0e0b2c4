"""How the brokers are reached: settings that make sense, and refusals that say what to do."""

from __future__ import annotations

import dataclasses
import logging
import re
import time
from pathlib import Path

import pytest

from feedback.kafka_settings import kafka_security
from feedback.settings import BadSetting, value
from streams.kafka.address import Address
from streams.kafka.connect import admin
from streams.kafka.diagnosis import refuse
from streams.kafka.security import (
    SASL_PLAINTEXT,
    SASL_SSL,
    SSL,
    UNSECURED,
    BadCertificates,
    BadSecurity,
    KafkaRefused,
    Security,
    client_options,
)
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix
from tests.services.kafka.rights import user_of
from tests.services.kafka.secured import PLAIN_PASSWORD, PLAIN_USER, certificates, openssl_is_here

WRONG = "wr0ng-s3cret"


def read_from(**settings: str) -> Security:
    """What these settings mean."""
    environ = {f"LOOPLINE_{name.upper()}": text for name, text in settings.items()}
    return kafka_security(lambda name: value(name, None, environ))


def test_a_password_is_sent_over_tls_unless_told_otherwise() -> None:
    """A user alone means SASL_SSL; only the very word SASL_PLAINTEXT sends it where others can read it."""
    login = {"kafka_username": "u", "kafka_password": "p4ssword"}
    assert read_from() == UNSECURED
    assert read_from(**login).protocol == SASL_SSL
    assert read_from(**login, kafka_security="sasl_plaintext").protocol == SASL_PLAINTEXT
    assert read_from(**login, kafka_sasl_mechanism="plain").mechanism == "PLAIN"
    with pytest.raises(BadSecurity, match="sends no name and password"):
        read_from(**login, kafka_security="PLAINTEXT")
    assert "p4ssword" not in repr(read_from(**login))
    assert "p4ssword" not in repr(Address.parse("kafka://h:1", read_from(**login)))


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    """Each by name, before anything is connected to."""
    (tmp_path / "a.pem").write_text("")
    file = str(tmp_path / "a.pem")
    assert read_from(kafka_ca_file=file).protocol == SSL
    for settings, said in (
        ({"kafka_username": "u"}, "needs kafka_password"),
        ({"kafka_password": "p4ss"}, "needs kafka_username"),
        ({"kafka_security": "SASL_SSL"}, "needs kafka_username"),
        ({"kafka_security": "PLAINTEXT", "kafka_ca_file": file}, "uses no certificates"),
        ({"kafka_security": "SSL", "kafka_client_key": file}, "needs kafka_client_certificate"),
    ):
        with pytest.raises(BadSecurity, match=said):
            read_from(**settings)
    for settings, said in (
        ({"kafka_security": "TLS"}, "SASL_SSL"),
        ({"kafka_sasl_mechanism": "GSSAPI"}, "SCRAM-SHA-256"),
        ({"kafka_ca_file": str(tmp_path / "none")}, "no such file"),
    ):
        with pytest.raises(BadSetting, match=said):
            read_from(**settings)


def test_files_that_are_no_certificates_are_named(tmp_path: Path) -> None:
    """A person reads which file, and what it should have been; nobody is asked for a passphrase."""
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(BadCertificates, match=r"kafka_ca_file=.*ca\.pem"):
        client_options(Security(SSL, str(tmp_path / "ca.pem")))
    with pytest.raises(BadCertificates, match="kafka_client_certificate"):
        client_options(Security(SSL, certificate=str(tmp_path / "ca.pem")))


@pytest.mark.skipif(not openssl_is_here(), reason="there is no openssl here")
def test_a_renewed_certificate_is_read(tmp_path: Path) -> None:
    """The next connection uses it, without a restart; as long as the files stay, one context serves all."""
    made = certificates(tmp_path)
    security = Security(SSL, str(made.ca))
    first = client_options(security)["ssl_context"]
    assert client_options(security)["ssl_context"] is first
    assert first.check_hostname
    time.sleep(0.01)
    made.ca.write_text(made.stranger.read_text())
    assert client_options(security)["ssl_context"] is not first


def test_a_client_that_is_not_let_in_is_told_why(kafka: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    """Wrong password, mechanism, authority, host name, kind of listener: a sentence each, with what to do."""
    caplog.set_level(logging.CRITICAL)
    user = user_of(kafka, unique_prefix())
    assert kafka.certificates is not None
    ca, client, stranger = (str(kafka.certificates[number]) for number in (0, 2, 3))
    with_ = dataclasses.replace
    by_address = kafka.logins.replace("localhost", "127.0.0.1")
    plain = with_(user, mechanism="PLAIN", username=PLAIN_USER, password=PLAIN_PASSWORD)
    for servers, security, said in (
        (kafka.logins, user, None),
        (kafka.logins, plain, None),
        (kafka.mutual, Security(SSL, ca, client), None),
        (kafka.bootstrap, UNSECURED, None),
        ("127.0.0.1:1", user, None),
        (kafka.logins, with_(user, password=WRONG), "does not take the user .* correct kafka_username"),
        (kafka.logins, with_(plain, password=WRONG), "does not take the user 'product' with this password"),
        (kafka.logins, with_(user, mechanism="SCRAM-SHA-256"), "but PLAIN, SCRAM-SHA-512: set kafka_sasl"),
        (kafka.logins, with_(user, ca_file=stranger), "not trusted .* in kafka_ca_file"),
        (kafka.logins, with_(user, ca_file=""), "not trusted .the system's authorities"),
        (by_address, user, r"is not for 127\.0\.0\.1 .* alternative names"),
        (kafka.logins, UNSECURED, "speaks TLS only: set kafka_security = SSL"),
        (kafka.logins, with_(user, protocol=SASL_PLAINTEXT, ca_file=""), "TLS only: .* = SASL_SSL"),
        (kafka.bootstrap, Security(SSL, ca), "speaks no TLS: name the port"),
        (
            kafka.bootstrap,
            with_(user, protocol=SASL_PLAINTEXT, ca_file=""),
            "takes no user and password there",
        ),
        (kafka.logins, Security(SSL, ca), "wants a user and a password: set kafka_username"),
        (kafka.mutual, Security(SSL, ca), "asks for a client's certificate .* shows none"),
        (
            kafka.mutual,
            Security(SSL, ca, stranger, stranger.replace(".pem", ".key")),
            "the one of kafka_client",
        ),
    ):
        found = refused(Address((servers,), security=security))
        assert re.fullmatch(f".*{said}.*" if said else "", found), (security, found)
        assert WRONG not in found


def test_an_admin_client_says_it_too(kafka: Cluster) -> None:
    """Before the library has given up, with TLS or without."""
    user = user_of(kafka, unique_prefix())
    for security in (dataclasses.replace(user, password=WRONG), UNSECURED):
        began = time.monotonic()
        with pytest.raises(KafkaRefused), admin(Address((kafka.logins,), security=security)):
            pass
        assert time.monotonic() - began < 8
    with admin(Address((kafka.logins,), security=user)) as client:
        assert client.describe_cluster()["brokers"]


def refused(address: Address) -> str:
    """What a client is refused with; empty when it is let in."""
    try:
        refuse(address)
    except KafkaRefused as error:
        return str(error)
    return ""
