"""Looking at the machine, a home and its server, and saying what to do about what is wrong.

Nothing is changed, but for a small file that is written, synced and removed to see whether that works.
Each check answers with findings; a check that fails by itself is a finding too. What a cluster has instead
of a home is looked at by `feedback.doctor.cluster`.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import sqlite3
import stat
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from feedback.datasets.shelf.address import shelf_of
from feedback.disk import NotOurs, must_be_ours
from feedback.doctor.cluster import examine_cluster
from feedback.doctor.finding import (
    FAIL,
    OK,
    WARN,
    Finding,
    Findings,
    checked,
    clock,
    contents,
    releases,
    server,
)
from feedback.installation.cluster import Cluster
from feedback.installation.home import SCRATCH_PREFIX, Home, HomeRefused
from feedback.plurals import many
from feedback.processes.supervisor import listen
from feedback.redaction import redacted
from feedback.server.door import files_for
from feedback.server_client import NoAddress, NoAnswer, address_of, health, log_in, reach
from feedback.settings import value
from streams.log.port import format_positions
from streams.projection.apply import OtherViews, check
from streams.queries.freshness import lag
from streams.queries.payloads import Payloads
from streams.store.port import StoreRefused
from streams.store.sqlite.store import SqliteStore

_LEAST_SQLITE = (3, 37, 0)
_FREE_WARN, _FREE_FAIL = 1024**3, 64 * 1024**2
_SLOW_SYNC_S = 0.1


def examine(place: Home | Cluster, url: str | None, host: str, port: int) -> list[Finding]:
    """Everything that was found, in the order it was looked at.

    Args:
        url: the server that was named, if any.
        host, port: where a server would listen that is started now.
    """
    found = [*checked("python", _python), *checked("sqlite", _sqlite), *checked("files", _files)]
    if isinstance(place, Home):
        found += _home(place, url, host, port)
    else:
        found += examine_cluster(place, url or address_of(host, port))
    return [finding._replace(said=redacted(finding.said), do=redacted(finding.do)) for finding in found]


def _home(home: Home, url: str | None, host: str, port: int) -> list[Finding]:
    found: list[Finding] = []
    if not home.path.is_dir():
        do = f"`loopline up --home {home.path}` makes one; --home or LOOPLINE_HOME names another"
        # A server elsewhere needs no home here.
        found.append(Finding("home", WARN if url else FAIL, f"there is no folder {home.path}", do))
    else:
        for subject, look in _OF_A_HOME:
            found += checked(subject, look, home)
    found += checked("server", _server, home, url)
    if url is None and home.server() is None:
        found += checked("port", _port, host, port)
    return found


# ------------------------------------------------------------------------------------------- the machine


def _python() -> Findings:
    version = ".".join(map(str, sys.version_info[:3]))
    # The package does not install on an older one; which one runs it is worth knowing all the same.
    yield Finding("python", OK, f"{version} at {sys.executable}")


def _sqlite() -> Findings:
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        options = {option for (option,) in connection.execute("PRAGMA compile_options")}
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        least = ".".join(map(str, _LEAST_SQLITE))
        yield Finding("sqlite", FAIL, version, f"SQLite {least} is needed: use a newer Python or system")
    elif "THREADSAFE=0" in options:
        yield Finding("sqlite", FAIL, f"{version}, built without threads", "use another build of Python")
    else:
        threads = next((option for option in options if option.startswith("THREADSAFE")), "threads unknown")
        yield Finding("sqlite", OK, f"{version}, {threads}")


def _files() -> Findings:
    """Each connection of a server is an open file; it raises its own bound as far as it may."""
    connections = value("max_connections")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = files_for(connections)
    if most != resource.RLIM_INFINITY and most < needed:
        do = f"raise the hard limit (ulimit -Hn {needed}, LimitNOFILE={needed}), or lower max_connections"
        yield Finding("files", WARN, f"{most} may be open, and {connections} connections need {needed}", do)
    else:
        yield Finding("files", OK, f"room for {connections:,} connections")


# ---------------------------------------------------------------------------------------------- the home


def _folder(home: Home) -> Findings:
    mode = stat.S_IMODE(home.path.stat().st_mode)
    if not os.access(home.path, os.R_OK | os.W_OK | os.X_OK):
        yield Finding("home", FAIL, f"{home.path} cannot be written by this user", "run as its owner")
    elif problem := _not_ours(home.path):
        yield Finding("home", FAIL, problem)
    elif mode & 0o077:
        do = f"it may hold personal data: chmod 700 {home.path}"
        yield Finding("home", WARN, f"{home.path} can be opened by other users ({mode:o})", do)
    else:
        yield Finding("home", OK, str(home.path))
    left = [entry.name for entry in home.path.glob(f"{SCRATCH_PREFIX}*")]
    if left:
        yield Finding(
            "scratch",
            WARN,
            f"{many(len(left), 'folder')} of work aside",
            "the next `loopline up` removes old ones",
        )


def _not_ours(folder: Path) -> str:
    """Why a folder cannot be trusted; empty when it can."""
    try:
        must_be_ours(folder)
    except NotOurs as refusal:
        return str(refusal)
    return ""


def _shelf(home: Home) -> Findings:
    """Whether releases lie where nobody else can put others in their place."""
    address = str(value("datasets") or home.datasets)
    folder = Path(address)
    if "://" in address or not folder.is_dir():
        return
    mode = stat.S_IMODE(folder.stat().st_mode)
    if problem := _not_ours(folder):
        yield Finding("datasets", FAIL, problem)
    elif mode & 0o020:
        yield Finding("datasets", WARN, f"a group can write into {folder} ({mode:o})", f"chmod 700 {folder}")
    else:
        yield Finding("datasets", OK, str(folder))


def _releases(home: Home) -> Findings:
    path = home.current_path()
    if path is not None and path.exists():
        with contextlib.closing(SqliteStore(path)) as store:
            yield from releases(store, shelf_of(value("datasets") or home.datasets))


def _disk(home: Home) -> Findings:
    free = shutil.disk_usage(home.path).free
    said = f"{free / 1024**3:.1f} GiB free"
    do = "make room: with a full disk events are answered with 503"
    state = FAIL if free < _FREE_FAIL else WARN if free < _FREE_WARN else OK
    yield Finding("disk", state, said, do if state != OK else "")


def _sync(home: Home) -> Findings:
    started = time.perf_counter()
    with tempfile.TemporaryFile(dir=home.path) as file:
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
    took = time.perf_counter() - started
    if took > _SLOW_SYNC_S:
        do = "every answer waits for a sync: put the home on a local disk"
        yield Finding("fsync", WARN, f"{took * 1000:.0f} ms", do)
    else:
        yield Finding("fsync", OK, f"{took * 1000:.1f} ms")


def _lock(home: Home) -> Findings:
    server = home.server()
    holder = home.holder()
    if server is not None:
        yield Finding("lock", OK, f"held by the server, process {server.pid}")
    elif holder.doing == "nothing" or not holder.pid:
        yield Finding("lock", OK, "free")
    else:
        yield Finding("lock", OK, f"last held by process {holder.pid} ({holder.doing})")


def _log(home: Home) -> Findings:
    if not home.exists():
        yield Finding("log", FAIL, "there is no log", "`loopline up` makes one; or `loopline restore`")
        return
    with contextlib.closing(home.open_log()) as log:
        identity, ends = log.identity, log.ends()
    size = home.log_path.stat().st_size
    said = f"{identity.id}, epoch {identity.epoch}, at {format_positions(ends)}, {size / 1024**2:.1f} MiB"
    yield Finding("log", OK, said)


def _views(home: Home) -> Findings:
    if not home.exists():
        return
    path = home.current_path()
    if path is None or not path.exists():
        yield Finding("views", WARN, "there are none yet", "`loopline up` makes them from the log")
        return
    with contextlib.closing(home.open_log()) as log, contextlib.closing(SqliteStore(path)) as store:
        try:
            check(log, store)
        except OtherViews as error:
            yield Finding("views", WARN, str(error), "`loopline up` builds new ones by itself")
            return
        except StoreRefused as error:
            yield Finding("views", FAIL, str(error))
            return
        ends = log.ends()
        with store.snapshot() as snapshot:
            positions = snapshot.positions()
            at = format_positions({partition: applied.offset for partition, applied in positions.items()})
            yield Finding("views", OK, f"version {store.views_version}, at {at or 'the beginning'}")
            yield from _progress(home, lag(positions, ends))
            yield from contents(snapshot, Payloads(log))


def _progress(home: Home, behind: int) -> Findings:
    said = home.worker_state()
    if said.state == "refused":
        yield Finding("worker", FAIL, f"it refuses to run: {said.reason}")
    elif home.server() is None:
        state = WARN if behind else OK
        yield Finding(
            "worker", state, f"not running, {many(behind, 'block')} behind", "`loopline up`" if behind else ""
        )
    elif said.state != "running":
        yield Finding(
            "worker", WARN, f"{said.state}: {said.reason or 'since a moment'}, {many(behind, 'block')} behind"
        )
    else:
        yield Finding("worker", OK, f"running, {many(behind, 'block')} behind")


def _clock(home: Home) -> Findings:
    if not home.exists() or (path := home.current_path()) is None or not path.exists():
        return
    with contextlib.closing(SqliteStore(path)) as store, store.snapshot() as snapshot:
        newest = max((applied.received for applied in snapshot.positions().values()), default=0) / 1e9
    yield from clock(newest)


_OF_A_HOME: tuple[tuple[str, Callable[[Home], Findings]], ...] = (
    ("home", _folder),
    ("datasets", _shelf),
    ("disk", _disk),
    ("fsync", _sync),
    ("lock", _lock),
    ("log", _log),
    ("views", _views),
    ("releases", _releases),
    ("clock", _clock),
)


# -------------------------------------------------------------------------------------------- the server


def _server(home: Home, url: str | None) -> Findings:
    info = home.server()
    url = url or (info.url if info else None)
    if url is None:
        yield Finding("server", WARN, "none runs on this home", "`loopline up`")
        return
    if _serves_another(home, url):
        do = "it is not this home's: correct --url (LOOPLINE_URL) or --home"
        if info is not None and url == info.url:
            do = "it is not this home's: remove server.json there, then `loopline up`"
        yield Finding("server", FAIL, f"{url} serves another log than the one in {home.path}", do)
        return
    yield from server(url, "start it (`loopline up`), or correct --url")


def _serves_another(home: Home, url: str) -> bool:
    """Whether a server serves the log of another home; what does not answer so is judged elsewhere."""
    if not home.exists():
        return False
    try:
        with contextlib.closing(reach(url, timeout_s=10.0)) as service:
            return log_in(health(service)) not in (None, home.fingerprint())
    except (NoAnswer, NoAddress):
        return False


def _port(host: str, port: int) -> Findings:
    try:
        listen(host, port).close()
    except HomeRefused as error:
        yield Finding("port", WARN, str(error))
    else:
        yield Finding("port", OK, f"{host}:{port} is free")
