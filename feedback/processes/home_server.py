"""The composition root: a home's log, store and application put together, as processes or in one.

    python -P -m feedback.processes.home_server collector HOME --socket FD
    python -P -m feedback.processes.home_server worker HOME

are the two processes of a server; `feedback.processes.supervisor` starts them and watches over them.
`InProcess` is the same application without a server, for a command that runs while there is none.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from feedback.disk import keep_to_oneself, telling_full_disk
from feedback.installation.home import ON_A_LARGER_DISK, Home, HomeMissing
from feedback.installation.rebuild import ready_store
from feedback.processes.deciders import deciding_at_home, leave
from feedback.processes.logging import configure, quieter
from feedback.processes.watchdog import show_stacks_on_request, sign
from feedback.server_client import Answer
from feedback.settings import value
from schemas.errors import Halt
from streams.daemon_pool import each, start_daemon
from streams.log.port import Log, LogWriter
from streams.projection.apply import advance
from streams.projection.follow import Worker
from streams.projection.rebuild import Progress
from streams.store.port import Store

if TYPE_CHECKING:
    from types import FrameType

    from feedback.server.app import Server
    from streams.log.sqlite import SqliteLog
    from streams.metrics import Metrics
    from streams.store.sqlite.store import SqliteStore

STOPPED, VIEWS_GONE, FAILED, REFUSED_TO_RUN = 0, 1, 2, 64
GRACEFUL_S = 5
CATCH_UP_S = 5.0
_ORPHAN_S = 10.0

_log = structlog.get_logger("loopline")


# ------------------------------------------------------------------------------------------- the server


def application(
    log: Log, writer: LogWriter, metrics: Metrics, store: Callable[[], Store], shelf: Any, **more: Any
) -> Server:
    """The application on adapters that were chosen. `shelf`: where releases lie; `more`: for `build_app`."""
    from feedback.api.services import WAITS
    from feedback.datasets.lineage import releases_with
    from feedback.datasets.shelf.address import shelf_of
    from feedback.server.app import build_app

    releases = shelf_of(shelf)

    def lineage(model: str, event_id: str, source: str) -> list[str]:
        return releases_with(releases, model, source, event_id)

    return build_app(
        log=log,
        writer=writer,
        store=store,
        datasets=releases,
        metrics=metrics,
        lineage=lineage,
        outcome_window_days=value("outcome_window"),
        maturity_days=value("maturity"),
        waits=WAITS._replace(stuck=value("stuck_after")),
        **more,
    )


def _at_home(
    home: Home,
    log: Log,
    writer: LogWriter,
    metrics: Metrics,
    store: Callable[[], Store],
    datasets: str | None,
) -> Server:
    """The application on a home."""
    from feedback.api.services import WorkerSays

    def worker() -> WorkerSays:
        said = home.worker_state()
        return WorkerSays(said.state, said.reason)

    return application(log, writer, metrics, store, datasets or home.datasets, worker=worker)


def serve(
    app: Server, listening: socket.socket, log_level: str, hear: Callable[[int], None] = lambda number: None
) -> None:
    """Serve on a socket that listens already, until SIGTERM or SIGINT; `hear` is told of those at once."""
    import uvicorn

    from feedback.server import door

    hosts = door.hosts_of(listening, value("host"))
    config = door.config(app, hosts, refused=app.refused, log_level=quieter(log_level), lifespan="on")
    _log.info("the collector runs", address="{}:{}".format(*listening.getsockname()[:2]))
    ignore_hangups()

    class Hearing(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            hear(sig)
            super().handle_exit(sig, frame)

    server = Hearing(config)
    # uvicorn raises the signal again after it has ended; by then nothing is left to do.
    with contextlib.suppress(KeyboardInterrupt), _signals_ignored_after():
        server.run(sockets=[listening])


def run_collector(home: Home, descriptor: int, log_level: str, orphaned: threading.Event) -> int:
    """Serve on a socket that listens already, until SIGTERM; what was taken is written before the end.

    Where whoever started it is gone (`orphaned`), it takes the address back that is written down.
    """
    from streams.log.writer import Appender
    from streams.metrics import Metrics

    metrics = Metrics()
    log = home.open_log(writable=True)
    appender = Appender(log, metrics)
    try:
        app = _at_home(home, log, appender, metrics, home.current_store, value("datasets"))
        with each(1.0, "each second", partial(_shorten, log)):
            serve(app, socket.socket(fileno=descriptor), log_level)
    finally:
        appender.stop()
        home.close()
        log.close()
        if orphaned.is_set():
            home.say_server(None)
    return STOPPED


def _shorten(log: SqliteLog) -> None:
    """Cut the write-ahead log while it rests."""
    try:
        log.shorten()
    except Exception as error:
        # Whatever it was: the next second is another try.
        _log.warning("tidying up went wrong", reason=repr(error))


@contextlib.contextmanager
def _signals_ignored_after() -> Any:
    """What uvicorn restores when it ends, and then raises again, is to ignore the signal."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run_worker(home: Home, signs: int = -1) -> int:
    """Follow the log until SIGTERM, then catch up with what is there; says in the home what it does.

    Each turn of its work is told on the pipe `signs`.
    """
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    home.say_worker("starting")
    log = home.open_log()
    try:

        def each_turn(store: SqliteStore) -> None:
            sign(signs)
            runner.touched(store.take_touched())
            store.shorten()

        def rebuilding(done: int, total: int) -> None:
            sign(signs)
            if stop.is_set():
                raise _Stopped
            home.say_worker("rebuilding", f"{done} of {total} blocks are in the new views")

        with telling_full_disk(home.path, ON_A_LARGER_DISK):
            ready_store(home, log, _now_and_then(rebuilding))
        home.say_worker("running")
        _log.info("the worker runs", views=home.store_name())
        with deciding_at_home(home) as runner:
            Worker(log, lambda: home.current_store(writable=True), each_turn=each_turn).run(stop)
        _catch_up(log, home.current_store(writable=True))
    except _Stopped:
        pass
    except HomeMissing as error:
        # The views were removed while it ran: the next start makes them anew.
        _log.error("the worker starts again", reason=str(error))
        return VIEWS_GONE
    except Halt as error:
        _log.error("the worker does not run", reason=str(error))
        home.say_worker("refused", str(error))
        return REFUSED_TO_RUN
    except Exception as error:
        # A full disk, say: whoever started this process tries again.
        _log.exception("the worker failed")
        home.say_worker("failed", str(error) or repr(error))
        return FAILED
    finally:
        log.close()
        # The last one to write there takes the write-ahead log along.
        home.close()
    home.say_worker("stopped")
    return STOPPED


class _Stopped(Exception):
    """The worker was asked to stop while it rebuilt its views."""


def _now_and_then(report: Progress, every_s: float = 1.0) -> Progress:
    last = 0.0

    def limited(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= every_s:
            last = time.monotonic()
            report(done, total)

    return limited


def _catch_up(log: Log, store: Store) -> None:
    deadline = time.monotonic() + CATCH_UP_S
    while advance(log, store) and time.monotonic() < deadline:
        pass


# ------------------------------------------------------------------------------------- without a server


class InProcess:
    """The application without a server: holds the home's lock, and keeps the views caught up itself.

    It is a `feedback.server_client.Service`. Raises Locked, or StoreRefused.
    """

    def __init__(self, home: Home, *, wait_s: float = 0.0, datasets: str | None = None) -> None:
        from streams.log.writer import Appender
        from streams.metrics import Metrics

        self.name = str(home.path)
        self._closing = contextlib.ExitStack()
        with contextlib.ExitStack() as opened:
            lock = home.lock("a command", wait_s=wait_s)
            opened.callback(lock.release)
            self.log = home.open_log(writable=True)
            opened.callback(self.log.close)
            opened.callback(home.close)
            self.store = ready_store(home, self.log)
            self._settle()
            metrics = Metrics()
            appender = Appender(self.log, metrics)
            opened.callback(appender.stop)
            self._app = _at_home(home, self.log, appender, metrics, lambda: self.store, datasets)
            self._runner = opened.enter_context(asyncio.Runner())
            self._closing = opened.pop_all()

    def _settle(self) -> None:
        while advance(self.log, self.store):
            pass

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request to the application; after one that may have appended, the views are caught up."""
        answer = self._runner.run(_call(self._app, method, path, body, headers or {}))
        if method != "GET":
            self._settle()
        return answer

    def close(self) -> None:
        """Give the home back."""
        self._closing.close()


async def _call(
    app: Callable[..., Any], method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> Answer:
    from urllib.parse import unquote

    raw, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw),
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), text.encode()) for name, text in headers.items()],
        "server": ("127.0.0.1", 0),
        "client": ("127.0.0.1", 0),
    }
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    names = {name.decode().lower(): text.decode() for name, text in sent[0]["headers"]}
    return Answer(sent[0]["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))


# -------------------------------------------------------------------------------------------- processes


def end_with_parent() -> threading.Event:
    """End when the process that started this one does: it holds the other end of standard input.

    The event says that it is so.
    """
    orphaned = threading.Event()

    def watch() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 1024):
                pass
        orphaned.set()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_ORPHAN_S)
        os._exit(1)

    start_daemon("parent", watch)
    return orphaned


def ignore_hangups() -> None:
    """SIGHUP, as when a terminal is closed, ends no server, and has none read anything anew."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


def main(arguments: list[str] | None = None) -> int:
    """Be one of the two processes."""
    parser = argparse.ArgumentParser(prog="feedback.processes.home_server", description=__doc__)
    parser.add_argument("process", choices=("collector", "worker"))
    parser.add_argument("home")
    parser.add_argument("--socket", type=int, default=-1)
    parser.add_argument("--signs", type=int, default=-1)
    parser.add_argument("--log-level", default="info")
    chosen = parser.parse_args(arguments)
    keep_to_oneself()
    configure(chosen.log_level, value("log_format"), chosen.process)
    ignore_hangups()
    show_stacks_on_request()
    orphaned = end_with_parent()
    home = Home(chosen.home)
    if chosen.process == "worker":
        return leave(run_worker(home, chosen.signs))
    return run_collector(home, chosen.socket, chosen.log_level, orphaned)


if __name__ == "__main__":
    sys.exit(main())
