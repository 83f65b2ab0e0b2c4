"""Which proxy leads to a server, by the environment variables that curl, requests and Go know. Pure.

``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``, in small letters or in capitals; small ones
go first. This machine itself is never reached through a proxy of the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from loopline.delivery.address import Address, parse_url
from loopline.errors import InvalidSetting

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address


def proxy_of(address: Address, environ: Mapping[str, str]) -> Address | None:
    """The proxy that the environment names for a server, or None.

    Raises :class:`~loopline.errors.InvalidSetting` for one that cannot be used.
    """
    if _is_loopback(address.host) or _is_excepted(address, _variable("no_proxy", environ)[1]):
        return None
    name, url = _variable("https_proxy" if address.secure else "http_proxy", environ)
    if not url:
        name, url = _variable("all_proxy", environ)
    return parse_proxy(url, name, address) if url else None


def parse_proxy(url: object, name: str, address: Address) -> Address:
    """A proxy's address, from a URL or from ``HOST:PORT``; ``name`` is where it was said."""
    proxy = parse_url(f"http://{url}" if isinstance(url, str) and "://" not in url else url, name)
    if proxy.secure and address.secure:
        raise InvalidSetting(
            f"{name} names a proxy behind TLS, and {address.shown} is too: use an http:// proxy"
        )
    return proxy


def _variable(name: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """The first of the two spellings that says something, and what it says."""
    if environ.get(name):
        return name, environ[name].strip()
    capitals = name.upper()
    # In a CGI process HTTP_PROXY is a header of whoever asks (https://httpoxy.org).
    if capitals == "HTTP_PROXY" and "REQUEST_METHOD" in environ:
        return capitals, ""
    return capitals, environ.get(capitals, "").strip()


def _is_loopback(host: str) -> bool:
    if host.lower().rstrip(".") == "localhost" or host.lower().endswith(".localhost"):
        return True
    address = _numeric(host)
    return address is not None and address.is_loopback


def _is_excepted(address: Address, no_proxy: str) -> bool:
    """Whether ``no_proxy`` names this server: ``*``, a name with all below it, an address, a network."""
    host = address.host.lower().rstrip(".")
    for entry in no_proxy.replace(" ", ",").split(","):
        entry = entry.lower().rstrip(".")
        name, port = _split_port(entry)
        if not name or (port and port != str(address.port)):
            continue
        name = name.strip("[]").removeprefix("*.").lstrip(".")
        if entry == "*" or host == name or host.endswith(f".{name}") or _in_network(host, name):
            return True
    return False


def _split_port(entry: str) -> tuple[str, str]:
    """``name:port``; a bare IPv6 address is a name."""
    name, separator, port = entry.rpartition(":")
    if separator and port.isdecimal() and (":" not in name or name.endswith("]")):
        return name, port
    return entry, ""


def _in_network(host: str, name: str) -> bool:
    if "/" not in name and ":" not in name:
        return False
    from ipaddress import ip_network

    address = _numeric(host)
    try:
        return address is not None and address in ip_network(name, strict=False)
    except (ValueError, TypeError):
        return False


def _numeric(host: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import ip_address

    try:
        return ip_address(host)
    except ValueError:
        return None
