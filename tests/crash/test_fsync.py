"""A power cut before any answer: what is being acknowledged is on disk already.

SIGKILL cannot show this, for what was written and not synced survives it in the system's cache. So the
collector runs under strace, and for every answer the disk is put together as a power cut at that instant
would leave it. Collectors that are careless on purpose show that the test would notice.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest

from feedback.installation.home import Home
from streams.log.block import raw_items, read_dead_letters
from streams.log.port import DEAD
from streams.log.sqlite import SqliteLog
from tests.crash.load import TIME
from tests.crash.power import Disk, anything, nothing_else
from tests.crash.tracing import Call, Exchange, calls, exchanges, traced

pytestmark = pytest.mark.trace

_SENDERS, _ROUNDS = 4, 2
_PATIENCE_S = 60
_AS_IT_IS = ["-m", "feedback.processes.home_server"]

_NOT_SYNCED = """
import sys
from feedback.processes.home_server import main
from streams.sqlite.connections import SqliteConnections

careful = SqliteConnections.open

def careless(connections, settings, **how):
    return careful(connections, [each.replace("=FULL", "=NORMAL") for each in settings], **how)

SqliteConnections.open = careless
sys.exit(main())
"""

_NOT_WAITED_FOR = """
import asyncio, sys
from feedback.processes.home_server import main
from streams.log.writer import Appender

patient = Appender.write

def hasty(appender, batch):
    patient(appender, batch)
    answer = asyncio.get_running_loop().create_future()
    answer.set_result(appender.position)
    return answer

Appender.write = hasty
sys.exit(main())
"""


class Request(NamedTuple):
    """A request, the status that its answer must have, and the words that its items are known by."""

    body: bytes
    content_type: str
    status: int
    words: tuple[str, ...]


def _thumb(word: str, value: str = "up") -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": word,
        "source": "/power",
        "type": "loopline.feedback.thumb.v1",
        "time": TIME,
        "data": {"prediction_id": word, "value": value},
    }


def _requests(sender: int) -> Iterator[Request]:
    """One of each kind of answer that promises something, again and again."""
    one, batch = "application/json", "application/cloudevents-batch+json"
    for number in range(_ROUNDS):
        words = [f"w-{sender}-{number}-{letter}." for letter in "abcdef"]
        mixed = [_thumb(words[0]), _thumb(words[1], "sideways"), _thumb(words[2])]
        yield Request(json.dumps(mixed).encode(), batch, 200, tuple(words[:3]))
        yield Request(json.dumps(_thumb(words[3])).encode(), one, 200, (words[3],))
        yield Request(json.dumps(_thumb(words[4], "sideways")).encode(), one, 422, (words[4],))
        yield Request(b'{"half": "' + words[5].encode(), one, 400, (words[5],))


class Trace(NamedTuple):
    """What a collector did: its calls, what was on the disk before, and what it was asked."""

    calls: list[Call]
    before: dict[str, bytes]
    requests: list[Request]


def _trace(folder: Path, program: list[str]) -> Trace:
    """Run a collector under strace on a new home, and send it requests from several connections."""
    home = Home(folder / "home")
    home.create(2)
    before = {str(home.log_path): home.log_path.read_bytes()}
    with socket.create_server(("127.0.0.1", 0), backlog=16) as listening:
        port, number = listening.getsockname()[1], listening.fileno()
        command = [sys.executable, "-P", *program, "collector", str(home.path), "--socket", str(number)]
        process = subprocess.Popen(
            traced(command, folder / "trace"), stdin=subprocess.PIPE, pass_fds=[number], process_group=0
        )
    requests = [list(_requests(sender)) for sender in range(_SENDERS)]
    failures: list[str] = []
    threads = [threading.Thread(target=_send, args=[port, each, failures]) for each in requests]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_PATIENCE_S)
    finally:
        # It ends with the one that started it.
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(_PATIENCE_S) == 0
    assert failures == []
    return Trace(calls((folder / "trace").read_text()), before, list(chain(*requests)))


def _send(port: int, requests: list[Request], failures: list[str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_PATIENCE_S)
    try:
        for request in requests:
            connection.request("POST", "/v1/events", request.body, {"content-type": request.content_type})
            answer = connection.getresponse()
            if answer.status != request.status:
                failures.append(f"{answer.status} for {request}: {answer.read()!r}")
            answer.read()
    except (OSError, http.client.HTTPException) as error:
        failures.append(repr(error))
    finally:
        connection.close()


def _answered(trace: Trace) -> list[tuple[Exchange, Request]]:
    """Each request with its exchange in the trace; one that the trace does not show is an error."""
    seen = exchanges(trace.calls)
    answered = []
    for request in trace.requests:
        (exchange,) = [each for each in seen if request.words[0].encode() in each.request]
        assert exchange.answer.startswith(f"HTTP/1.1 {request.status} ".encode())
        answered.append((exchange, request))
    return sorted(answered, key=lambda pair: pair[0].answered_at)


def _lost(trace: Trace, folder: Path) -> set[str]:
    """The words that a power cut before their own or a later answer would take, though acknowledged."""
    disk, random = Disk(trace.before, trace.calls), Random(20261121)
    promised: set[str] = set()
    lost: set[str] = set()
    for number, (exchange, request) in enumerate(_answered(trace)):
        promised |= set(request.words)
        for name, kept in (("nothing", nothing_else), ("anything", anything(random))):
            left = disk.after_a_cut(exchange.answered_at, kept)
            there = _in_the_log(left, folder / f"{name}-{number}")
            lost |= {word for word in promised if word.encode() not in there}
    return lost


def _in_the_log(files: dict[str, bytes], folder: Path) -> bytes:
    """Every item of a log that lies in these files, opened as a restart does."""
    folder.mkdir()
    for path, content in files.items():
        (folder / Path(path).name).write_bytes(content)
    log = SqliteLog(folder / "log.sqlite", writable=True)
    try:
        items: list[bytes] = []
        for partition, end in log.ends().items():
            for record in log.read(partition, 0, end):
                if partition == DEAD:
                    items += [letter.bytes for _, letter in read_dead_letters(record)]
                else:
                    items += raw_items(record)
        return b"\n".join(items)
    finally:
        log.close()


def test_every_answer_comes_after_its_sync(tmp_path: Path) -> None:
    """200, 422 and 400 leave only when the items they speak of would survive a power cut."""
    trace = _trace(tmp_path, _AS_IT_IS)
    assert {request.status for _, request in _answered(trace)} == {200, 422, 400}
    assert _lost(trace, tmp_path) == set()


@pytest.mark.parametrize("program", [_NOT_SYNCED, _NOT_WAITED_FOR], ids=["not synced", "not waited for"])
def test_a_careless_collector_is_found(program: str, tmp_path: Path) -> None:
    """One that leaves the sync to the system, or answers before the append, loses what it acknowledged."""
    assert _lost(_trace(tmp_path, ["-c", program]), tmp_path)


_LOG = r"\x6c\x6f\x67"
_SAMPLE = rf"""
11 read(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, "\x47\x45", 65536) = 2
11 read(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, 0x7f, 65536) = -1 EAGAIN (Resource temporarily unavailable)
12 pwrite64(8</a/log>, "\x61\x62", 2, 3) = 2
12 fdatasync(8</a/log> <unfinished ...>
11 writev(7<TCP:[127.0.0.1:1->127.0.0.1:2]>, [{{iov_base="\x6f"}}, {{iov_base="\x6b"}}], 2 <unfinished ...>
12 <... fdatasync resumed>) = 0
11 <... writev resumed>) = 2
12 fsync(9</a>) = 0
12 pwrite64(8<\x2f\x61\x2f{_LOG}>, "\x63", 1, 5) = 1
12 read(10</dev/urandom<char 1:9>>, "\x00", 1) = 1
11 +++ exited with 0 +++
""".strip()


def test_a_trace_is_read_as_it_happened() -> None:
    """Calls that were interrupted are put together again, and belong to the lines of their begin and end."""
    seen = calls(_SAMPLE)
    assert [(call.name, call.target) for call in seen[2:-1]] == [
        ("pwrite64", "/a/log"),
        ("fdatasync", "/a/log"),
        ("writev", "TCP:[127.0.0.1:1->127.0.0.1:2]"),
        ("fsync", "/a"),
        ("pwrite64", "/a/log"),
    ]
    assert exchanges(seen) == [Exchange(b"GE", b"ok", 4)]


def test_a_power_cut_takes_what_was_not_synced() -> None:
    """A write is safe when its sync has ended, a new file when its folder's has; the rest may be there."""
    disk = Disk({}, calls(_SAMPLE))
    assert disk.after_a_cut(4) == disk.after_a_cut(6) == disk.after_a_cut(7) == {}
    assert disk.after_a_cut(8) == disk.after_a_cut(100) == {"/a/log": b"\0\0\0ab"}
    assert disk.after_a_cut(100, lambda write: 1) == {"/a/log": b"\0\0\0abc"}
    there_before = Disk({"/a/log": b"....."}, calls(_SAMPLE))
    assert there_before.after_a_cut(5) == {"/a/log": b"....."}
    assert there_before.after_a_cut(6) == {"/a/log": b"...ab"}
