"""A cluster as a place: the log on Kafka, the views in PostgreSQL, the releases on a shelf of their own.

The same duties as a home's, so that commands and `feedback.installation.rebuild` work on both. Who may append
or apply is not decided here: brokers and the database see to that. Serving is left to
`feedback.processes.cluster_collector`, applying to `feedback.processes.cluster_worker`. The adapters are
loaded when they are first used: a command that only speaks to a collector needs neither.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from feedback.disk import temporary_scratch
from feedback.installation.port import NothingHere, PlaceRefused
from feedback.settings import without_password
from schemas.errors import Refused, Unavailable
from streams.clocks import ClockWatch
from streams.log.port import LogDenied, LogIdentity, LogUnavailable
from streams.store.tables import VIEWS_VERSION
from streams.views.registry import TABLES

if TYPE_CHECKING:
    from streams.kafka.address import Address
    from streams.kafka.log.reader import KafkaLog
    from streams.kafka.security import Security
    from streams.store.postgres import PostgresStore, PostgresStores

_LOOK_S = 1.0
_RETIRED_S = 5.0
NO_VIEWS = "there are no views of this log yet: a `loopline worker` makes them"


class ClusterRefused(PlaceRefused):
    """A cluster cannot be used as asked; the message says what to do."""


class ViewsMissing(ClusterRefused, NothingHere):
    """There are no views of this log yet."""


class Cluster:
    """One cluster. Cheap to make; nothing is connected to before it is asked for.

    Args:
        log: the address of the Kafka that holds the log.
        store: the address of the PostgreSQL that holds the views; it may hold a password.
        datasets: the address of the shelf, or a folder.
        security: how the brokers are reached; without encryption and login when left out.
        called: what PostgreSQL calls the connections: which process they are of.
    """

    def __init__(
        self,
        log: str,
        store: str,
        datasets: str | Path,
        security: Security | None = None,
        *,
        called: str = "loopline command",
        close_s: float = 1.0,
    ) -> None:
        self.called = called
        self._close_s = close_s
        self.log_url = log
        self.store_url = store
        self.datasets = datasets
        self.clocks = ClockWatch()
        """What brokers and database told of their clocks."""
        self._security = security
        self._guard = threading.Lock()
        self._stores: PostgresStores | None = None
        self._looking = threading.Lock()
        self._looked = 0.0
        self._current: PostgresStore | None = None
        self._retired: tuple[float, PostgresStore] | None = None

    @property
    def name(self) -> str:
        """Both addresses, without a password."""
        return f"{self.log_url} and {without_password(self.store_url)}"

    def variables(self) -> dict[str, str]:
        """The environment in which another process means this cluster; a password is in it.

        How the brokers are reached has no flags, so that other processes find it where this one did.
        """
        return {
            "LOOPLINE_LOG": self.log_url,
            "LOOPLINE_STORE": self.store_url,
            "LOOPLINE_DATASETS": str(self.datasets),
        }

    # ------------------------------------------------------------------------------------------ the log

    @property
    def address(self) -> Address:
        """Where the brokers are, and what the topics are called."""
        from streams.kafka.address import Address

        if self._security is None:
            return Address.parse(self.log_url)
        return Address.parse(self.log_url, self._security)

    def fingerprint(self) -> str:
        """Which log is here, as its collectors say it: by a broker, and while none tells by the views.

        Collectors and workers refuse views that are not those of their log. Raises LogUnavailable or
        LogDenied when neither is to be had, and LogMissing when the topics are not there.
        """
        from streams.kafka.connect import admin, look_up

        try:
            with admin(self.address) as client:
                return look_up(client, self.address).identity.fingerprint
        except (LogUnavailable, LogDenied):
            with contextlib.suppress(Unavailable, Refused):
                for entry in reversed(self.stores.entries()):
                    if entry.state == "current":
                        return entry.log.fingerprint
            raise

    def open_log(self, patience_s: float | None = None) -> KafkaLog:
        """The log, to read from. Raises what the adapter raises when it is away, missing or truncated.

        Args:
            patience_s: for how long a call waits for a partition that nobody leads now; as suits a command
                when left out.
        """
        from streams.kafka.log.reader import PATIENCE_S, KafkaLog

        return KafkaLog(self.address, patience_s=PATIENCE_S if patience_s is None else patience_s)

    # --------------------------------------------------------------------------------------- the stores

    @property
    def stores(self) -> PostgresStores:
        """The catalogue of the database, opened once; its tables are made when they are missing."""
        from streams.store.postgres import PostgresStores

        with self._guard:
            if self._stores is None:
                self._stores = PostgresStores(self.store_url, TABLES, self.clocks, self.called)
            return self._stores

    def current_store(self) -> PostgresStore:
        """The store that is read, the same object until another takes its place. Do not close it.

        Which one that is, is asked every second. Raises ViewsMissing while there is none.
        """
        stores = self.stores
        with self._looking:
            if self._retired is not None and time.monotonic() - self._retired[0] > _RETIRED_S:
                self._retired[1].close()
                self._retired = None
            if self._current is not None and time.monotonic() - self._looked < _LOOK_S:
                return self._current
            if self._current is None or not stores.is_current(self._current):
                current = stores.current(VIEWS_VERSION)
                # Another thread may be about to read the old one: it is closed a while after this.
                if self._retired is not None:
                    self._retired[1].close()
                self._retired = None if self._current is None else (time.monotonic(), self._current)
                self._current = current
            self._looked = time.monotonic()
            if self._current is None:
                raise ViewsMissing(NO_VIEWS)
            return self._current

    def known_log(self) -> LogIdentity | None:
        """The log as the views remember it, those of another version if there are none of this one.

        None before a worker has made any. Raises StoreUnavailable.
        """
        current = [entry for entry in self.stores.entries() if entry.state == "current"]
        current.sort(key=lambda entry: (entry.views_version == VIEWS_VERSION, entry.views_version))
        return current[-1].log if current else None

    def store_name(self) -> str | None:
        """The schema of the store that is read, or None while there is none."""
        from streams.store.postgres.store import schema_of

        return next(
            (
                schema_of(entry.views_version, entry.number)
                for entry in self.stores.entries()
                if entry.state == "current" and entry.views_version == VIEWS_VERSION
            ),
            None,
        )

    @contextlib.contextmanager
    def anew(self, identity: LogIdentity, *, grace_s: float = 0.0) -> Iterator[PostgresStore]:
        """An empty store beside the one that is read, which takes its place when the context ends well.

        Workers go on with the new one from where it stands. The old one stays for an hour, whoever reads it.
        """
        stores = self.stores
        fresh = stores.new_store(identity)
        try:
            yield fresh
            stores.switch(fresh)
        except BaseException:
            stores.abandon(fresh)
            raise
        fresh.close()
        stores.drop_stale()

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for work aside, where the system keeps such, removed at the end. Raises DiskFull."""
        with temporary_scratch() as folder:
            yield folder

    def close(self) -> None:
        """Close the connections to the database, but for those of a thread that hangs on it."""
        with contextlib.ExitStack() as held:
            for lock in (self._looking, self._guard):
                if not lock.acquire(timeout=self._close_s):
                    return
                held.callback(lock.release)
            for opened in (self._retired and self._retired[1], self._current, self._stores):
                if opened is not None:
                    opened.close()
            self._retired = self._current = self._stores = None
