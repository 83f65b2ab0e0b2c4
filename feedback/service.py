"""Asking a Loopline server, whoever it is: one request, one answer.

`OverHttp` speaks to a server elsewhere; `feedback.bootstrap.InProcess` is the same without one. Which of
them a command takes is left to `feedback.cli.connecting`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote, urlencode

import msgspec

from feedback.place import Place
from feedback.settings import value
from loopline.errors import InvalidSetting, Unreachable
from loopline.transport import Transport
from schemas.errors import Malformed, Unavailable

TIMEOUT_S = 30.0
_LARGEST_ANSWER = 1024 * 1024 * 1024


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


class NoAnswer(Unavailable, ConnectionError):
    """The server could not be reached, or hung up."""


class NoAddress(Malformed):
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
    """A server elsewhere: one connection, kept alive, over the client's own transport. Raises NoAddress.

    Args:
        url: its address; a user and a password in it are sent, and are not in `name`.
        timeout_s: how long each step may take: resolving, connecting, a piece of the answer.
        headers: sent with each request.
        ca_bundle: certificates to trust instead of those that are usual.
        proxies: whether those of the environment are used; our own servers are reached directly.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float = TIMEOUT_S,
        *,
        headers: Mapping[str, str] | None = None,
        ca_bundle: str | os.PathLike[str] | None = None,
        proxies: bool = False,
    ) -> None:
        try:
            self._transport = Transport(
                url,
                timeout_s,
                largest=_LARGEST_ANSWER,
                headers=headers,
                ca_bundle=ca_bundle,
                direct=not proxies,
            )
        except InvalidSetting as error:
            raise NoAddress(str(error)) from None
        self.name = self._transport.url

    def request(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its answer. Raises NoAnswer."""
        try:
            answer = self._transport.request(method, path, body or None, headers=headers)
        except Unreachable as error:
            raise NoAnswer(str(error)) from error
        return Answer(answer.status, answer.headers, answer.body)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()


def reach(url: str, timeout_s: float = TIMEOUT_S) -> OverHttp:
    """A server somewhere, by the headers, certificates and proxies that are named here. Raises NoAddress."""
    return OverHttp(url, timeout_s, headers=value("headers"), ca_bundle=value("ca_bundle"), proxies=True)


def health(service: Service) -> Answer:
    """What a server says of itself. Raises NoAnswer, also for what a proxy says of a server that is away."""
    answer = service.request("GET", "/healthz")
    if answer.status >= 500:
        raise NoAnswer(f"{service.name} answers {answer.status}")
    return answer


def log_in(answer: Answer) -> str | None:
    """Which log a server serves, by what it says of itself; None when that does not say so."""
    said = answer.json()
    log = said.get("log") if isinstance(said, dict) else None
    return log if isinstance(log, str) else None


def serves(service: Service, place: Place) -> bool:
    """Whether a server serves the log that is at this place. Raises NoAnswer."""
    return log_in(health(service)) == place.fingerprint()


def address_of(host: str, port: int) -> str:
    """The address at which a server that listens there is reached from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def path_of(*parts: str, **query: Any) -> str:
    """A path with its parts and query escaped; query values that are None are left out."""
    path = "/" + "/".join(quote(part, safe="") for part in parts)
    given = {name: value for name, value in query.items() if value is not None}
    return f"{path}?{urlencode(given)}" if given else path
