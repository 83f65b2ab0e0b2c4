"""Loading from a server that lies, or is no Loopline: no more is taken than was stated."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import tempfile
import threading
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loopline import datasets
from loopline.datasets.releases import Server
from loopline.errors import LooplineError, NotLoopline, ReleaseDamaged, Unreachable
from tests.clients.datasets.test_load import SPLITS, rows, serve, write
from tests.services.fake_server import FakeServer, Handler


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A release on disk, from which a server's answers are made."""
    return write(tmp_path, "m", 1)


def lie(folder: Path, body: bytes, **stated: Any) -> None:
    """Put another training file there, with the right hash; ``stated`` is what the manifest says of it."""
    (folder / "train.parquet").write_bytes(body)
    said = json.loads((folder / "manifest.json").read_text())
    honest = {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
    said["files"]["train.parquet"] |= honest | stated
    (folder / "manifest.json").write_text(json.dumps(said))


def file_of(table: pa.Table, tmp_path: Path, **options: Any) -> bytes:
    """A table as the bytes of a Parquet file."""
    path = tmp_path / "made.parquet"
    pq.write_table(table, path, **options)
    return path.read_bytes()


def load(server: FakeServer, folder: Path) -> pa.Table:
    """The training rows, by the server."""
    serve(server, folder)
    return datasets.load("m", split="train", url=server.url)


@pytest.mark.parametrize("dictionary", [True, False])
def test_a_small_file_that_decodes_to_much_is_refused(
    server: FakeServer, folder: Path, tmp_path: Path, dictionary: bool
) -> None:
    """A megabyte of text in each of 200 rows, in a few kilobytes: it is never decoded."""
    bomb = rows(200).set_column(2, "input", pa.array(["x" * 1_000_000] * 200))
    body = file_of(bomb, tmp_path, compression="zstd", use_dictionary=dictionary)
    assert len(body) < 100_000
    lie(folder, body, rows=200)
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    tracemalloc.start()
    with pytest.raises(ReleaseDamaged, match="decodes to over 67,108,864 bytes"):
        load(server, folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16_000_000
    assert pa.total_allocated_bytes() - before < 16_000_000
    assert pool.max_memory() is not None
    lie(folder, body, rows=200, decoded_bytes=10_000)
    with pytest.raises(ReleaseDamaged, match="decodes to over 10,000 bytes"):
        load(server, folder)


def test_more_rows_than_stated_are_refused(server: FakeServer, folder: Path, tmp_path: Path) -> None:
    """A million rows of one value take little; their number is seen before they are."""
    many = pa.table({name: pa.nulls(1_000_000, pa.string()) for name in ("input_ref", "input")})
    lie(folder, file_of(many, tmp_path))
    with pytest.raises(ReleaseDamaged, match="1,000,000 rows, not 8"):
        load(server, folder)


def test_no_byte_more_is_taken_than_stated(server: FakeServer, folder: Path) -> None:
    """A body that goes on, whatever its length says, is given up at the first byte too many."""
    lie(folder, (folder / "train.parquet").read_bytes() + b"x" * 5_000_000, bytes=1_000)
    with pytest.raises(ReleaseDamaged, match=r"train\.parquet at .* has over 1,000 bytes"):
        load(server, folder)


def test_an_answer_without_an_end_is_given_up(
    server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chunks for ever instead of a file."""
    usual = Handler.do_GET
    sent = []

    def endless(handler: Handler) -> None:
        if not handler.path.endswith("train.parquet"):
            return usual(handler)
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent.append(0x10000)
        except OSError:
            handler.close_connection = True

    monkeypatch.setattr(Handler, "do_GET", endless)
    with pytest.raises(ReleaseDamaged, match="over"):
        load(server, folder)
    assert sum(sent) < 20_000_000


def fetched(place: Server) -> bytes:
    """All that loading asks a server for: its list, the manifest, and the training rows."""
    (version,) = place.versions("m")
    size = place.manifest("m", version)["files"]["train.parquet"]["bytes"]
    with place.file("m", version, "train.parquet", size) as path:
        return path.read_bytes()


@pytest.mark.parametrize("dripping", ["/v1/datasets", "/v1/datasets/m/1", "train.parquet"])
def test_an_answer_that_drips_is_given_up(
    server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch, dripping: str
) -> None:
    """A byte now and then, of as many as the manifest likes to state: what came in counts, not what will."""
    usual, done = Handler.do_GET, threading.Event()

    def drip(handler: Handler) -> None:
        if not handler.path.endswith(dripping):
            usual(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", "100000000")
        handler.end_headers()
        with contextlib.suppress(OSError):
            while not done.wait(0.02):
                handler.wfile.write(b" ")
                handler.wfile.flush()
        handler.close_connection = True

    lie(folder, (folder / "train.parquet").read_bytes(), bytes=100_000_000)
    serve(server, folder)
    monkeypatch.setattr(Handler, "do_GET", drip)
    try:
        with pytest.raises(Unreachable, match="timed out"):
            fetched(Server(server.url, timeout_s=0.3))
    finally:
        done.set()


def test_an_answer_that_comes_fast_enough_may_take_long(
    server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file over a slow line takes as long as it takes, at the slowest speed or above."""
    usual = Handler.do_GET
    body = (folder / "train.parquet").read_bytes()

    def trickle(handler: Handler) -> None:
        if not handler.path.endswith("train.parquet"):
            usual(handler)
            return
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        for place in range(0, len(body), 1 + len(body) // 8):
            handler.wfile.write(body[place : place + 1 + len(body) // 8])
            handler.wfile.flush()
            time.sleep(0.3)

    serve(server, folder)
    monkeypatch.setattr(Handler, "do_GET", trickle)
    assert fetched(Server(server.url, timeout_s=2.0, slowest=len(body) / 60)) == body


def test_a_file_that_ends_early_is_no_release(server: FakeServer, folder: Path) -> None:
    """Its hash is looked at before it is opened."""
    lie(folder, (folder / "train.parquet").read_bytes()[:-10], sha256="0" * 64)
    with pytest.raises(ReleaseDamaged, match="has SHA-256"):
        load(server, folder)


@pytest.mark.parametrize(
    "stated", [{"bytes": -1}, {"bytes": "many"}, {"rows": None}, {"sha256": 5}, {"decoded_bytes": -1}]
)
def test_a_manifest_that_does_not_say_how_much_is_refused(
    server: FakeServer, folder: Path, stated: dict[str, Any]
) -> None:
    """What has no bound is not fetched."""
    lie(folder, (folder / "train.parquet").read_bytes(), **stated)
    with pytest.raises(ReleaseDamaged, match=r"does not say what train\.parquet is"):
        load(server, folder)
    assert not any(path.endswith("train.parquet") for path, _, _ in server.requests)


def test_a_file_larger_than_the_disk_is_not_begun(server: FakeServer, folder: Path) -> None:
    """The message says where there is too little room."""
    lie(folder, (folder / "train.parquet").read_bytes(), bytes=2**53)
    with pytest.raises(LooplineError, match="set TMPDIR to a larger disk"):
        load(server, folder)


def test_a_column_that_no_release_has_is_refused(server: FakeServer, folder: Path, tmp_path: Path) -> None:
    """Lists and structs, or an encoding that names much in few bytes."""
    nested = rows(8).append_column("more", pa.array([[1]] * 8))
    lie(folder, file_of(nested, tmp_path))
    with pytest.raises(ReleaseDamaged, match="no columns of type list"):
        load(server, folder)
    prefixes = {"use_dictionary": False, "column_encoding": {"label": "DELTA_BYTE_ARRAY"}}
    lie(folder, file_of(rows(8), tmp_path, **prefixes))
    with pytest.raises(ReleaseDamaged, match="encoded as DELTA_BYTE_ARRAY"):
        load(server, folder)


def test_a_list_without_an_end_is_given_up(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages that name each other, and pages that always name another one."""
    page = {"items": [{"model": "m", "version": 1}], "next": "again"}
    for path in ("/v1/datasets", "/v1/datasets?next=again"):
        server.pages[path] = (200, json.dumps(page).encode())
    with pytest.raises(NotLoopline, match="without an end"):
        datasets.load("m", url=server.url)
    numbers = itertools.count()

    def another(handler: Handler) -> None:
        handler.answer(200, {**page, "next": f"page-{next(numbers)}"})

    monkeypatch.setattr(Handler, "do_GET", another)
    with pytest.raises(NotLoopline, match="without an end"):
        Server(server.url, most_pages=20).versions("m")
    assert next(numbers) < 25


@pytest.mark.parametrize(
    "status, body",
    [
        (200, b"<html>Welcome to the hotel</html>"),
        (200, b"[]"),
        (200, b'{"items": "all of them"}'),
        (200, b'{"items": [{"name": "another kind of thing"}]}'),
        (200, b"\xff\xfe"),
        (302, b""),
        (404, b"<html>nginx</html>"),
        (403, b'{"message": "log in"}'),
        (500, b"oops"),
    ],
)
def test_what_is_no_loopline_is_told_in_one_sentence(server: FakeServer, status: int, body: bytes) -> None:
    """A proxy, a login page, another server: the address is named, and what to look at."""
    server.pages["/v1/datasets"] = (status, body)
    with pytest.raises(NotLoopline) as told:
        datasets.load("m", url=server.url)
    assert str(told.value).startswith(server.url)
    assert str(told.value).endswith(
        "not as a Loopline server does: is the address right, or is a proxy or a login page in between?"
    )
    assert isinstance(told.value, Unreachable)


def test_a_redirect_is_followed_to_nobody(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials and trust are for the server that was named."""

    def elsewhere(handler: Handler) -> None:
        handler.server.requests.append((handler.path, dict(handler.headers), b""))
        handler.answer(302, b"", Location=f"{server.url}/stolen")

    monkeypatch.setattr(Handler, "do_GET", elsewhere)
    with pytest.raises(NotLoopline, match="answered 302"):
        datasets.load("m", url=server.url)
    assert [path for path, _, _ in server.requests] == ["/v1/datasets"]


def test_a_manifest_as_large_as_a_dataset_is_given_up(server: FakeServer, folder: Path) -> None:
    """It has a bound of its own."""
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text() + " " * 2_000)
    serve(server, folder)
    with pytest.raises(Unreachable, match="1000 bytes"):
        fetched(Server(server.url, manifest_bytes=1_000))


def test_nothing_is_left_behind(
    server: FakeServer, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Files from elsewhere lie in temporary folders, gone at the end, whatever that was."""
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    assert load(server, folder).equals(SPLITS["train"])
    lie(folder, b"not a file", rows=8)
    with pytest.raises(ReleaseDamaged):
        load(server, folder)
    assert list((tmp_path / "scratch").iterdir()) == []
