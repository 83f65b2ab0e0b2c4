"""HTTP/1.1 as the server speaks it: uvicorn's protocol, bounded in bytes, time and number, in one write.

uvicorn reads a request of any size for any time from any number of connections. Here

1. more than `connections` are answered with 503 and closed, far more than that are closed at once;
2. a head over `head_bytes`, or of more than `head_lines`, is answered with 431;
3. a request that is not whole `request_s` after its first byte is answered with 408, and a connection on
   which none begins is closed;
4. an answer that is not read is given up: `write_s`, and the time that its bytes take at a slow line's pace;
5. whatever is refused closes its connection: what comes behind it cannot be believed.

Nothing of it costs a timer a request: one look every half second goes over all connections. A refusal in the
middle of pipelined requests waits for the answers to those before it.

Answers leave in one write: uvicorn sends an answer's head and its body apart, and every write is a system
call that wakes the other side; a sixth of the server's CPU for a small request goes into the second one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from http import HTTPStatus
from typing import Any, NamedTuple, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from feedback.server.hosts import authority_of
from schemas.problems import problem
from streams.ingest.asgi import PROBLEM_TYPE, problem_body

LOOK_S = 0.5
# Connections over the bound that are answered with 503; more are closed without a word.
SPARE = 64
# How long what a refused client still sends is read and thrown away, so that it sees the answer.
_LINGER_S = 1.0
# What is left of a request when its body is thrown away, and the chunks' own bytes around a body.
_MOST_BYTES = 16 * 1024 * 1024
_SLOWEST_BYTES_A_SECOND = 16 * 1024


class Limits(NamedTuple):
    """What a server bears of its clients."""

    connections: int = 1000
    head_bytes: int = 32 * 1024
    head_lines: int = 200
    request_s: float = 10.0
    write_s: float = 30.0


class JoinedWrites:
    """A transport that puts together what is written in one turn of the loop. All else is the inner one's."""

    __slots__ = ("_inner", "_loop", "_parts")

    def __init__(self, inner: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._inner = inner
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Write with what else is written in this turn of the loop."""
        if not self._parts:
            self._loop.call_soon(self.flush)
        self._parts.append(data)

    def flush(self) -> None:
        """Write now what was put together."""
        if self._parts:
            parts, self._parts = self._parts, []
            self._inner.write(b"".join(parts))

    def close(self) -> None:
        """Close, after what was written before."""
        self.flush()
        self._inner.close()

    def write_eof(self) -> None:
        """Say that nothing more is written, after what was written before."""
        self.flush()
        self._inner.write_eof()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Watch:
    """Looks at all connections of a server now and then, as long as there are any.

    Args:
        refused: told the code of each refusal.
    """

    def __init__(self, limits: Limits, refused: Callable[[str], None] = lambda code: None) -> None:
        self.limits = limits
        self.refused = refused
        self._looked = 0.0
        self._due: asyncio.TimerHandle | None = None

    def begin(self, loop: asyncio.AbstractEventLoop, connections: Collection[Any]) -> None:
        """Look from now on, if nobody does yet."""
        if self._due is None:
            self._looked = loop.time()
            self._due = loop.call_later(LOOK_S, self._look, loop, connections)

    def _look(self, loop: asyncio.AbstractEventLoop, connections: Collection[Any]) -> None:
        now = loop.time()
        # After a pause of the whole process, what has arrived meanwhile is read first.
        late = now - self._looked > 4 * LOOK_S
        self._looked, self._due = now, None
        for each in list(connections):
            if isinstance(each, OneWrite) and not late:
                each.look(now)
        if connections:
            self._due = loop.call_later(LOOK_S, self._look, loop, connections)


class _Excess(Exception):
    """The head of a request is over its limit."""


class _Refusal(NamedTuple):
    """What a request is answered with by the protocol itself."""

    status: int
    code: str
    detail: str
    extra: bytes = b""


_NOT_HTTP = _Refusal(400, "invalid_request", "this is no HTTP/1.1 request that can be understood")
_TOO_LARGE = _Refusal(413, "too_large", "the request goes on and on. Nothing of it was kept.")
_BUSY = _Refusal(
    503, "busy", "there are as many connections as this server takes; try again", b"retry-after: 1\r\n"
)


class OneWrite(HttpToolsProtocol):
    """uvicorn's protocol within limits, on such a transport. `watch` is shared by a server's connections."""

    def __init__(self, *args: Any, watch: Watch, **named: Any) -> None:
        super().__init__(*args, **named)
        self._watch = watch
        self._limits = watch.limits
        # Since when the next request, or the rest of one, is waited for.
        self._since = 0.0
        self._bytes = 0
        # In the head of a request; and whether the last one that began has been received whole.
        self._in_head = False
        self._whole = True
        self._refused = False
        self._due: _Refusal | None = None
        self._closing_since = self._stuck_since = self._patience_s = 0.0

    # ------------------------------------------------------------------------------------ connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin a connection, or turn it away."""
        joined = cast(asyncio.Transport, JoinedWrites(cast(asyncio.Transport, transport), self.loop))
        super().connection_made(joined)
        self._since = self.loop.time()
        self._watch.begin(self.loop, self.connections)
        over = len(self.connections) - self._limits.connections
        if over > SPARE:
            self._watch.refused(_BUSY.code)
            self._refused = True
            self.connections.discard(self)
            self.transport.abort()
        elif over > 0:
            self._answer(_BUSY)

    def look(self, now: float) -> None:
        """End what takes too long."""
        if self.transport.is_closing():
            # A client that never reads: what was written for it never leaves.
            self._closing_since = self._closing_since or now
            if now - self._closing_since > self._limits.request_s:
                self.transport.abort()
        elif self._stuck_since and now - self._stuck_since > self._patience_s:
            self._watch.refused("timeout")
            self.transport.abort()
        elif not self._refused and now - self._since > self._limits.request_s:
            self._look_at_request()

    def _look_at_request(self) -> None:
        if self._whole:
            # Nothing has begun: there is no request to answer.
            cycle: Any = self.cycle
            if cycle is None or cycle.response_complete:
                self.transport.close()
        elif not self.flow.read_paused:
            seconds = self._limits.request_s
            self._refuse(_Refusal(408, "timeout", f"the request was not here whole after {seconds:g} s"))

    def pause_writing(self) -> None:
        """The client reads more slowly than is written."""
        super().pause_writing()
        self._stuck_since = self.loop.time()
        waiting = self.transport.get_write_buffer_size()
        self._patience_s = self._limits.write_s + waiting / _SLOWEST_BYTES_A_SECOND

    def resume_writing(self) -> None:
        """It has caught up."""
        super().resume_writing()
        self._stuck_since = 0.0

    # --------------------------------------------------------------------------------------- requests

    def data_received(self, data: bytes) -> None:
        """Take in what has arrived, up to the limits."""
        if self._refused or self._due is not None:
            return
        self._unset_keepalive_if_required()
        self._bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # It is answered as any other; whatever protocol comes behind it is not spoken here.
            self.cycle.keep_alive = False
        except httptools.HttpParserError as error:
            too_much = isinstance(error.__context__, _Excess)
            self._refuse(self._head_too_large() if too_much else _NOT_HTTP)
        else:
            if self._in_head and self._bytes > self._limits.head_bytes:
                self._refuse(self._head_too_large())
            elif self._bytes > _MOST_BYTES:
                self._refuse(_TOO_LARGE)

    def _head_too_large(self) -> _Refusal:
        limits = self._limits
        detail = f"a request's head has at most {limits.head_bytes} bytes in {limits.head_lines} lines"
        return _Refusal(431, "headers_too_large", detail)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._since = self.loop.time()
        self._in_head, self._whole = True, False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One line of the head. What comes behind a body in chunks is read and not believed."""
        if self._in_head:
            if len(self.headers) >= self._limits.head_lines:
                raise _Excess
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the request can be answered."""
        size = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
        if size > self._limits.head_bytes:
            raise _Excess
        if not self.url.startswith(b"/"):
            self._believe_target()
        self._in_head = False
        super().on_headers_complete()

    def _believe_target(self) -> None:
        """A target that names a host goes before `Host`, as HTTP has it."""
        host: Any = httptools.parse_url(self.url).host
        if host is not None and any(name == b"host" for name, _ in self.headers):
            authority = self.url.partition(b"//")[2].partition(b"/")[0].partition(b"?")[0]
            readable = authority_of(authority.decode("latin-1")) is not None
            self.headers[:] = [(name, value) for name, value in self.headers if name != b"host"]
            self.headers.append((b"host", authority if readable else b"@"))

    def on_message_complete(self) -> None:
        """The last byte of a request."""
        super().on_message_complete()
        self._whole, self._bytes = True, 0

    def on_response_complete(self) -> None:
        """An answer was written: the next request's, or the refusal that waited for it, is next."""
        more = bool(self.pipeline)
        self._since = self.loop.time()
        super().on_response_complete()
        if self._due is not None and not more:
            self._answer(self._due)

    # --------------------------------------------------------------------------------------- refusals

    def _refuse(self, refusal: _Refusal) -> None:
        """Answer the request that is being received with a refusal, after those before it, and close."""
        cycle: Any = self.cycle
        if not self._in_head and not self._whole and cycle is not None:
            waits = self._give_up(cycle)
        else:
            waits = cycle is not None and not cycle.response_complete
        if waits:
            self._due = refusal
        elif not self.transport.is_closing():
            self._answer(refusal)

    def _give_up(self, cycle: Any) -> bool:
        """Take the request in hand from the application; whether answers to others are waited for."""
        for queued in list(self.pipeline):
            if queued[0] is cycle:
                self.pipeline.remove(queued)
                return True
        if cycle.response_started:
            self._refused = True
            self.transport.close()
        cycle.disconnected = True
        cycle.message_event.set()
        return False

    def _answer(self, refusal: _Refusal) -> None:
        """Write a refusal, and close when the client has seen it."""
        self._refused = True
        self._watch.refused(refusal.code)
        if self.transport.is_closing():
            return
        body = problem_body(refusal.status, problem(refusal.code, refusal.detail))
        head = (
            f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}\r\n"
            f"content-type: {PROBLEM_TYPE.decode()}\r\n"
            f"content-length: {len(body)}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n"
        )
        self.transport.write(head.encode() + refusal.extra + b"\r\n" + body)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        # Closed with bytes that nobody read, the connection would be reset, and the answer with it.
        self.flow.resume_reading()
        self.loop.call_later(_LINGER_S, self.transport.abort)
