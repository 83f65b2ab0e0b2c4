"""The one way in to every port of ours: what is refused before an application sees it, counted by its code.

`Door` stands before an application and looks at whom a request is for and where it comes from
(`feedback.server.hosts`); bytes, time and number of connections are bounded below it, by the protocol
(`feedback.server.http_protocol`). `config` puts both around an application, for whoever runs uvicorn, and
`InThread` runs one beside a process's own work.
"""

from __future__ import annotations

import asyncio
import resource
import socket
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import structlog

from feedback.server.hosts import Hosts
from feedback.server.http_protocol import SPARE, Limits, OneWrite, Watch
from feedback.settings import value
from streams.daemon_pool import start_daemon
from streams.ingest.asgi import Receive, Scope, Send, send_problem

if TYPE_CHECKING:
    import uvicorn

GRACEFUL_S = 5
# Log, views, brokers, database, files that are read and sent: what a server opens besides connections.
OWN_FILES = 200
_START_S = 10.0

Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_log = structlog.get_logger("loopline")


class Door:
    """An ASGI application that hands on what is for this server, and answers the rest itself.

    Args:
        refused: told the code of each refusal.
    """

    def __init__(
        self, application: Application, hosts: Hosts, refused: Callable[[str], None] = lambda code: None
    ) -> None:
        self._application = application
        self._hosts = hosts
        self._refused = refused

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer one request, or take part in the server's start and end."""
        if scope["type"] == "http":
            local = scope.get("server")
            refusal = self._hosts.refusal(
                scope["headers"],
                local=local[0] if local else None,
                method=scope["method"],
                path=scope["path"],
                version=scope["http_version"],
            )
            if refusal is not None:
                self._refused(refusal.problem.code)
                return send_problem(send, refusal.status, refusal.problem)
        return self._application(scope, receive, send)


def hosts_of(listening: socket.socket, host: str | None = None) -> Hosts:
    """The hosts that a server on this socket answers to; `host` is what it was told to listen on."""
    named = [host] if host else []
    return Hosts([str(listening.getsockname()[0]), *named], value("allowed_hosts"))


def files_for(connections: int) -> int:
    """How many files a server with so many connections may have open."""
    return connections + SPARE + OWN_FILES


def fitting_connections(wanted: int) -> int:
    """How many connections this process can bear with the files that it may have open; makes room first.

    Raises the process's own bound (RLIMIT_NOFILE) as far as it may; what is missing then is logged.
    """
    needed = files_for(wanted)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        able = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(able, soft), hard))
        soft = max(able, soft)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    # Where even what is set aside does not fit: an ordinary day needs some sixty of it, and no spare ones.
    fitting = max(soft - SPARE - OWN_FILES, soft // 4, 1)
    _log.warning(
        "fewer connections than max_connections: this process may not open more files",
        connections=fitting,
        max_connections=wanted,
        open_files=soft,
    )
    return fitting


def config(
    application: Application,
    hosts: Hosts,
    *,
    refused: Callable[[str], None] = lambda code: None,
    limits: Limits | None = None,
    **more: Any,
) -> uvicorn.Config:
    """How uvicorn serves an application behind the door."""
    import uvicorn

    limits = limits or Limits(connections=fitting_connections(value("max_connections")))
    return uvicorn.Config(
        cast(Any, Door(application, hosts, refused)),
        interface="asgi3",
        # Its lines are lines of ours, and requests are counted, not told: a path may name a person.
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=GRACEFUL_S,
        server_header=False,
        # Nothing here looks at who asks, so nothing needs to know what a proxy says about it.
        proxy_headers=False,
        http=cast(Any, partial(OneWrite, watch=Watch(limits, refused))),
        ws="none",
        **more,
    )


class InThread:
    """An application on a socket of its own, served from a thread until `close`.

    Raises OSError when it does not start.
    """

    def __init__(self, application: Application, listening: socket.socket, hosts: Hosts) -> None:
        import uvicorn

        self._listening = listening
        self._server = uvicorn.Server(config(application, hosts, lifespan="off"))
        self._started = threading.Event()
        self._thread = start_daemon("port", self._run)
        if not self._started.wait(_START_S):
            raise OSError("the port was not served in time")

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        serving = asyncio.ensure_future(self._server.serve(sockets=[self._listening]))
        serving.add_done_callback(lambda _: self._started.set())
        while not (self._server.started or serving.done()):  # noqa: ASYNC110 -- uvicorn sets no event
            await asyncio.sleep(0.01)
        self._started.set()
        await serving

    def close(self) -> None:
        """Stop serving."""
        self._server.should_exit = True
        self._thread.join(GRACEFUL_S + 1)
        self._listening.close()
