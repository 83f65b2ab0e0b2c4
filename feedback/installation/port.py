"""A place: where one log, its views and its dataset releases are, and what can be done there by hand.

A `feedback.installation.home.Home` is a folder on this machine; a `feedback.installation.cluster.Cluster` is
a Kafka and a PostgreSQL. Commands and `feedback.installation.rebuild` work on either, through this port. How
servers and workers run there is left to `feedback.processes.supervisor` and to
`feedback.processes.cluster_collector` and `feedback.processes.cluster_worker`.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from schemas.errors import Refused
from streams.log.port import Log, LogIdentity
from streams.store.port import Store


class PlaceRefused(Refused):
    """A place cannot be used as asked; the message says what to do."""


class NothingHere(PlaceRefused):
    """There is no log at this place, or there are no views of it yet."""


class Place(Protocol):
    """One log, its views and its releases. Cheap to make; nothing is opened before it is asked for."""

    @property
    def name(self) -> str:
        """What to call it before people; never with a password."""
        ...

    @property
    def datasets(self) -> Any:
        """Where its releases lie."""
        ...

    def fingerprint(self) -> str:
        """Which log is here, as servers say it on `/healthz`. Raises NothingHere."""
        ...

    def open_log(self) -> Log:
        """The log, to read from. Raises NothingHere."""
        ...

    def current_store(self) -> Store:
        """The store that is read, the same one until another takes its place. Do not close it.

        Raises NothingHere while there is none.
        """
        ...

    def anew(self, identity: LogIdentity, *, grace_s: float = 0.0) -> AbstractContextManager[Store]:
        """An empty store beside the one that is read, which takes its place when the context ends well.

        The old one is removed after a grace for those who read it. Raises PlaceRefused when another process
        does the same.
        """
        ...

    def store_name(self) -> str | None:
        """What the store that is read is called, or None while there is none."""
        ...

    def scratch(self) -> AbstractContextManager[Path]:
        """A folder for work aside, removed at the end."""
        ...

    def close(self) -> None:
        """Let go of what was opened."""
        ...
