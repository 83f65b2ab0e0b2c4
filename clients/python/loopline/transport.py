"""HTTP to one server with the standard library: a connection kept alive, a timeout, one kind of failure.

When to send again is decided elsewhere; here a request either has an answer or is :class:`Unreachable`.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

from msgspec import Struct

from loopline.errors import InvalidSetting, Unreachable

if TYPE_CHECKING:
    import socket
    from http.client import HTTPConnection


class Address(Struct, frozen=True):
    """A server's URL, taken apart."""

    secure: bool
    host: str
    port: int | None
    prefix: str


class Answer(Struct, frozen=True):
    """What came back: the status, the headers (names in lower case) and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


def parse_url(url: str) -> Address:
    """The parts of ``http[s]://host[:port][/prefix]``; :class:`InvalidSetting` for anything else."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise InvalidSetting(f"url {url!r} cannot be read: {error}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidSetting(f"url {url!r} must look like http://127.0.0.1:8710")
    return Address(parts.scheme == "https", parts.hostname, port, parts.path.rstrip("/"))


class Transport:
    """One connection to one server, used by one thread at a time.

    ``timeout`` bounds connecting and each read, in seconds; ``largest`` the body of an answer, in bytes.
    """

    def __init__(self, url: str, timeout: float, largest: int = 8 * 1024 * 1024) -> None:
        self.url = url
        self._address = parse_url(url)
        self._timeout = timeout
        self._largest = largest
        self._connection: HTTPConnection | None = None
        self._socket: socket.socket | None = None
        self._used = False
        self._aborted = threading.Event()

    def request(
        self, method: str, path: str, body: bytes | None = None, content_type: str | None = None
    ) -> Answer:
        """Send one request and read its whole answer, or raise :class:`Unreachable`."""
        from http.client import HTTPException

        headers = {"User-Agent": "loopline-python", "Accept": "application/json"}
        if content_type is not None:
            headers["Content-Type"] = content_type
        while True:
            reused = self._used and self._connection is not None
            try:
                return self._exchange(method, self._address.prefix + path, body, headers)
            except (OSError, HTTPException, ValueError) as error:
                self.close()
                # A server may close an idle connection at any time; that says nothing about its health.
                if reused and isinstance(error, ConnectionError) and not self._aborted.is_set():
                    continue
                raise Unreachable(f"{self.url} did not answer: {error!r}") from error

    def _exchange(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = self._connection or self._connect()
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        received = response.read(self._largest + 1)
        if len(received) > self._largest:
            raise ValueError(f"the answer is over {self._largest} bytes")
        if response.length:
            raise ConnectionResetError("the answer ended early")
        names = {name.lower(): value for name, value in response.getheaders()}
        self._used = True
        if response.will_close or not response.isclosed():
            self.close()
        return Answer(response.status, names, received)

    def _connect(self) -> HTTPConnection:
        import http.client

        kind = http.client.HTTPSConnection if self._address.secure else http.client.HTTPConnection
        connection = kind(self._address.host, self._address.port, timeout=self._timeout)
        connection.connect()
        self._connection, self._socket, self._used = connection, connection.sock, False
        if self._aborted.is_set():
            raise ConnectionAbortedError("given up while closing")
        return connection

    def abort(self) -> None:
        """Make a request that another thread waits for fail now; later ones fail at once."""
        self._aborted.set()
        waiting = self._socket
        if waiting is not None:
            from socket import SHUT_RDWR

            with contextlib.suppress(OSError):
                waiting.shutdown(SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection, self._socket = self._connection, None, None
        if connection is not None:
            connection.close()
