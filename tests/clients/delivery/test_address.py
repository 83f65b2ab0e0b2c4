"""URLs of servers and proxies: taken apart right or refused, and never shown with what is secret in them."""

from __future__ import annotations

import base64
import ipaddress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.server.hosts import authority_of
from loopline.delivery.address import Address, parse_url
from loopline.delivery.proxies import proxy_of
from loopline.errors import InvalidSetting

_NAME = st.from_regex(
    r"[A-Za-z0-9_]([A-Za-z0-9-]{0,10}[A-Za-z0-9])?(\.[A-Za-z0-9]{1,8}){0,3}", fullmatch=True
)
_V6 = st.ip_addresses(v=6).map(str)
_TEXT = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), max_size=12)
_USER = _TEXT.filter(lambda text: text and ":" not in text)
_PATH = st.from_regex(r"(/[A-Za-z0-9._~-]{1,8}){0,3}", fullmatch=True)


@given(
    secure=st.booleans(),
    host=_NAME | _V6 | st.ip_addresses(v=4).map(str),
    port=st.none() | st.integers(1, 65_535),
    path=_PATH,
    slash=st.booleans(),
    credentials=st.none() | st.tuples(_USER, _TEXT),
)
def test_a_url_is_read_as_it_was_written(
    secure: bool,
    host: str,
    port: int | None,
    path: str,
    slash: bool,
    credentials: tuple[str, str] | None,
) -> None:
    """Every part comes back, an address in brackets too; without a port it is that of the scheme."""
    who = "" if credentials is None else ":".join(quote(each, safe="") for each in credentials) + "@"
    where = f"[{host}]" if ":" in host else host
    number = "" if port is None else f":{port}"
    url = f"http{'s' if secure else ''}://{who}{where}{number}{path}{'/' if slash else ''}"
    address = parse_url(url)
    assert (address.secure, address.host, address.prefix) == (secure, host, path)
    assert address.port == (port or (443 if secure else 80))
    assert (address.user, address.password) == (credentials or (None, ""))
    if credentials is None:
        assert address.authorization is None
    else:
        said = base64.b64decode(str(address.authorization).removeprefix("Basic "))
        assert said == ":".join(credentials).encode()
    again = parse_url(address.shown)
    assert (again.secure, again.host, again.port, again.prefix) == (secure, host, address.port, path)


@pytest.mark.parametrize(
    "url, host, port, authority",
    [
        ("http://[::1]", "::1", 80, "[::1]"),
        ("https://[fd00::1:443]", "fd00::1:443", 443, "[fd00::1:443]"),
        ("http://[::1]:8710", "::1", 8710, "[::1]:8710"),
        ("http://[fe80::1%25eth0]:80", "fe80::1%eth0", 80, "[fe80::1]"),
        ("https://host:443", "host", 443, "host"),
        ("https://host:80", "host", 80, "host:80"),
        ("http://host:", "host", 80, "host"),
        ("HTTPS://Host", "Host", 443, "Host"),
        ("http://m\u00fcller.example", "xn--mller-kva.example", 80, "xn--mller-kva.example"),
    ],
)
def test_where_a_url_leads(url: str, host: str, port: int, authority: str) -> None:
    """Host and port of what people write, and what the Host header says."""
    address = parse_url(url)
    assert (address.host, address.port, address.authority) == (host, port, authority)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8710",
        "ftp://x",
        "http:/x",
        "http://",
        "http:///v1",
        "http://:8710",
        "http://user@",
        "http://user@:80",
        "http://x:port",
        "http://x:0",
        "http://x:65536",
        "http://x:99999",
        "http://x:-1",
        "http://x:80:90",
        "http://::1",
        "http://[::1",
        "http://::1]",
        "http://[]",
        "http://[:::1]",
        "http://[127.0.0.1]",
        "http://[::1]x",
        "http://a b",
        "http://a\tb",
        "http://x\n",
        " http://x",
        "http://x\\@y",
        "http://a..b",
        "http://.",
        "http://foo-.bar",
        "http://foo.-bar",
        "http://foo-",
        "http://loopline+blue",
        "http://loopline~blue",
        "http://" + "a" * 254,
        "http://-x",
        "http://%61",
        "http://x?a=1",
        "http://x#a",
        "http://x/?a",
        "http://x/a b",
        "http://x/\u00fc",
        "http://x/%zz",
        "http://x/a\nb",
        "/v1",
        None,
        7,
        b"http://x",
    ],
    ids=repr,
)
def test_a_url_that_leads_nowhere_is_refused(url: object) -> None:
    """What no server can have as its address is told, and never taken for another one."""
    with pytest.raises(InvalidSetting, match="url"):
        parse_url(url)


@given(st.text("aZ0-_.+~!@[]:%\u00fc", max_size=12))
def test_what_the_client_takes_for_a_host_the_server_takes_too(host: str) -> None:
    """A URL whose `Host` the server would answer with 400 is refused when the client is made."""
    try:
        address = parse_url(f"http://{host}")
    except InvalidSetting:
        return
    assert authority_of(address.authority) is not None


@pytest.mark.parametrize(
    "url",
    [
        "http://alice:s3cret@",
        "http://alice:s3cret@x:0",
        "http://alice:s3cret@x y",
        "http://alice:s3/cret@host",
        "http://alice:s3 cret@[::1",
        "http://alice:s3@cret@host:port",
        "ftp://alice:s3cret@host",
        "http://alice:s3cret%0a@host",
    ],
)
def test_a_refused_url_shows_no_secret(url: str) -> None:
    """The complaint about a broken URL hides user and password, wherever it is broken."""
    with pytest.raises(InvalidSetting) as raised:
        parse_url(url)
    told = str(raised.value)
    assert not [secret for secret in ("alice", "s3", "cret") if secret in told]


def test_an_address_shows_no_secret() -> None:
    """Neither to people nor to whatever prints it."""
    address = parse_url("https://alice:s3cret@host/loop")
    assert address.shown == "https://host/loop"
    assert "s3cret" not in repr(address)
    assert "s3cret" not in f"{[address]} {address}"


# ---- proxies

PROXY = "http://proxy:3128"


def through(url: str, **environ: str) -> str | None:
    """The proxy to a URL in an environment, as people see it."""
    proxy = proxy_of(parse_url(url), environ)
    return None if proxy is None else proxy.shown


def test_each_scheme_has_its_variable() -> None:
    """HTTP_PROXY for http, HTTPS_PROXY for https, ALL_PROXY for both; small letters go first."""
    assert through("http://x", HTTP_PROXY=PROXY) == PROXY
    assert through("https://x", HTTP_PROXY=PROXY) is None
    assert through("https://x", HTTPS_PROXY=PROXY) == PROXY
    assert through("https://x", ALL_PROXY=PROXY) == PROXY
    assert through("http://x", http_proxy="http://small:1", HTTP_PROXY=PROXY) == "http://small:1"
    assert through("http://x", HTTP_PROXY="proxy:3128") == PROXY
    assert through("http://x", HTTP_PROXY="") is None
    assert through("http://x") is None


def test_a_cgi_process_does_not_believe_http_proxy() -> None:
    """There HTTP_PROXY is the Proxy header of whoever asks."""
    assert through("http://x", HTTP_PROXY=PROXY, REQUEST_METHOD="GET") is None
    assert through("http://x", http_proxy=PROXY, REQUEST_METHOD="GET") == PROXY


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:1",
        "http://LOCALHOST",
        "http://a.localhost",
        "http://127.0.0.1",
        "http://127.9.9.9",
        "http://[::1]",
    ],
)
def test_this_machine_is_reached_directly(url: str) -> None:
    """No proxy of the environment knows what is on our loopback."""
    assert through(url, HTTP_PROXY=PROXY, ALL_PROXY=PROXY) is None


@pytest.mark.parametrize(
    "no_proxy, excepted",
    [
        ("*", True),
        ("example.org", True),
        (".example.org", True),
        ("*.example.org", True),
        ("loop.example.org", True),
        ("LOOP.Example.ORG", True),
        ("a, example.org ,b", True),
        ("example.org:8710", True),
        ("example.org:80", False),
        ("ample.org", False),
        ("other.org", False),
        ("", False),
        (",", False),
        ("10.0.0.0/8", False),
    ],
)
def test_no_proxy_names_what_is_reached_directly(no_proxy: str, excepted: bool) -> None:
    """A name with all below it, with a port or without; nothing that only ends alike."""
    found = through("http://loop.example.org:8710", HTTP_PROXY=PROXY, NO_PROXY=no_proxy)
    assert (found is None) == excepted


@given(st.ip_addresses().filter(lambda address: not address.is_loopback), st.data())
def test_no_proxy_names_addresses_and_networks(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, data: st.DataObject
) -> None:
    """An address by itself or within a network, of either version."""
    bits = data.draw(st.integers(1, address.max_prefixlen))
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    url = f"http://[{address}]:1" if address.version == 6 else f"http://{address}:1"
    assert through(url, HTTP_PROXY=PROXY, NO_PROXY=str(address)) is None
    assert through(url, HTTP_PROXY=PROXY, NO_PROXY=f"a,{network}") is None
    outside = "2001:db8::/128" if address.version == 4 else "192.0.2.0/32"
    assert through(url, HTTP_PROXY=PROXY, NO_PROXY=outside) == PROXY


@pytest.mark.parametrize("proxy", ["socks5://x", "http://", "http://x:0", "ftp://x"])
def test_a_proxy_that_cannot_be_is_named(proxy: str) -> None:
    """The complaint says which variable holds it."""
    with pytest.raises(InvalidSetting, match="HTTP_PROXY"):
        proxy_of(Address(False, "x", 80), {"HTTP_PROXY": proxy})
    with pytest.raises(InvalidSetting, match="https_proxy"):
        proxy_of(Address(True, "x", 443), {"https_proxy": "https://x"})
