"""A real broker and a real PostgreSQL for one group of rows, and what CPU they used.

Both are started as their defaults say, on free ports of this machine, with data in a folder that goes with
them. The broker's Java compiles as in production, but in a quick run, whose numbers say nothing. How they are
filled and read is left to the rows.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psycopg

from benchmarks.measuring import cpu_of, cpu_of_tree
from benchmarks.scale import Scale
from tests.services.kafka.broker import QUICK_START, Cluster
from tests.services.postgres import PostgresServer

_SETTINGS = {
    # The broker acknowledges from memory: a single one keeps its promise only if it syncs each append.
    "log.flush.interval.messages": "1",
}


class Services(NamedTuple):
    """The broker, and the server."""

    kafka: Cluster
    postgres: PostgresServer

    @property
    def bootstrap(self) -> str:
        """The broker's address."""
        return self.kafka.bootstrap

    def broker_cpu(self) -> float:
        """CPU seconds of the broker so far."""
        return cpu_of(self.kafka.brokers[0].pid)

    def postgres_cpu(self) -> float:
        """CPU seconds of the server and of all its processes so far, those that have ended included."""
        return cpu_of_tree(self.postgres.pids())

    def database_bytes(self, url: str) -> int:
        """The size of the database at an address."""
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
        assert row is not None
        return int(row[0])


@contextlib.contextmanager
def services(scale: Scale) -> Iterator[Services]:
    """A broker and a PostgreSQL that go with the context."""
    with tempfile.TemporaryDirectory(dir=scale.folder) as place:
        jvm = QUICK_START if scale.quick else ()
        broker = Cluster(settings=_SETTINGS, heap="1g", jvm=jvm, folder=Path(place) / "kafka")
        with broker, PostgresServer(folder=_for_others(Path(place))) as server:
            yield Services(broker, server)


def _for_others(place: Path) -> Path | None:
    """The same folder where PostgreSQL's user can come by; else None, the system's temporary one."""
    place.chmod(0o711)
    if os.geteuid() != 0:
        return place
    return place if all(parent.stat().st_mode & stat.S_IXOTH for parent in place.parents) else None
