"""Whose requests are answered: rules on `Host`, `Origin` and `Sec-Fetch-Site`, without a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from feedback.server.hosts import Hosts, allowed_hosts, authority_of, is_loopback


def status(hosts: Hosts, host: str | None, *, local: str = "127.0.0.1", **more: str) -> int:
    """What a request with these headers is answered with; 0 when it is let in."""
    asked = {name: more.pop(name) for name in ("method", "path", "version") if name in more}
    headers = [] if host is None else [(b"host", host.encode("latin-1"))]
    headers += [(name.replace("_", "-").encode(), text.encode()) for name, text in more.items()]
    refusal = hosts.refusal(headers, local=local, **asked)
    return 0 if refusal is None else refusal.status


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "localhost:8710",
        "LOCALHOST:8710",
        "localhost.:8710",
        "127.0.0.1",
        "127.0.0.1:8710",
        "127.9.8.7:1",
        "[::1]",
        "[::1]:8710",
        "[0:0:0:0:0:0:0:1]:8710",
        "[::ffff:127.0.0.1]:8710",
        "localhost:",
    ],
)
def test_this_machine_is_answered(host: str) -> None:
    """Loopback names and addresses, in any spelling that HTTP has, with any port."""
    assert status(Hosts(), host) == 0


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example.com",
        "rebound.example.com:8710",
        "localhost.example.com",
        "127.0.0.1.example.com",
        "localhost.localdomain",
        "evil-localhost",
        "10.0.0.1:8710",
        "0.0.0.0:8710",
        "[::]:8710",
        "[fd00::1]:8710",
        "127.1",
        "2130706433",
        "0x7f.0.0.1",
        "",
    ],
)
def test_another_name_is_misdirected(host: str) -> None:
    """421 for whatever a page can make its own name, or what is nobody's."""
    assert status(Hosts(), host) == 421


@pytest.mark.parametrize(
    "host",
    [
        "user@localhost",
        "user:pw@127.0.0.1:8710",
        "localhost:8710:1",
        "localhost:x",
        "localhost:99999",
        "localhost,evil.example.com",
        "localhost evil.example.com",
        "http://localhost",
        "localhost/",
        "[::1%25lo]:8710",
        "[fe80::1%eth0]",
        "::1",
        "[::1",
        "local\xe4host",
        ".localhost",
        "localhost..",
    ],
)
def test_what_is_no_host_is_refused(host: str) -> None:
    """400, as HTTP has it: credentials, zones, lists and addresses without brackets are no host."""
    assert status(Hosts(), host) == 400


def test_there_is_exactly_one_host() -> None:
    """None is 400 in HTTP/1.1 and 421 in 1.0, which need not have one; two are 400 even if both are right."""
    assert status(Hosts(), None) == 400
    assert status(Hosts(), None, version="1.0") == 421
    twice = [(b"host", b"localhost"), (b"host", b"localhost")]
    refusal = Hosts().refusal(twice)
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.parametrize("name", ["origin", "sec-fetch-site", "sec-fetch-mode"])
@pytest.mark.parametrize("last", ["http://localhost", "same-origin", "navigate"])
def test_where_a_request_comes_from_is_said_once(name: str, last: str) -> None:
    """Of two that differ one may be another site's page, in whichever order they come: 400."""
    twice = [(b"host", b"localhost"), (name.encode(), b"cross-site"), (name.encode(), last.encode())]
    for headers in (twice, twice[::-1]):
        refusal = Hosts().refusal(headers)
        assert refusal is not None
        assert refusal.status == 400


def test_where_it_listens_is_answered() -> None:
    """The host that it was told, and the address at which the connection arrived: health checks use that."""
    hosts = Hosts(["0.0.0.0", "Box.example.com."])
    assert status(hosts, "box.EXAMPLE.com:8710") == 0
    assert status(hosts, "10.1.2.3:8710", local="10.1.2.3") == 0
    assert status(hosts, "10.1.2.3:8710", local="::ffff:10.1.2.3") == 0
    assert status(hosts, "[fe80::1]:8710", local="fe80::1%eth0") == 0
    assert status(hosts, "10.1.2.4:8710", local="10.1.2.3") == 421


def test_allowed_hosts_are_answered() -> None:
    """A name with any port, a name with its port, all names below one, an address."""
    hosts = Hosts([], allowed_hosts("loopline.example.com, collector-1:8710 *.svc.local,[fd00::1]"))
    for host in ("loopline.example.com", "loopline.example.com:443", "collector-1:8710", "a.b.svc.local:1"):
        assert status(hosts, host) == 0
    assert status(hosts, "[fd00:0::1]:80") == 0
    for host in ("collector-1", "collector-1:80", "svc.local", "asvc.local", "x.loopline.example.com"):
        assert status(hosts, host) == 421


@pytest.mark.parametrize("text", ["http://a", "a/b", "*", "a:b", "a:99999", "[::x]", "a@b", "*.*.a"])
def test_what_is_no_host_cannot_be_allowed(text: str) -> None:
    """The setting is refused, with an example; an asterisk alone would open the door whole."""
    with pytest.raises(ValueError, match="looks like"):
        allowed_hosts(text)


@pytest.mark.parametrize("name", ["x_forwarded_host", "forwarded", "x_original_host", "x_host"])
def test_what_proxies_say_is_not_believed(name: str) -> None:
    """Anybody can write these headers."""
    assert status(Hosts(), "evil.example.com", **{name: "localhost"}) == 421
    assert status(Hosts(), "localhost", **{name: "evil.example.com"}) == 0


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(
    "more",
    [
        {"origin": "http://evil.example.com"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:3000"},
        {"origin": "file://"},
        {"origin": "http://localhost:8710.evil.example.com"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "path": "/v1/events"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "path": "/v1/counts"},
        {"sec_fetch_site": "cross-site", "origin": "http://localhost:8710"},
    ],
)
def test_other_sites_pages_are_refused(method: str, more: dict[str, str]) -> None:
    """Reads as well as writes: what a page cannot read it can still time."""
    assert status(Hosts(), "localhost:8710", method=method, **more) == 403


@pytest.mark.parametrize(
    "host,origin",
    [
        ("localhost:8710", "http://localhost:8710"),
        ("127.0.0.1:8710", "http://127.0.0.1:8710"),
        ("[::1]:8710", "http://[::1]:8710"),
        ("localhost", "http://localhost"),
        ("localhost:80", "http://localhost"),
        ("localhost", "https://localhost:443"),
        ("LOCALHOST:8710", "http://localhost:8710"),
    ],
)
def test_its_own_page_is_answered(host: str, origin: str) -> None:
    """Same host and port, as the browser wrote them; also behind a proxy that speaks TLS."""
    assert status(Hosts(), host, origin=origin, sec_fetch_site="same-origin", method="POST") == 0
    assert status(Hosts(), host, sec_fetch_site="none") == 0


def test_a_link_to_the_page_may_be_followed() -> None:
    """A person who follows a link sees the page; the page that has the link sees nothing of it."""
    followed = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert status(Hosts(), "localhost", path="/", **followed) == 0
    assert status(Hosts(), "localhost", path="/", method="POST", **followed) == 403


@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    """No Host makes the check fail, and what it takes for a host it reads the same again."""
    found = authority_of(text)
    if found is not None:
        host = f"[{found.host}]" if ":" in found.host else found.host
        assert authority_of(host if found.port is None else f"{host}:{found.port}") == found
    assert status(Hosts(), text.encode("utf-8", "ignore").decode("latin-1")) in (0, 400, 421)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.8.8.8",
        "::1",
        "0:0:0:0:0:0:0:1",
        "0000::0001",
        "::ffff:127.0.0.1",
        "::1%lo",
        "LocalHost",
        "localhost.",
    ],
)
def test_loopback_is_known_in_any_spelling(host: str) -> None:
    """Only this machine reaches it: nobody is asked whether that is meant."""
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "127.evil.example",
        "127.",
        "127.1",
        "127.0.0.1.example.com",
        "0127.0.0.1",
        "localhost.example.com",
        "localhost..",
        "0.0.0.0",
        "::",
        "::ffff:10.0.0.1",
        "192.168.1.1",
        " 127.0.0.1",
        "",
    ],
)
def test_what_others_may_reach_is_no_loopback(host: str) -> None:
    """A name that only looks like it, and what means every address: a server there asks for --insecure."""
    assert not is_loopback(host)
