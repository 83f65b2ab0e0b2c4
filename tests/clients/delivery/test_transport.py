"""The way to a server: one deadline over every step of it, proxies, certificates."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loopline.delivery.transport import Transport
from loopline.errors import InvalidSetting, Unreachable
from tests.services.fake_server import FakeServer


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], object]) -> Iterator[int]:
    """A port on which each connection is served by a function, in a thread of its own."""
    threads = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threads.append(threading.Thread(target=run, args=(connection,)))
                threads[-1].start()

        def run(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for each in (thread, *threads):
                each.join()


def head_of(connection: socket.socket) -> bytes:
    """A request up to its empty line."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        byte = connection.recv(1)
        if not byte:
            break
        head += byte
    return head


def pump(source: socket.socket, target: socket.socket) -> None:
    """Carry bytes one way until there are no more."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65_536):
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Proxy:
    """A proxy that remembers the heads it was sent, and leads everywhere to one port."""

    def __init__(self, to: int, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> None:
        self.heads: list[bytes] = []
        self._to = to
        self._answer = answer

    def __call__(self, connection: socket.socket) -> None:
        head = head_of(connection)
        self.heads.append(head)
        with socket.create_connection(("127.0.0.1", self._to)) as server:
            if head.startswith(b"CONNECT "):
                connection.sendall(self._answer)
            else:
                method, url, rest = head.split(b" ", 2)
                path = b"/" + url.split(b"/", 3)[3]
                server.sendall(b" ".join([method, path, rest]))
            back = threading.Thread(target=pump, args=(server, connection))
            back.start()
            pump(connection, server)
            back.join()


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine has in its environment."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "ssl_cert_file", "ssl_cert_dir"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Names that resolve to given addresses here, whatever the machine's resolver knows."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **kwargs: Any) -> object:
        if host not in known:
            return real(host, port, *args, **kwargs)
        return [each for address in known[host] for each in real(address, port, type=socket.SOCK_STREAM)]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


def get(url: str, path: str = "/ping", within: float | None = 5.0, **settings: object) -> bytes:
    """The body of one page."""
    transport = Transport(url, 10.0, **settings)  # type: ignore[arg-type]
    try:
        return transport.request("GET", path, within=within).body
    finally:
        transport.close()


def took(seconds: float, url: str, **settings: Any) -> str:
    """What is said when nobody answers; it must have taken about so long and no longer."""
    began = time.monotonic()
    with pytest.raises(Unreachable) as raised:
        get(url, within=seconds, **settings)
    assert time.monotonic() - began < seconds + 0.5
    return str(raised.value)


# ---- one deadline


def test_a_resolver_that_hangs_costs_no_more_than_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is left to a thread; whoever asks for the same name meanwhile waits for the same thread."""
    release, asked = threading.Event(), []

    def hang(host: str, *_: object, **__: object) -> object:
        asked.append(host)
        release.wait(10)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    try:
        for _ in range(3):
            assert "not resolved in time" in took(0.1, "http://slow.test")
        assert asked == ["slow.test"]
    finally:
        release.set()


def test_a_name_that_is_not_known_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """The resolver's own words, and the next question asks it again."""

    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    for _ in range(2):
        assert "Name or service not known" in took(5, "http://nowhere.test")


def full() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose backlog is full: connecting to it hangs."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    waiting = []
    for _ in range(4):
        each = socket.socket()
        each.setblocking(False)
        each.connect_ex(listener.getsockname())
        waiting.append(each)
    return listener, waiting


def test_addresses_that_do_not_answer_share_the_time(names: dict[str, list[str]]) -> None:
    """Four dead addresses cost as much as one, and the last of them still has its turn."""
    listener, waiting = full()
    port = listener.getsockname()[1]
    names["loop.test"] = ["127.0.0.1"] * 4
    try:
        took(0.4, f"http://loop.test:{port}")
    finally:
        for each in (listener, *waiting):
            each.close()


def test_a_dead_address_before_a_living_one_costs_a_part_of_the_time(
    server: FakeServer, names: dict[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The living one is reached within the deadline."""
    server.pages["/ping"] = (200, b"pong")
    names["loop.test"] = ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
    assert get(f"http://loop.test:{server.server_address[1]}") == b"pong"


@pytest.mark.parametrize("url", ["http://127.0.0.1:{}", "https://127.0.0.1:{}"])
def test_a_server_that_drips_costs_no_more_than_the_time(url: str) -> None:
    """A byte now and then, in a handshake or in an answer, does not begin the time anew."""
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        # The beginning of a TLS record that never ends, and of an HTTP answer that never ends.
        connection.sendall(b"\x16\x03\x03\x40\x00" if url.startswith("https") else b"HTTP/1.1 200 OK\r\nX: ")
        while not done.wait(0.03):
            connection.sendall(b"a")

    with listening(drip) as port:
        took(0.3, url.format(port))
        done.set()


@pytest.mark.parametrize("url", ["http://far.test/", "https://far.test/"])
def test_a_proxy_that_says_nothing_costs_no_more_than_the_time(url: str) -> None:
    """The deadline holds through a proxy too, whatever it is asked for."""
    done = threading.Event()
    with listening(lambda connection: done.wait(10)) as port:
        took(0.3, url, proxy=f"http://127.0.0.1:{port}")
        done.set()


# ---- proxies


def test_a_proxy_is_asked_for_the_whole_address(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain HTTP: the URL in the request line, the server in Host, who we are to the proxy beside it."""
    server.pages["/loop/ping"] = (200, b"pong")
    proxy = Proxy(server.server_address[1])
    with listening(proxy) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://me:pa%40ss@127.0.0.1:{port}")
        assert get("http://far.test:8710/loop") == b"pong"
    head = proxy.heads[0].decode()
    assert head.startswith("GET http://far.test:8710/loop/ping HTTP/1.1\r\n")
    assert "\r\nHost: far.test:8710\r\n" in head
    assert "\r\nProxy-Authorization: Basic bWU6cGFAc3M=\r\n" in head


def test_a_proxy_given_by_hand_is_used_for_this_machine_too(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment's does not apply to loopback; one that was asked for does."""
    server.pages["/ping"] = (200, b"pong")
    proxy = Proxy(server.server_address[1])
    with listening(proxy) as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        assert get(server.url) == b"pong"
        assert proxy.heads == []
        assert get(server.url, proxy=f"127.0.0.1:{port}") == b"pong"
    assert len(proxy.heads) == 1


def test_a_broken_proxy_variable_is_named_and_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is only known when a connection is made: then it is why nobody answers."""
    monkeypatch.setenv("HTTP_PROXY", "ftp://me:s3cret@proxy")
    told = took(5, "http://far.test")
    assert "HTTP_PROXY" in told
    assert "s3cret" not in told


# ---- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of far.test and 127.0.0.1 that nobody signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    crt, key = folder / "crt.pem", folder / "key.pem"
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
             "-keyout", key, "-out", crt, "-days", "2", "-subj", "/CN=far.test",
             "-addext", "subjectAltName=DNS:far.test,IP:127.0.0.1"],
            check=True, capture_output=True,
        )  # fmt: skip
    except FileNotFoundError:
        pytest.skip("there is no openssl here")
    return crt, key


@pytest.fixture
def tls_port(certificate: tuple[Path, Path]) -> Iterator[int]:
    """A port that answers pong over TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as wrapped:
            for _ in range(2):
                if not head_of(wrapped):
                    return
                wrapped.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\npong")

    with listening(serve) as port:
        yield port


def test_a_certificate_is_checked(tls_port: int) -> None:
    """One that nobody knows is not believed."""
    assert "certificate verify failed" in took(5, f"https://127.0.0.1:{tls_port}")


@pytest.mark.parametrize("how", ["ca_bundle", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_certificates_to_trust_are_named_as_usual(
    tls_port: int, certificate: tuple[Path, Path], how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By setting, or by the variables of OpenSSL, requests and curl; the connection is kept."""
    settings: dict[str, Any] = {}
    if how == "ca_bundle":
        settings["ca_bundle"] = certificate[0]
    else:
        monkeypatch.setenv(how, str(certificate[0]))
    transport = Transport(f"https://127.0.0.1:{tls_port}", 10.0, **settings)
    try:
        assert [transport.request("GET", "/ping", within=5).body for _ in range(2)] == [b"pong"] * 2
    finally:
        transport.close()


def test_the_name_of_the_host_is_checked(
    tls_port: int, certificate: tuple[Path, Path], names: dict[str, list[str]]
) -> None:
    """A certificate of somebody else is refused, though it is trusted."""
    names["other.test"] = ["127.0.0.1"]
    assert "certificate verify failed" in took(5, f"https://other.test:{tls_port}", ca_bundle=certificate[0])


def test_a_bundle_that_is_not_there_is_named(tls_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given by hand it is told at once, by a variable when a connection is made."""
    with pytest.raises(InvalidSetting, match="ca_bundle"):
        Transport("https://x", 1.0, ca_bundle="/nowhere/ca.pem")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    assert "REQUESTS_CA_BUNDLE='/nowhere/ca.pem'" in took(5, f"https://127.0.0.1:{tls_port}")


def test_tls_goes_through_a_proxy_as_a_tunnel(tls_port: int, certificate: tuple[Path, Path]) -> None:
    """The proxy hears where to and who we are to it, and nothing of what we say to the server."""
    proxy = Proxy(tls_port)
    with listening(proxy) as port:
        body = get(
            "https://user:s3cret@far.test",
            proxy=f"http://me:pass@127.0.0.1:{port}",
            ca_bundle=certificate[0],
        )
    assert body == b"pong"
    assert proxy.heads[0].decode().split("\r\n") == [
        "CONNECT far.test:443 HTTP/1.1",
        "Host: far.test:443",
        "Proxy-Authorization: Basic bWU6cGFzcw==",
        "",
        "",
    ]


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"SSH-2.0\r\n\r\n", b""]
)
def test_a_tunnel_that_is_refused_is_told(tls_port: int, answer: bytes) -> None:
    """The proxy's status is why nobody answers."""
    with listening(Proxy(tls_port, answer)) as port:
        told = took(0.5, "https://far.test", proxy=f"http://127.0.0.1:{port}")
    assert "407" in told or "proxy" in told or "timed out" in told


def test_an_answer_up_to_the_end_of_the_connection_is_read_whole() -> None:
    """Without Content-Length, as old proxies answer; and the next request opens another connection."""

    def serve(connection: socket.socket) -> None:
        head_of(connection)
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 100_000)

    with listening(serve) as port:
        transport = Transport(f"http://127.0.0.1:{port}", 10.0)
        assert [len(transport.request("GET", "/").body) for _ in range(2)] == [100_000] * 2
        transport.close()


def test_a_piece_of_an_answer_is_handed_on_once() -> None:
    """A kept connection that breaks in the middle of an answer is not asked again once a piece was given."""
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        asked.append(head_of(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        asked.append(head_of(connection))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")

    pieces: list[bytes] = []
    with listening(serve) as port:
        transport = Transport(f"http://127.0.0.1:{port}", 5)
        transport.request("GET", "/ping")
        with pytest.raises(Unreachable, match="ended early"):
            transport.request("GET", "/file", into=pieces.append)
        transport.close()
    assert pieces == [b"first"]
    assert len(asked) == 2


def test_a_request_that_another_thread_gives_up_ends_at_once() -> None:
    """abort() ends what waits for an answer, and later requests fail without waiting."""
    asked, done = threading.Event(), threading.Event()

    def serve(connection: socket.socket) -> None:
        head_of(connection)
        asked.set()
        done.wait(10)

    def give_up() -> None:
        assert asked.wait(5)
        transport.abort()

    with listening(serve) as port:
        transport = Transport(f"http://127.0.0.1:{port}", 10.0)
        threading.Thread(target=give_up).start()
        began = time.monotonic()
        for _ in range(2):
            with pytest.raises(Unreachable):
                transport.request("GET", "/")
        assert time.monotonic() - began < 5
        transport.close()
        done.set()
