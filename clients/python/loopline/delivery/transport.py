"""HTTP to one server with the standard library: a connection kept alive, one deadline, one kind of failure.

Who speaks (credentials, headers), which way (proxies) and whom to believe (certificates) is told once, when a
transport is made. When to send again is decided elsewhere; here a request either has an answer or is
:class:`Unreachable`.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from loopline.delivery.address import Address, parse_url
from loopline.errors import InvalidSetting, Unreachable

if TYPE_CHECKING:
    import socket
    import ssl
    from http.client import HTTPConnection

    from loopline.delivery.connection import Bounded, Deadline

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Printable, as far as one byte goes: no line ends, nothing that ends a header early.
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
# What the client writes itself, so that a second one would contradict.
_OWN_HEADERS = frozenset({"connection", "content-length", "content-type", "host", "transfer-encoding"})
# What is handed on at a time, in bytes.
_PIECE = 1024 * 1024
# A file or folder with certificates, as requests and curl read them. OpenSSL itself reads SSL_CERT_FILE.
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class Answer(Struct, frozen=True):
    """What came back: the status, the headers (names in lower case) and the whole body."""

    status: int
    headers: dict[str, str]
    body: bytes


def check_headers(headers: object, address: Address) -> dict[str, str]:
    """Headers as they are sent. Raises :class:`InvalidSetting`, which shows no value."""
    if headers is None:
        headers = {}
    if not isinstance(headers, Mapping):
        raise InvalidSetting(f"headers must be a mapping of names to values, not a {type(headers).__name__}")
    checked: dict[str, str] = {}
    for name, value in headers.items():
        if not isinstance(name, str) or _HEADER_NAME.fullmatch(name) is None:
            raise InvalidSetting(f"headers: {str(name)[:80]!r} is no name of a header")
        if not isinstance(value, str) or _HEADER_VALUE.fullmatch(value) is None:
            raise InvalidSetting(f"headers: the value of {name} is not text in one line of Latin-1")
        if name.lower() in _OWN_HEADERS:
            raise InvalidSetting(f"headers: {name} is written by the client itself")
        checked[name] = value.strip()
    if address.authorization is not None:
        if any(name.lower() == "authorization" for name in checked):
            raise InvalidSetting(
                "headers: Authorization is there, and the url has a user too: give one of them"
            )
        checked["Authorization"] = address.authorization
    return checked


class _Given:
    """Hands pieces of an answer on, and remembers that it has begun to: they cannot be taken back."""

    def __init__(self, into: Callable[[bytes], object]) -> None:
        self._into = into
        self.begun = False

    def __call__(self, piece: bytes) -> None:
        self.begun = True
        self._into(piece)


class Transport:
    """One connection to one server, used by one thread at a time.

    ``timeout`` bounds each step (resolve, connect, each read) in seconds; ``largest`` the body of an answer,
    in bytes. ``headers`` go with every request; ``proxy`` is used whatever the environment says, none where
    it is ``direct``;
    ``ca_bundle`` is a file or folder of certificates to trust. ``url`` is for people: without user and
    password.
    """

    def __init__(
        self,
        url: str,
        timeout: float,
        largest: int = 8 * 1024 * 1024,
        *,
        headers: Mapping[str, str] | None = None,
        proxy: str | None = None,
        direct: bool = False,
        ca_bundle: str | os.PathLike[str] | None = None,
    ) -> None:
        self._address = parse_url(url)
        self.url = self._address.shown
        self._timeout = timeout
        self._largest = largest
        own = check_headers(headers, self._address)
        names = {name.lower() for name in own}
        usual = {"User-Agent": "loopline-python", "Accept": "application/json"}
        self._headers = {name: value for name, value in usual.items() if name.lower() not in names} | own
        self._proxy: Address | None = None
        self._direct = direct
        if proxy is not None:
            from loopline.delivery.proxies import parse_proxy

            self._proxy = parse_proxy(proxy, "proxy", self._address)
        if ca_bundle is not None and not os.path.exists(ca_bundle):
            raise InvalidSetting(f"ca_bundle {os.fspath(ca_bundle)!r} is not there")
        self._ca_bundle = ca_bundle
        self._through: Address | None = None
        self._connection: HTTPConnection | None = None
        self._bounded: Bounded | None = None
        self._socket: socket.socket | None = None
        self._used = False
        self._aborted = threading.Event()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        content_type: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        within: float | None = None,
        slowest: float | None = None,
        into: Callable[[bytes], object] | None = None,
    ) -> Answer:
        """Send one request and read its whole answer, or raise :class:`Unreachable`.

        ``within`` bounds all of it together, in seconds; an answer that comes at ``slowest`` bytes a second
        or faster may take longer. The body of a 200 goes ``into`` a function piece by piece where there is
        one, however long it is, and is not in the answer; what that raises ends it.
        """
        from loopline.delivery.connection import Deadline

        # Before anything that takes time, such as the first import of an HTTP library.
        deadline = Deadline(self._timeout, within, slowest)
        from http.client import HTTPException

        sent = {**self._headers, **(headers or {})}
        if content_type is not None:
            sent["Content-Type"] = content_type
        given = None if into is None else _Given(into)
        while True:
            reused = self._used and self._connection is not None
            try:
                return self._exchange(method, self._address.prefix + path, body, sent, deadline, given)
            except (OSError, HTTPException, ValueError) as error:
                self.close()
                # A server may close an idle connection at any time; that says nothing about its health.
                idle = reused and isinstance(error, ConnectionError) and not (given and given.begun)
                if idle and not self._aborted.is_set():
                    continue
                raise Unreachable(f"{self.url} does not answer: {_told(error)}") from error

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: dict[str, str],
        deadline: Deadline,
        into: Callable[[bytes], object] | None,
    ) -> Answer:
        connection = self._connection or self._connect(deadline)
        if self._bounded is not None:
            self._bounded.deadline = deadline
        headers["Host"] = self._address.authority
        through = self._through
        if through is not None and not self._address.secure:
            # To a proxy the whole address is said, and who we are to it.
            path = f"http://{self._address.authority}{path}"
            if through.authorization is not None:
                headers["Proxy-Authorization"] = through.authorization
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        received = b""
        if into is not None and response.status == 200:
            while piece := response.read(_PIECE):
                into(piece)
        else:
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

    def _connect(self, deadline: Deadline) -> HTTPConnection:
        import http.client

        from loopline.delivery.connection import dial
        from loopline.delivery.proxies import proxy_of

        self._through = self._proxy
        if self._proxy is None and not self._direct:
            self._through = proxy_of(self._address, os.environ)
        self._bounded = dial(self._address, self._through, self._context, deadline, self._took)
        # It only writes requests and reads answers; where they go was settled above.
        connection = http.client.HTTPConnection(self._address.host, self._address.port)
        connection.auto_open = 0
        connection.sock = self._bounded
        self._connection, self._used = connection, False
        return connection

    def _took(self, made: socket.socket) -> None:
        """Note a socket, so that another thread can end what waits on it."""
        self._socket = made
        if self._aborted.is_set():
            raise ConnectionAbortedError("given up while closing")

    def _context(self) -> ssl.SSLContext:
        import ssl

        name, bundle = "ca_bundle", self._ca_bundle
        for variable in _CA_VARIABLES:
            if bundle is None and os.environ.get(variable):
                name, bundle = variable, os.environ[variable]
        if bundle is None:
            return ssl.create_default_context()
        try:
            if os.path.isdir(bundle):
                return ssl.create_default_context(capath=bundle)
            return ssl.create_default_context(cafile=bundle)
        except OSError as error:
            raise OSError(f"{name}={os.fspath(bundle)!r} cannot be read: {error}") from error

    def abort(self) -> None:
        """Make a request that another thread waits for fail now; later ones fail at once."""
        self._aborted.set()
        waiting = self._socket
        if waiting is not None:
            from socket import SHUT_RDWR, socket

            with contextlib.suppress(OSError):
                # Below TLS, which another thread is in the middle of.
                socket.shutdown(waiting, SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        connection, self._connection = self._connection, None
        bounded, self._bounded, self._socket = self._bounded, None, None
        if connection is not None:
            connection.close()
        if bounded is not None:
            bounded.end()


def _told(error: Exception) -> str:
    """What went wrong, in the words of whoever raised it; never with what the request carried."""
    if isinstance(error, TimeoutError):
        return str(error) or "timed out"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
