"""A home: the folder that holds one log, its views and its datasets, and who may write there.

    log.sqlite                    the truth
    store/CURRENT                 names the store that is read: `views-<version>-<n>.sqlite`
    store/views-<version>-<n>.sqlite
    datasets/                     releases
    lock                          held by the one process (and its children) that may append
    server.json                   address and process of the running server
    worker.json                   what the worker is doing, or why it stopped

Stores are never changed into others: a new one is built beside the one that is read, and `switch` makes
it the current one by renaming the pointer. What a store holds is left to `streams`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from feedback.disk import must_be_ours, replace_file, sync_folder, telling_full_disk
from feedback.installation.port import NothingHere, PlaceRefused
from feedback.ownership import distrusted
from feedback.redaction import redacted
from schemas.errors import Halt, Refused
from streams.log.port import LogIdentity
from streams.log.sqlite import SqliteLog, create_log
from streams.store.sqlite.store import SqliteStore, create_store
from streams.store.tables import VIEWS_VERSION
from streams.views.registry import TABLES

_STORE_NAME = re.compile(r"views-(\d+)-(\d+)\.sqlite")
_SIDES = ("", "-wal", "-shm")
SCRATCH_PREFIX = "scratch-"
ON_A_LARGER_DISK = "move the home to a larger disk (--home)"
ORPHANS_END_S = 12.0
_MOMENT_S = 0.2


class HomeRefused(PlaceRefused, Halt):
    """A home cannot be used as asked; the message says what to do."""


class HomeMissing(HomeRefused, NothingHere):
    """There is no home at this place, or it has no views yet."""


class Locked(HomeRefused):
    """Somebody else holds the home."""

    def __init__(self, message: str, holder: Holder) -> None:
        self.holder = holder
        super().__init__(message)


class Holder(msgspec.Struct):
    """Who holds a home: its process, what it does, and its address if it serves."""

    pid: int = 0
    doing: str = "something"
    url: str | None = None


class ServerInfo(msgspec.Struct):
    """The server that runs on a home."""

    url: str
    pid: int
    collector: int = 0


class WorkerState(msgspec.Struct):
    """What the worker of a home is doing: starting, rebuilding, running, failed, restarting,
    refused or stopped.

    `at` is in seconds since 1970, `pid` the process that said so.
    """

    state: str
    reason: str | None = None
    at: float = 0.0
    pid: int = 0


class HomeLock:
    """The right to append, until released. Processes that inherit `fileno()` hold it too."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        """The descriptor to hand on to children, so that the home is free only when all have ended."""
        return self._descriptor

    def say(self, doing: str, url: str | None = None) -> None:
        """Write down who holds the home, for those who are refused. On a full disk they are not told."""
        note = msgspec.json.encode(Holder(os.getpid(), doing, url))
        with contextlib.suppress(OSError):
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, note, 0)

    def release(self) -> None:
        """Give the home back, as far as this process is concerned."""
        self.say("nothing")
        os.close(self._descriptor)


class Home:
    """One home. Cheap to make; nothing is opened or written before it is asked for.

    `retired_s`: how long a store that was replaced stays open for those who were about to read it.
    """

    def __init__(self, path: Path | str, *, retired_s: float = 5.0) -> None:
        self.path = Path(path).absolute()
        self._retired_s = retired_s
        self.log_path = self.path / "log.sqlite"
        self.stores = self.path / "store"
        self.datasets = self.path / "datasets"
        self._guard = threading.Lock()
        self._open: tuple[int, bool, SqliteStore] | None = None
        self._retired: tuple[float, SqliteStore] | None = None

    @property
    def name(self) -> str:
        """What to call it: its folder."""
        return str(self.path)

    # ------------------------------------------------------------------------------------------ the log

    def exists(self) -> bool:
        """Whether there is a log here."""
        return self.log_path.exists()

    def must_exist(self) -> None:
        """Raises HomeMissing, which says how to make one."""
        if not self.exists():
            raise HomeMissing(
                f"there is no home at {self.path}. `loopline up --home {self.path}` makes one;"
                " --home or LOOPLINE_HOME names another."
            )

    def create(self, partitions: int) -> LogIdentity:
        """Make the folder and an empty log in it. The log is there whole or not at all.

        Raises HomeRefused when views or datasets of a lost log are here.
        """
        if self.exists():
            raise HomeRefused(f"there is a log at {self.log_path} already")
        if (self.stores / "CURRENT").exists():
            raise HomeRefused(
                f"{self.path} has views but no log: {self.log_path.name} was moved or lost. Bring it back,"
                f" or restore a backup (`loopline restore`). To begin anew, choose another --home."
            )
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        for stale in self.path.glob("log.sqlite.new*"):
            stale.unlink()
        fresh = self.path / "log.sqlite.new"
        identity = create_log(fresh, partitions)
        os.rename(fresh, self.log_path)
        sync_folder(self.path)
        return identity

    def fingerprint(self) -> str:
        """Which log is here, as its server says it. Raises HomeMissing."""
        with contextlib.closing(self.open_log()) as log:
            return log.identity.fingerprint

    def open_log(self, *, writable: bool = False) -> SqliteLog:
        """The log. Raises HomeMissing."""
        self.must_exist()
        return SqliteLog(self.log_path, writable=writable)

    # --------------------------------------------------------------------------------------- the stores

    def current_path(self) -> Path | None:
        """The file of the store that is read, or None while there is none."""
        try:
            name = (self.stores / "CURRENT").read_text(errors="replace").strip()
        except FileNotFoundError:
            return None
        if not _STORE_NAME.fullmatch(name):
            raise HomeRefused(
                f"{self.stores / 'CURRENT'} is damaged. Remove it: the server then builds the views anew."
            )
        return self.stores / name

    def store_name(self) -> str | None:
        """The file of the store that is read, or None while there is none."""
        path = self.current_path()
        return None if path is None else path.name

    def current_store(self, *, writable: bool = False) -> SqliteStore:
        """The store that is read, opened once and again after every switch. Do not close it.

        Raises HomeMissing while there is none: the worker makes the first one.
        """
        path = self.current_path()
        try:
            if path is None:
                raise FileNotFoundError
            # A file that was removed and made anew has the same name, and is another.
            file = path.stat().st_ino
        except FileNotFoundError:
            raise HomeMissing(
                f"{self.path} has no views yet: the worker of `loopline up` makes them"
            ) from None
        with self._guard:
            if self._retired is not None and time.monotonic() - self._retired[0] > self._retired_s:
                # The disk gets its room back only now.
                self._retired[1].close()
                self._retired = None
            if self._open is None or self._open[:2] != (file, writable):
                # Another thread may be about to read the old one: it is closed a while after this.
                if self._retired is not None:
                    self._retired[1].close()
                self._retired = None if self._open is None else (time.monotonic(), self._open[2])
                self._open = (file, writable, SqliteStore(path, writable=writable))
            return self._open[2]

    def close(self) -> None:
        """Close the store that `current_store` opened."""
        with self._guard:
            for store in (self._retired and self._retired[1], self._open and self._open[2]):
                if store is not None:
                    store.close()
            self._open = self._retired = None

    def new_store(self, identity: LogIdentity) -> Path:
        """An empty store beside the others. It is not read before `switch`."""
        self.stores.mkdir(parents=True, exist_ok=True, mode=0o700)
        numbers = [int(match[2]) for name in os.listdir(self.stores) if (match := _STORE_NAME.match(name))]
        path = self.stores / f"views-{VIEWS_VERSION}-{max(numbers, default=0) + 1}.sqlite"
        create_store(path, identity, TABLES)
        return path

    def switch(self, path: Path, *, grace_s: float = 0.0) -> None:
        """Make a store the current one and remove the others, after a grace for those who read them."""
        pointer = self.stores / "CURRENT"
        replace_file(pointer, path.name.encode() + b"\n")
        if grace_s:
            time.sleep(grace_s)
        self.remove_stale_stores()

    def remove_stale_stores(self) -> None:
        """Remove every store but the current one. Only under `building`: nobody else builds one then."""
        current = self.current_path()
        if current is None or not current.exists():
            return
        for entry in self.stores.iterdir():
            if _STORE_NAME.match(entry.name) and not entry.name.startswith(current.name):
                entry.unlink(missing_ok=True)

    @contextlib.contextmanager
    def anew(self, identity: LogIdentity, *, grace_s: float = 0.0) -> Iterator[SqliteStore]:
        """An empty store beside the one that is read, which takes its place when the context ends well.

        Raises HomeRefused when another process builds one.
        """
        with self.building():
            self.remove_stale_stores()
            path = self.new_store(identity)
            with contextlib.closing(SqliteStore(path, writable=True)) as fresh:
                yield fresh
            self.switch(path, grace_s=grace_s)

    @contextlib.contextmanager
    def building(self) -> Iterator[None]:
        """The right to build a store beside the current one. Raises HomeRefused when another does."""
        self.stores.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.stores / "building", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _flock(descriptor):
                raise HomeRefused("the views are being rebuilt by another process: wait for it to end")
            yield
        finally:
            os.close(descriptor)

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for work aside, on the home's own disk, removed at the end. Raises DiskFull."""
        folder = Path(tempfile.mkdtemp(prefix=f"{SCRATCH_PREFIX}{os.getpid()}-", dir=self.path))
        try:
            with telling_full_disk(self.path, ON_A_LARGER_DISK):
                yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def sweep(self) -> None:
        """Remove what processes that were killed have left aside."""
        for folder in self.path.glob(f"{SCRATCH_PREFIX}*"):
            pid = folder.name.removeprefix(SCRATCH_PREFIX).partition("-")[0]
            if not (pid.isdigit() and _alive(int(pid))):
                shutil.rmtree(folder, ignore_errors=True)

    def write_back(self) -> None:
        """Write the write-ahead logs back, of processes that were killed too; for who holds the home alone.

        Whoever copies the files then has all of it. What cannot be written now is as safe where it is.
        """
        with contextlib.suppress(Refused, OSError):
            self.open_log(writable=True).close()
            if (path := self.current_path()) is not None:
                SqliteStore(path, writable=True).close()

    # ---------------------------------------------------------------------------------- who is at work

    def lock(self, doing: str, *, wait_s: float = 0.0) -> HomeLock:
        """Take the home for appending. A server is not waited for; a command is, up to `wait_s`.

        Raises Locked, which says who holds it, and NotOurs.
        """
        if not self.path.is_dir():
            raise HomeMissing(f"there is no folder {self.path}")
        must_be_ours(self.path)
        descriptor = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        asked_at = time.monotonic()
        while not _flock(descriptor):
            holder = self.holder()
            if not holder.pid:
                # It has not said yet who it is.
                patience_s = max(wait_s, 1.0)
            elif not _alive(holder.pid):
                # Its children write down what they took, and end.
                patience_s = max(wait_s, ORPHANS_END_S)
            else:
                # A moment in any case: somebody may only look whether it is held.
                patience_s = _MOMENT_S if holder.url is not None else max(wait_s, _MOMENT_S)
            if time.monotonic() - asked_at >= patience_s:
                os.close(descriptor)
                where = f" at {holder.url}" if holder.url else ""
                raise Locked(
                    f"{self.path} is held by process {holder.pid} ({holder.doing}{where})."
                    " One home has one server: use that one, stop it, or choose another --home.",
                    holder,
                )
            time.sleep(0.05)
        lock = HomeLock(descriptor)
        lock.say(doing)
        return lock

    def holder(self) -> Holder:
        """Who said last that they hold the home."""
        return _read_json(self.path / "lock", Holder) or Holder()

    def is_held(self) -> bool:
        """Whether some process holds the home now. A copy of a home that is held is not held."""
        try:
            descriptor = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            # Shared: two who look do not see each other.
            return not _flock(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)

    def server(self) -> ServerInfo | None:
        """The server that runs here, as it wrote down itself.

        What is written is believed while its process is alive and the home is held: in a copied folder, and
        after a server was killed, it speaks of another one. Raises HomeRefused when others could have
        written it.
        """
        note = self.path / "server.json"
        info: ServerInfo | None = _read_json(note, ServerInfo)
        if info is None or not _alive(info.pid) or not self.is_held():
            return None
        for path in (self.path, note):
            with contextlib.suppress(FileNotFoundError):
                if (why := distrusted(path)) is not None:
                    raise HomeRefused(f"the server that {note} names is not believed: {why}.")
        return info

    def say_server(self, info: ServerInfo | None) -> None:
        """Write down where the server is, or that there is none."""
        if info is None:
            (self.path / "server.json").unlink(missing_ok=True)
        else:
            replace_file(self.path / "server.json", msgspec.json.encode(info))

    def worker_state(self) -> WorkerState:
        """What the worker said last."""
        return _read_json(self.path / "worker.json", WorkerState) or WorkerState("unknown")

    def say_worker(self, state: str, reason: str | None = None) -> None:
        """Write down what the worker does. It is no truth: a full disk only leaves it old."""
        said = WorkerState(state, reason and redacted(reason), time.time(), os.getpid())
        with contextlib.suppress(OSError):
            replace_file(self.path / "worker.json", msgspec.json.encode(said))


def remove_database(path: Path) -> None:
    """Remove an SQLite file and what lies beside it."""
    for side in _SIDES:
        path.with_name(path.name + side).unlink(missing_ok=True)


def _flock(descriptor: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return pid > 0


def _read_json(path: Path, kind: type[Any]) -> Any:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
