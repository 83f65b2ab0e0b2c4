"""Asking a Loopline server, whoever it is: one request, one answer.

`OverHttp` speaks to a server elsewhere; `feedback.bootstrap.InProcess` is the same without one. Which of
them a command takes is left to `feedback.cli.connecting`.
"""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode, urlsplit

import msgspec

TIMEOUT_S = 30.0


class Answer(NamedTuple):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body, decoded; None when it is not JSON."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


class NoAnswer(ConnectionError):
    """The server could not be reached, or hung up."""


class NoAddress(ValueError):
    """A text that is no address of a server."""


class Service(Protocol):
    """Somebody who answers requests. `name` is its address, or the home that it works on."""

    name: str

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its answer. Raises NoAnswer."""
        ...

    def close(self) -> None:
        """Let go of the connection, or of the home."""
        ...


class OverHttp:
    """A server elsewhere: one connection, kept alive. Raises NoAddress."""

    def __init__(self, url: str, timeout_s: float = TIMEOUT_S) -> None:
        self.name = url
        try:
            parts = urlsplit(url)
            kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
            self._connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
        except (ValueError, http.client.InvalidURL) as error:
            raise NoAddress(f"{url} is no address of a server: {error}") from None
        self._prefix = parts.path.rstrip("/")
        self._used = False

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its answer. Raises NoAnswer."""
        while True:
            try:
                self._connection.request(method, self._prefix + path, body or None, dict(headers or {}))
                response = self._connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                # An idle connection may be closed at any time; sending again is safe, ids count once.
                if self._used and isinstance(error, ConnectionError):
                    self._used = False
                    continue
                raise NoAnswer(
                    f"{self.name} does not answer: {str(error) or type(error).__name__}"
                ) from error
            self._used = True
            names = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, names, content)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def address_of(host: str, port: int) -> str:
    """The address at which a server that listens there is reached from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def path_of(*parts: str, **query: Any) -> str:
    """A path with its parts and query escaped; query values that are None are left out."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
