"""The address of a server: a URL taken apart, and put together again without what is secret in it. Pure."""

from __future__ import annotations

import re

from msgspec import Struct

from loopline.errors import InvalidSetting

LAST_PORT = 65_535

_URL = re.compile(
    r"(?P<scheme>https?)://"
    # Greedy, as browsers and curl read it: up to the last @ before the path.
    r"(?:(?P<user>[^/?#\\\s]*)@)?"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)(?:%(?:25)?(?P<zone>[A-Za-z0-9._~-]+))?\]|(?P<name>[^/?#\[\]@:%]+))"
    r"(?::(?P<port>[0-9]{0,5}))?"
    r"(?P<path>/[^?#]*)?",
    re.IGNORECASE,
)
_LONGEST_NAME = 253
# As the server reads a Host header: what it would not take is told here.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")
# What RFC 3986 lets stand in a path, and percent signs that escape something.
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")
_SECRET = re.compile(r"^([A-Za-z]*://)?.*@", re.DOTALL)


class Address(Struct, frozen=True):
    """Where a server is, and what it is told about who speaks. ``host`` has no brackets."""

    secure: bool
    host: str
    port: int
    prefix: str = ""
    user: str | None = None
    password: str = ""

    @property
    def authority(self) -> str:
        """Host and port as a ``Host`` header names them."""
        host = self.host.partition("%")[0]
        host = f"[{host}]" if ":" in host else host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for people: without user and password."""
        return f"http{'s' if self.secure else ''}://{self.authority}{self.prefix}"

    @property
    def authorization(self) -> str | None:
        """User and password as a header sends them (RFC 7617); None where there are none."""
        if self.user is None:
            return None
        from binascii import b2a_base64

        return "Basic " + b2a_base64(f"{self.user}:{self.password}".encode(), newline=False).decode()

    def __repr__(self) -> str:
        """The same as for people: whatever prints an address shows no secret."""
        return f"Address({self.shown!r})"


def parse_url(url: object, name: str = "url") -> Address:
    """The parts of ``http[s]://[USER[:PASSWORD]@]HOST[:PORT][/PREFIX]``.

    Raises :class:`~loopline.errors.InvalidSetting`, which names the setting and shows no secret.
    """
    if not isinstance(url, str):
        raise InvalidSetting(f"{name} is a {type(url).__name__}, and an address is text")
    found = _URL.fullmatch(url)
    if found is None:
        raise _invalid(
            name, url, "it must look like http://127.0.0.1:8710 or https://USER:PASSWORD@HOST/PATH"
        )
    secure = found["scheme"].lower() == "https"
    port = int(found["port"]) if found["port"] else (443 if secure else 80)
    if not 1 <= port <= LAST_PORT:
        raise _invalid(name, url, "a port is 1 to 65535")
    path = (found["path"] or "").rstrip("/")
    if _PATH.fullmatch(path) is None:
        raise _invalid(name, url, "its path holds what no path can: write it percent-encoded, as in %20")
    user, password = _credentials(name, url, found["user"])
    return Address(secure, _host(name, url, found), port, path, user, password)


def _host(name: str, url: str, found: re.Match[str]) -> str:
    if found["v6"] is not None:
        from socket import AF_INET6, inet_pton

        try:
            inet_pton(AF_INET6, found["v6"])
        except (OSError, ValueError):
            raise _invalid(name, url, "there is no IPv6 address in its brackets") from None
        return found["v6"] + (f"%{found['zone']}" if found["zone"] else "")
    host = found["name"]
    # A longer one is no name in any spelling, and takes long to be spelt.
    if not host.isascii() and len(host) <= _LONGEST_NAME:
        try:
            host = host.encode("idna").decode()
        except UnicodeError:
            raise _invalid(name, url, "its host is no name") from None
    if len(host) > _LONGEST_NAME or _HOST_NAME.fullmatch(host) is None:
        raise _invalid(name, url, "its host is no name")
    return host


def _credentials(name: str, url: str, text: str | None) -> tuple[str | None, str]:
    if text is None:
        return None, ""
    from urllib.parse import unquote

    user, _, password = text.partition(":")
    user, password = unquote(user), unquote(password)
    if (
        not user
        or ":" in user
        or any(ord(character) < 32 or ord(character) == 127 for character in user + password)
    ):
        raise _invalid(name, url, "its user is empty or holds a colon, or a control character is in there")
    return user, password


def _invalid(name: str, url: str, why: str) -> InvalidSetting:
    shown = without_secret(url)
    if "@" in url:
        why += "; characters like @ : / ? in a password are written as %40 %3A %2F %3F"
    return InvalidSetting(f"{name} {shown!r} cannot be used: {why}")


def without_secret(text: str) -> str:
    """A text with whatever may be a user and a password in a URL hidden, however the URL is broken."""
    return _SECRET.sub(lambda found: f"{found[1] or ''}***@", text)
