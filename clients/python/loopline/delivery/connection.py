"""A connection to a server, directly or through a proxy, under one deadline.

The standard library bounds each step by itself and the resolver not at all; here resolving, connecting,
tunnelling, TLS and reading share the time that is left. What is asked over the connection is the part of
:mod:`loopline.delivery.transport`.
"""

from __future__ import annotations

import io
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from loopline.delivery.address import Address

if TYPE_CHECKING:
    import ssl

Took = Callable[[socket.socket], None]

# A proxy's answer to CONNECT is no longer than this, in bytes.
_LONGEST_HEAD = 64 * 1024


class Deadline:
    """When to give up, and how long a single step may take: both in seconds.

    With ``slowest``, in bytes a second, what comes in moves the end: as much as it would take at that speed.
    """

    def __init__(self, step: float, within: float | None = None, slowest: float | None = None) -> None:
        self._step = step
        self._slowest = slowest
        self._end = None if within is None else time.monotonic() + within

    def left(self) -> float:
        """What the next step may take. Raises TimeoutError when nothing is left."""
        if self._end is None:
            return self._step
        left = min(self._end - time.monotonic(), self._step)
        if left <= 0:
            raise TimeoutError("timed out")
        return left

    def received(self, count: int) -> None:
        """So many bytes came in."""
        if self._end is not None and self._slowest is not None:
            self._end += count / self._slowest

    def of_parts(self, parts: int) -> Deadline:
        """The same, for one of so many steps that share what is left."""
        part = self.left() / parts
        return Deadline(part, part)


class Bounded:
    """A socket whose reads and writes end with a deadline, as ``http.client`` uses one."""

    def __init__(self, connected: socket.socket, deadline: Deadline) -> None:
        self._socket = connected
        self.deadline = deadline

    def sendall(self, content: bytes) -> None:
        """Send all of it. Raises TimeoutError."""
        rest = memoryview(content)
        while rest:
            self._socket.settimeout(self.deadline.left())
            rest = rest[self._socket.send(rest) :]

    def recv_into(self, buffer: Any) -> int:
        """Receive something. Raises TimeoutError."""
        self._socket.settimeout(self.deadline.left())
        count = self._socket.recv_into(buffer)
        self.deadline.received(count)
        return count

    def makefile(self, mode: str, *_: Any) -> io.BufferedReader:
        """What answers are read from; it lets the socket stay open for the next."""
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        """Nothing: ``http.client`` lets go of a connection while its last answer is still being read."""

    def end(self) -> None:
        """Close the socket."""
        self._socket.close()


class _Reader(io.RawIOBase):
    def __init__(self, source: Bounded) -> None:
        self._source = source

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._source.recv_into(buffer)


def dial(
    address: Address,
    proxy: Address | None,
    context: Callable[[], ssl.SSLContext],
    deadline: Deadline,
    took: Took,
) -> Bounded:
    """A connection to the server, through the proxy where there is one; ``took`` is told each socket.

    ``context`` is asked where TLS is spoken. Raises OSError: TimeoutError, a refusal, a failed handshake.
    """
    connected = _connect(proxy or address, deadline, took)
    try:
        if proxy is not None and proxy.secure:
            connected = _speak_tls(connected, proxy, context(), deadline, took)
        if proxy is not None and address.secure:
            _tunnel(connected, address, proxy, deadline)
        if address.secure:
            connected = _speak_tls(connected, address, context(), deadline, took)
    except BaseException:
        connected.close()
        raise
    return Bounded(connected, deadline)


def _connect(address: Address, deadline: Deadline, took: Took) -> socket.socket:
    """To the first of its addresses that answers; each gets its part of the time that is left."""
    found = resolve(address.host, address.port, deadline)
    failure: OSError | None = None
    for place, (family, kind, protocol, _, where) in enumerate(found):
        part = deadline.of_parts(len(found) - place)
        try:
            made = socket.socket(family, kind, protocol)
        except OSError as error:
            failure = error
            continue
        try:
            took(made)
            made.settimeout(part.left())
            made.connect(where)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            made.close()
            failure = error
        else:
            return made
    raise failure or OSError(f"there is no address for {address.host}")


def _speak_tls(
    connected: socket.socket, address: Address, context: ssl.SSLContext, deadline: Deadline, took: Took
) -> socket.socket:
    """The socket behind a handshake, which takes no longer than is left however it drips."""
    name = address.host.partition("%")[0]
    wrapped = context.wrap_socket(connected, server_hostname=name, do_handshake_on_connect=False)
    try:
        took(wrapped)
        wrapped.settimeout(deadline.left())
        wrapped.do_handshake()
    except BaseException:
        wrapped.close()
        raise
    return wrapped


def _tunnel(connected: socket.socket, address: Address, proxy: Address, deadline: Deadline) -> None:
    """Ask the proxy for a way through to the server (CONNECT). Raises OSError with what it said."""
    host = f"[{address.host}]" if ":" in address.host else address.host
    where = f"{host}:{address.port}"
    head = f"CONNECT {where} HTTP/1.1\r\nHost: {where}\r\n"
    if proxy.authorization is not None:
        head += f"Proxy-Authorization: {proxy.authorization}\r\n"
    way = Bounded(connected, deadline)
    way.sendall(f"{head}\r\n".encode("ascii"))
    answer = b""
    buffer = bytearray(1)
    # Byte by byte: what follows the head belongs to the server behind.
    while not answer.endswith(b"\r\n\r\n"):
        if not way.recv_into(buffer) or len(answer) > _LONGEST_HEAD:
            raise ConnectionError(f"the proxy {proxy.shown} ended the connection")
        answer += buffer
    status = answer.split(b" ", 2)[1:2]
    if status != [b"200"]:
        code = status[0][:3].decode("ascii", "replace") if status else "nothing"
        raise ConnectionError(f"the proxy {proxy.shown} answered {code}")


# ---- names

Found = list[tuple[Any, Any, int, str, Any]]


class _Lookup:
    """A name that a thread is looking up, for everybody who waits for it."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self.found: Found = []
        self.failure: OSError | None = None


# By process too: a forked child has the entry, and not the thread that would answer.
_lookups: dict[tuple[int, str, int], _Lookup] = {}


def resolve(host: str, port: int, deadline: Deadline) -> Found:
    """The addresses of a host. A resolver that hangs is left to a daemon thread, one for each name.

    Raises OSError, TimeoutError when the deadline comes first.
    """
    if _is_numeric(host):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    key = os.getpid(), host, port
    mine = _Lookup()
    lookup = _lookups.setdefault(key, mine)
    if lookup is mine:
        thread = threading.Thread(target=_look_up, args=(key, mine), name="loopline-resolver", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # An interpreter that ends starts no threads any more.
            _look_up(key, mine)
    if not lookup.done.wait(deadline.left()):
        raise TimeoutError(f"the name {host} was not resolved in time")
    if lookup.failure is not None:
        raise lookup.failure
    return lookup.found


def _look_up(key: tuple[int, str, int], lookup: _Lookup) -> None:
    _, host, port = key
    try:
        lookup.found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except OSError as error:
        lookup.failure = error
    except Exception as error:
        lookup.failure = OSError(f"the name cannot be resolved: {type(error).__name__}")
    finally:
        _lookups.pop(key, None)
        lookup.done.set()


def _is_numeric(host: str) -> bool:
    return ":" in host or all(part.isdigit() for part in host.split("."))
