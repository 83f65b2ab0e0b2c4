"""Connections to PostgreSQL: encrypted where asked for, bounded, opened anew, and one process's own."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from streams.kafka.worker.progress import STUCK_AFTER_S
from streams.store.port import RefusedValue, StoreUnavailable, StoreUnreadable
from streams.store.postgres import PostgresStores
from streams.store.postgres.connections import Connections
from streams.store.postgres.errors import translated
from streams.views.registry import TABLES
from tests.services.kafka.secured import Certificates, certificates, openssl_is_here
from tests.services.postgres import PostgresServer
from tests.streams.store.storing import IDENTITY


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """An authority, a certificate for localhost that it signed, and a stranger."""
    if not openssl_is_here():
        pytest.skip("openssl makes the certificates")
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def encrypting(own_server: PostgresServer, made: Certificates) -> Iterator[PostgresServer]:
    """The run's own server, with TLS on until the test ends."""
    own_server.give(made.broker)
    own_server.set(ssl_cert_file=made.broker.name, ssl_key_file=made.broker.name, ssl="on")
    yield own_server
    own_server.set(ssl="off")


def said(url: str) -> str:
    """The whole sentence of why it cannot be connected to."""
    with pytest.raises(StoreUnavailable) as refusal:
        PostgresStores(url, TABLES)
    secret = urlsplit(url).password
    assert secret is None or secret not in str(refusal.value)
    return str(refusal.value)


def test_each_connection_is_encrypted_and_knows_the_server(
    encrypting: PostgresServer, made: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the address or by the environment; catalogue, snapshots and transactions alike."""
    plain = encrypting.fresh_database()
    named = plain.replace("127.0.0.1", "localhost")
    stores = PostgresStores(
        f"{named}?sslmode=verify-full&sslrootcert={made.ca}", TABLES, called="loopline test"
    )
    store = stores.for_work(IDENTITY)
    with store.snapshot(), store.transaction([0]), psycopg.connect(plain) as looking:
        rows = looking.execute(
            "SELECT ssl, count(*) FROM pg_stat_activity JOIN pg_stat_ssl USING (pid)"
            " WHERE application_name = 'loopline test' GROUP BY ssl"
        ).fetchall()
    store.close()
    stores.close()
    assert rows == [(True, 3)]
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(made.ca))
    PostgresStores(named, TABLES).close()
    assert 'does not match host name "127.0.0.1"' in said(plain)


def test_what_is_wrong_with_a_certificate_is_said_with_what_to_do(
    encrypting: PostgresServer, made: Certificates
) -> None:
    """An authority that is not known, a file that is missing, another host: one sentence each."""
    named = encrypting.url.replace("127.0.0.1", "localhost")
    unknown = said(f"{named}?sslmode=verify-full&sslrootcert={made.stranger}")
    assert "certificate verify failed" in unknown
    assert "sslrootcert=FILE" in unknown
    assert "sslrootcert=FILE" in said(f"{named}?sslmode=verify-full&sslrootcert={made.ca}.missing")
    elsewhere = said(f"{encrypting.url}?sslmode=verify-full&sslrootcert={made.ca}")
    assert "Write the host in the address as the certificate names it" in elsewhere


def test_a_server_without_tls_is_said(own_server: PostgresServer) -> None:
    """Whoever demands encryption gets none that is silently left out."""
    refusal = said(f"{own_server.url}?sslmode=require")
    assert "server does not support SSL" in refusal
    assert "ssl = on" in refusal


def test_a_password_comes_from_the_environment_or_a_file(
    own_server: PostgresServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGPASSWORD, or PGPASSFILE that nobody else may read; one that is wrong or missing is said."""
    parts = urlsplit(own_server.url)
    without = own_server.url.replace(f":{parts.password}@", "@")
    assert "~/.pgpass" in said(without)
    monkeypatch.setenv("PGPASSWORD", str(parts.password))
    PostgresStores(without, TABLES).close()
    monkeypatch.setenv("PGPASSWORD", "wrong")
    refusal = said(without)
    assert "password authentication failed" in refusal
    assert "PGPASSWORD" in refusal
    monkeypatch.delenv("PGPASSWORD")
    file = tmp_path / "pgpass"
    file.write_text(f"127.0.0.1:*:*:postgres:{parts.password}\n")
    file.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(file))
    PostgresStores(without, TABLES).close()


def test_a_pooler_of_transactions_is_named() -> None:
    """A statement that was prepared on another connection of the server's is no damage of the views."""
    for error in (psycopg.errors.InvalidSqlStatementName, psycopg.errors.DuplicatePreparedStatement):
        with pytest.raises(StoreUnreadable, match="pool_mode = session"), translated("there"):
            raise error('prepared statement "_pg3_1" does not exist')


def test_connections_are_kept_and_opened_anew_after_a_restart(own_server: PostgresServer) -> None:
    """One after the other uses the same; what the server ended is replaced without anybody's noticing."""
    connections = Connections(own_server.url, "public")
    seen = []
    for _ in range(3):
        with connections.borrowed() as connection:
            seen.append(connection.info.backend_pid)
    assert len(set(seen)) == 1
    own_server.restart()
    with connections.borrowed() as connection:
        assert connection.info.backend_pid != seen[0]
    connections.close()


def test_whoever_wants_one_more_waits_and_is_told(postgres_url: str) -> None:
    """Bounded in number and in time; one that comes back is taken, and a failure gives its room back."""
    connections = Connections(postgres_url, "public", most=2, wait_s=1.0)
    first, second = connections.begin("BEGIN"), connections.begin("BEGIN")
    with pytest.raises(StoreUnavailable, match="all 2 connections"):
        connections.begin("BEGIN")
    threading.Timer(0.1, connections.end, [second]).start()
    connections.end(connections.begin("BEGIN"))
    connections.end(first)
    for _ in range(3):
        with pytest.raises(RefusedValue):
            connections.begin("BEGIN; SELECT 1/0")
    for each in [connections.begin("BEGIN") for _ in range(2)]:
        connections.end(each)
    connections.close()


def test_another_process_does_not_use_what_was_opened_here(postgres_url: str) -> None:
    """After a fork two processes on one connection would read each other's answers."""
    connections = Connections(postgres_url, "public")
    with connections.borrowed() as connection:
        ours = connection.info.backend_pid
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with connections.borrowed() as connection:
                os.write(writing, str(connection.info.backend_pid).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        theirs = told.read()
    assert theirs.isdigit()
    assert int(theirs) != ours
    with connections.borrowed() as connection:
        assert connection.info.backend_pid == ours
    connections.close()


def test_who_vanished_in_mid_transaction_is_outlived_by_those_who_wait(postgres_url: str) -> None:
    """PostgreSQL frees what a silent worker holds before others lose their patience with the store."""
    stores = PostgresStores(postgres_url, TABLES)
    one, other = stores.for_work(IDENTITY), stores.for_work(IDENTITY)
    with contextlib.ExitStack() as silent:
        silent.enter_context(one.transaction([0]))
        began = time.monotonic()
        with other.transaction([0]):
            assert time.monotonic() - began < STUCK_AFTER_S
        with pytest.raises(StoreUnavailable):
            silent.close()
    for each in (one, other, stores):
        each.close()
