"""A real PostgreSQL for tests and benchmarks: Debian's, started on a free port, or a server that is named.

`LOOPLINE_TEST_POSTGRES=postgresql://...` names a server whose user may create databases; tests that need
no more than a database use it then. What stops and starts a server always has one of its own.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from tests.services.ports import free_port

# Read when this is imported: conftest takes the variables of that prefix away from the tests.
NAMED = os.environ.get("LOOPLINE_TEST_POSTGRES")
_START_S = 60.0
_USERS = ("postgres", "nobody")


class PostgresMissing(Exception):
    """There is no PostgreSQL on this machine; the message says where was looked."""


def binaries() -> Path:
    """The folder with `initdb` and `postgres`: the newest of Debian's, else that of the PATH.

    Raises PostgresMissing.
    """
    found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    if found:
        return max(found, key=lambda folder: float(folder.parent.name))
    on_path = shutil.which("initdb")
    if on_path is None or not Path(on_path).resolve().with_name("postgres").exists():
        raise PostgresMissing(
            "no PostgreSQL here: neither /usr/lib/postgresql/*/bin/initdb nor initdb on the PATH."
            " Install Debian's package `postgresql`, or name a server in LOOPLINE_TEST_POSTGRES."
        )
    return Path(on_path).resolve().parent


def _other_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


class PostgresServer:
    """A server with a data folder of its own, which goes with it. Its durability is the default one.

    Args:
        settings: settings of the server other than the defaults, as in postgresql.conf.
        folder: where to put the data folder; the system's temporary folder when left out.
    """

    def __init__(self, settings: Mapping[str, str] | None = None, folder: Path | None = None) -> None:
        self._binaries = binaries()
        self._settings = dict(settings or {})
        self._user = next(name for name in _USERS if _exists(name)) if os.geteuid() == 0 else None
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=folder))
        self._data = self._folder / "data"
        self._log = self._folder / "log"
        self._password = secrets.token_urlsafe(12)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        try:
            self._initialise()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    @property
    def url(self) -> str:
        """The address of the database `postgres`, with the password."""
        return f"postgresql://postgres:{self._password}@127.0.0.1:{self.port}/postgres"

    def _run(self, *command: str) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            command, cwd=self._folder, user=self._user, group=self._group, capture_output=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{command[0]} failed: {done.stderr.decode(errors='replace')[-2000:]}")
        return done

    @property
    def _group(self) -> int | None:
        return None if self._user is None else pwd.getpwnam(self._user).pw_gid

    def _initialise(self) -> None:
        password = self._folder / "password"
        password.write_text(self._password)
        if self._user is not None:
            for path in (self._folder, password):
                shutil.chown(path, self._user)
        self._run(
            str(self._binaries / "initdb"),
            *("-D", str(self._data), "-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync"),
            *("--auth=scram-sha-256", f"--pwfile={password}"),
        )
        password.unlink()

    def start(self) -> None:
        """Start it, on the same port and with the same data as before; returns when it answers."""
        if self._process is not None:
            return
        settings = {"listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": ""}
        settings |= self._settings
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [str(self._binaries / "postgres"), "-D", str(self._data), *options],
                cwd=self._folder,
                user=self._user,
                group=self._group,
                stdout=log,
                stderr=log,
                # Ctrl-C at the terminal is for the tests, which stop it themselves.
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_S
        while True:
            try:
                psycopg.connect(self.url, connect_timeout=5).close()
            except psycopg.OperationalError:
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(f"PostgreSQL did not start: {self._log.read_text()[-2000:]}") from None
                time.sleep(0.05)
            else:
                return

    def stop(self, *, crash: bool = False) -> None:
        """Stop it; open transactions are rolled back. `crash`: as if it had died, without a checkpoint."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGQUIT if crash else signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart(self, *, crash: bool = False) -> None:
        """Stop it and start it again."""
        self.stop(crash=crash)
        self.start()

    def give(self, file: Path) -> None:
        """Put a copy of a file into the data folder, which only the server may read."""
        copy = self._data / file.name
        shutil.copy(file, copy)
        copy.chmod(0o600)
        if self._user is not None:
            shutil.chown(copy, self._user)

    def set(self, **settings: str) -> None:
        """Give running settings that a reload is enough for."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for name, value in settings.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + _START_S
        while True:
            with psycopg.connect(self.url) as connection:
                told = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in settings]
            if [row and row[0] for row in told] == list(settings.values()):
                return
            assert time.monotonic() < deadline, f"the server does not take {settings}"
            time.sleep(0.02)

    def pids(self) -> list[int]:
        """The processes of the server: the first one, then those it started."""
        if self._process is None:
            return []
        first, found = self._process.pid, []
        for entry in Path("/proc").glob("[0-9]*/stat"):
            # A process may end while its line is read.
            with contextlib.suppress(OSError):
                parent = int(entry.read_text().rpartition(")")[2].split()[1])
                if parent == first:
                    found.append(int(entry.parent.name))
        return [first, *sorted(found)]

    def fresh_database(self) -> str:
        """The address of a new, empty database."""
        return create_database(self.url)

    def close(self) -> None:
        """Stop it and remove its data."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> PostgresServer:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def create_database(server: str) -> str:
    """The address of a new, empty database on the server that an address names."""
    name = f"loopline_test_{secrets.token_hex(6)}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0'.encode())
    return _other_database(server, name)


def drop_database(url: str) -> None:
    """Remove the database that an address names, whoever is connected to it."""
    name = urlsplit(url).path[1:]
    with psycopg.connect(_other_database(url, "postgres"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server of this run's own, which a test may stop, if it starts it again."""
    try:
        # Tests kill processes, not machines: what was written to a file is there for the next process.
        server = PostgresServer({"fsync": "off"})
    except PostgresMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="session")
def postgres_address(request: pytest.FixtureRequest) -> str:
    """The server to make databases on: the named one, else this run's own."""
    if NAMED is not None:
        return NAMED
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.url


@pytest.fixture
def postgres_url(request: pytest.FixtureRequest, postgres_address: str) -> Iterator[str]:
    """The address of a fresh, empty database, which goes with the test."""
    if NAMED is None:
        # An earlier test may have stopped the server, and failed.
        request.getfixturevalue("postgres").start()
    url = create_database(postgres_address)
    yield url
    drop_database(url)
