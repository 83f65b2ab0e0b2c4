"""Whose requests are answered: those that name this server in `Host`, and come from no other site's page.

A page in somebody's browser can have its own name resolve to 127.0.0.1 and then talk to the server there as
to itself. Its requests still carry the page's name in `Host`. So a request is answered only when `Host` is
one of

- a name or address of this machine's loopback: `localhost`, 127.0.0.0/8, `[::1]`;
- where the server listens: the host that it was given, or the address at which the connection arrived;
- in the setting `allowed_hosts`.

The port in it is left open, since ports are mapped and forwarded: what a page cannot choose is the name. A
name in `allowed_hosts` that has a port is that port's alone. What browsers say about where a request comes
from (`Origin`, `Sec-Fetch-Site`) has to be this server itself, for reads too. `X-Forwarded-Host` and its kin
say nothing here.

Pure: headers in, a refusal or None out.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from schemas.problems import Problem, problem

LOOPBACK_NAMES = ("localhost",)
PAGE = "/"

_NAME = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?)*"
_AUTHORITY = re.compile(rf"(?:(?P<name>{_NAME})\.?|\[(?P<v6>[0-9a-f:.]+)\])(?::(?P<port>\d{{0,5}}))?")
_ALLOWED = re.compile(
    rf"(?P<any>\*\.)?(?:(?P<name>{_NAME})\.?|\[(?P<v6>[0-9a-f:.]+)\])(?::(?P<port>\d{{1,5}}))?"
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_OURS = (b"same-origin", b"none")
# Each of these may be there once: of two that differ somebody else may believe the other.
_JUDGED = {
    b"host": "Host",
    b"origin": "Origin",
    b"sec-fetch-site": "Sec-Fetch-Site",
    b"sec-fetch-mode": "Sec-Fetch-Mode",
}

MISDIRECTED, CROSS_SITE, INVALID_REQUEST = "misdirected", "cross_site", "invalid_request"


class Authority(NamedTuple):
    """A host in normal form (lower case, no last dot, addresses as `ipaddress` writes them), and its port."""

    host: str
    port: int | None


class Allowed(NamedTuple):
    """An entry of `allowed_hosts`. `below`: the names below this one, and not itself."""

    host: str
    port: int | None
    below: bool

    def fits(self, authority: Authority) -> bool:
        """Whether it names that authority."""
        if self.port is not None and authority.port != self.port:
            return False
        return authority.host.endswith(f".{self.host}") if self.below else authority.host == self.host


class Refusal(NamedTuple):
    """What a request is answered with that is not for this server, or not from here."""

    status: int
    problem: Problem


def normal_address(text: str) -> str | None:
    """An IP address in normal form, without its zone; None when it is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def authority_of(text: str) -> Authority | None:
    """`HOST` or `HOST:PORT` as HTTP writes it; None when it is neither."""
    found = _AUTHORITY.fullmatch(text.lower())
    if found is None:
        return None
    host = _host(found)
    port = int(found["port"]) if found["port"] else None
    return None if host is None or (port or 0) > 65_535 else Authority(host, port)


def _host(found: re.Match[str]) -> str | None:
    if found["v6"] is not None:
        return normal_address(found["v6"])
    # A dotted quad is an address; 127.1 and 0x7f.1 are names that nobody has.
    return normal_address(found["name"]) or found["name"]


def allowed_hosts(text: str) -> tuple[Allowed, ...]:
    """The entries of the setting, separated by commas or spaces. Raises ValueError."""
    entries = []
    for entry in text.replace(",", " ").split():
        found = _ALLOWED.fullmatch(entry.lower())
        host = None if found is None else _host(found)
        if found is None or host is None or int(found["port"] or 0) > 65_535:
            raise ValueError(
                f"{entry!r} is no host: it looks like loopline.example.com, collector-1:8710, *.example.com"
                " or [fd00::1], without http:// and path"
            )
        entries.append(Allowed(host, int(found["port"]) if found["port"] else None, bool(found["any"])))
    return tuple(entries)


def is_loopback(host: str) -> bool:
    """Whether a host, in any spelling, is this machine and nobody else's."""
    address = normal_address(host)
    if address is None:
        return host.lower().removesuffix(".") in LOOPBACK_NAMES
    return ipaddress.ip_address(address).is_loopback


class Hosts:
    """The hosts that a server answers to.

    Args:
        listening: the names and addresses that it was told to listen on.
        allowed: what else it is called.
    """

    def __init__(self, listening: Iterable[str] = (), allowed: Sequence[Allowed] = ()) -> None:
        self._names = frozenset(normal_address(host) or host.lower().rstrip(".") for host in listening)
        self._allowed = tuple(allowed)
        self._verdict = lru_cache(maxsize=512)(self._judge)

    def refusal(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        *,
        local: str | None = None,
        method: str = "GET",
        path: str = PAGE,
        version: str = "1.1",
    ) -> Refusal | None:
        """Why a request is not answered, or None.

        Args:
            headers: names in lower case.
            local: the address of this machine at which its connection arrived.
        """
        said: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _JUDGED:
                if name in said:
                    return _invalid(f"there are two {_JUDGED[name]} headers")
                said[name] = value
        host, origin = said.get(b"host"), said.get(b"origin")
        site, mode = said.get(b"sec-fetch-site"), said.get(b"sec-fetch-mode")
        if host is None and version != "1.0":
            return _invalid("there is no Host header")
        refused = self._verdict(host or b"", local)
        if refused is not None or (origin is None and site is None):
            return refused
        # A link to the page, followed in a browser: nothing but the person gets to see the answer.
        follows = method == "GET" and path == PAGE and mode == b"navigate"
        if site is not None and site not in _OURS and not follows:
            return _cross_site()
        if origin is not None and not _same(origin, host or b""):
            return _cross_site()
        return None

    def _judge(self, host: bytes, local: str | None) -> Refusal | None:
        if not host:
            return _misdirected("Host is empty or missing")
        authority = authority_of(host.decode("latin-1"))
        if authority is None:
            return _invalid("Host is no name or address with a port")
        known = is_loopback(authority.host) or authority.host in self._names
        if known or (local is not None and authority.host == normal_address(local)):
            return None
        if any(each.fits(authority) for each in self._allowed):
            return None
        return _misdirected("Host names another server")


def _same(origin: bytes, host: bytes) -> bool:
    """Whether a page of that origin is this server's own, as it is reached by this request."""
    scheme, _, rest = origin.decode("latin-1").partition("://")
    default = _DEFAULT_PORTS.get(scheme.lower())
    ours, theirs = authority_of(host.decode("latin-1")), authority_of(rest)
    if default is None or ours is None or theirs is None:
        return False
    return (theirs.host, theirs.port or default) == (ours.host, ours.port or default)


def _invalid(detail: str) -> Refusal:
    return Refusal(400, problem(INVALID_REQUEST, detail))


def _misdirected(detail: str) -> Refusal:
    return Refusal(
        421,
        problem(
            MISDIRECTED,
            f"{detail}: ask by an address at which this server listens, or have the name added to its"
            " allowed_hosts (LOOPLINE_ALLOWED_HOSTS)",
        ),
    )


def _cross_site() -> Refusal:
    return Refusal(
        403, problem(CROSS_SITE, "a page of another site asks here: this server answers its own page alone")
    )
