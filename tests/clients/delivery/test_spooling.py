"""A client with a spool: nothing is lost when the server is away, the queue full or the process killed."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from loopline.delivery import queue
from loopline.errors import SpoolUnavailable
from tests.clients.conftest import Make
from tests.services import fake_server as moves
from tests.services.fake_server import FakeServer, serving
from tests.services.ports import free_port


def until(true: object, seconds: float = 5.0) -> None:
    """Wait for a condition, given as a callable."""
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.005)


def files(folder: Path) -> list[Path]:
    """The segments in a spool folder."""
    return sorted(folder.glob("*.spool")) if folder.is_dir() else []


def test_events_go_to_disk_while_the_server_is_away_and_out_when_it_is_back(
    tmp_path: Path, make: Make
) -> None:
    """During an outage memory empties onto the disk; afterwards the disk empties, once, and no file stays."""
    port = free_port()
    client = make(url=f"http://127.0.0.1:{port}", spool=tmp_path / "spool")
    ids = {client.thumb(f"p-{number}", "up") for number in range(2_000)}
    until(lambda: client.stats()["spooled"] == 2_000)
    assert client.stats()["queued"] == 0
    assert files(tmp_path / "spool")
    with serving(port) as back:
        assert client.flush(10)
        assert set(back.accepted) == ids
        assert set(back.times_accepted.values()) == {1}
        client.close()
    assert client.stats()["accepted"] == 2_000
    assert not files(tmp_path / "spool")


def test_what_was_answered_for_does_not_stay_on_disk(server: FakeServer, tmp_path: Path, make: Make) -> None:
    """While sending works, one file is emptied again and again, and close() removes it."""
    client = make(spool=tmp_path / "spool")
    for _ in range(3):
        for number in range(500):
            client.thumb(f"p-{number}", "up")
        assert client.flush(5)
        (path,) = files(tmp_path / "spool")
        assert b"p-1" not in path.read_bytes()
    client.close()
    assert os.listdir(tmp_path / "spool") == []


def test_a_queue_that_overflows_goes_to_disk_and_nothing_is_dropped(
    server: FakeServer, tmp_path: Path, make: Make
) -> None:
    """With a server that hangs, a small queue and a spool, every event is on disk and none in memory."""
    server.script = [moves.silence]
    client = make(spool=tmp_path / "spool", queue_size=50, timeout=30)
    ids = {client.thumb("p-0", "up")}
    until(lambda: len(server.requests) == 1)
    ids |= {client.thumb(f"p-{number}", "up") for number in range(5_000)}
    assert client.stats()["queued"] == 0
    assert client.stats()["dropped"] == 0
    assert client.stats()["spooled"] == 5_001
    server.released.set()
    assert client.flush(10)
    assert set(server.accepted) == ids


def test_closing_in_an_outage_keeps_everything_for_the_next_process(tmp_path: Path, make: Make) -> None:
    """close() does not wait for a server that is away; the next client with that folder delivers."""
    port = free_port()
    spool = tmp_path / "spool"
    client = make(url=f"http://127.0.0.1:{port}", spool=spool)
    ids = {client.thumb(f"p-{number}", "up") for number in range(300)}
    until(lambda: client.stats()["failures"] > 0)
    began = time.monotonic()
    assert not client.close(20)
    assert time.monotonic() - began < 3
    assert client.stats()["dropped"] == 0
    with serving(port) as back:
        heir = make(url=f"http://127.0.0.1:{port}", spool=spool)
        assert heir.flush(5), "flushing includes what was found in the folder"
        assert set(back.accepted) == ids
        heir.close()
    assert not files(spool)


def test_items_to_retry_wait_in_the_spool(server: FakeServer, tmp_path: Path, make: Make) -> None:
    """A `retry` is on disk while it waits, and what was accepted beside it is not sent again."""
    server.script = [moves.judge({"e-1": "retry"}), moves.judge({"e-1": "retry"})]
    client = make(spool=tmp_path / "spool")
    for number in range(4):
        client.thumb("p-1", "up", id=f"e-{number}")
    assert client.flush(5)
    assert server.times_accepted == {f"e-{number}": 1 for number in range(4)}
    client.close()
    assert not files(tmp_path / "spool")


def test_what_a_batch_from_the_spool_leaves_over_is_on_disk_again(tmp_path: Path, make: Make) -> None:
    """A batch that was read from disk and half accepted: its other half never depends on memory alone."""
    port = free_port()
    client = make(url=f"http://127.0.0.1:{port}", spool=tmp_path / "spool")
    for number in range(4):
        client.thumb("p-1", "up", id=f"e-{number}")
    until(lambda: client.stats()["spooled"] == 4)
    with serving(port) as back:
        back.script = [moves.judge({"e-1": "retry", "e-2": "retry"})]
        back.otherwise = moves.silence
        until(lambda: len(back.requests) == 2)
        assert len(back.accepted) == 2
        assert client.stats()["spooled"] == 2
        back.otherwise = moves.accept
        back.released.set()
        assert client.flush(5)
        assert back.times_accepted == {f"e-{number}": 1 for number in range(4)}
        client.close()


def test_a_refusal_in_the_spool_does_not_hold_up_the_rest(tmp_path: Path, make: Make) -> None:
    """A bad event that waited on disk is refused once; the others behind it go out."""
    port = free_port()
    heard: list[str] = []
    client = make(
        url=f"http://127.0.0.1:{port}",
        spool=tmp_path / "spool",
        on_refused=lambda event, problem: heard.append(event["id"]),
    )
    for number in range(1_500):
        client.thumb("p-1", "up", id=f"e-{number}")
    until(lambda: client.stats()["spooled"] == 1_500)
    with serving(port) as back:
        back.otherwise = moves.judge({"e-700": "refused"})
        assert client.flush(10)
        assert len(back.accepted) == 1_499
        client.close()
    assert heard == ["e-700"]


def test_a_full_spool_falls_back_to_memory_and_then_counts(tmp_path: Path, make: Make) -> None:
    """When neither disk nor memory has room, the newest are dropped and counted, and calls stay quick."""
    client = make(
        url=f"http://127.0.0.1:{free_port()}",
        spool=tmp_path / "spool",
        spool_bytes=20_000,
        queue_size=200,
    )
    for number in range(3_000):
        client.thumb(f"p-{number}", "up")
        if number % 100 == 0:
            time.sleep(0.01)
    until(lambda: client.stats()["spooled"] > 20)
    stats = client.stats()
    assert stats["dropped"] > 0
    assert stats["dropped"] + stats["queued"] + stats["spooled"] == 3_000
    assert sum(path.stat().st_size for path in files(tmp_path / "spool")) <= 20_000 + 38


def test_a_spool_that_cannot_be_used_now_is_logged_or_raised(
    server: FakeServer,
    tmp_path: Path,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A product on a disk that fails still starts and sends, unless it asked to be told."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "mkdir", fail)
    client = make(spool=tmp_path / "spool")
    assert "going on without a spool" in caplog.text
    client.thumb("p-1", "up")
    assert client.flush(5)
    with pytest.raises(SpoolUnavailable, match="Read-only"):
        make(spool=tmp_path / "spool", strict=True)


PRODUCT = """
import sys, time
from loopline import Client

client = Client(sys.argv[1], "/test/product", spool=sys.argv[2], linger=0.001)
for number in range(int(sys.argv[3])):
    print(client.thumb(f"p-{number}", "up"))
while client.stats()["queued"]:
    time.sleep(0.01)
sys.stdout.flush()
if sys.argv[4] == "sleep":
    print("spooled", flush=True)
    time.sleep(60)
"""


def product(url: str, spool: Path, count: int, end: str) -> subprocess.Popen[str]:
    """A product in a process of its own, that speaks and then waits or ends."""
    return subprocess.Popen(
        [sys.executable, "-c", PRODUCT, url, str(spool), str(count), end],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_killed_process_loses_nothing_that_was_spooled(tmp_path: Path, make: Make) -> None:
    """SIGKILL in an outage: the next process adopts the file and delivers every event once."""
    port = free_port()
    url, spool = f"http://127.0.0.1:{port}", tmp_path / "spool"
    with product(url, spool, 700, "sleep") as child:
        assert child.stdout is not None
        ids = [child.stdout.readline().strip() for _ in range(700)]
        assert child.stdout.readline() == "spooled\n"
        child.send_signal(signal.SIGKILL)
    assert files(spool)
    with serving(port) as back:
        heir = make(url=url, spool=spool)
        until(lambda: len(back.accepted) == 700)
        assert back.times_accepted == dict.fromkeys(ids, 1)
        heir.close()
    assert not files(spool)


def test_a_process_killed_while_it_sends_loses_nothing_that_was_spooled(tmp_path: Path, make: Make) -> None:
    """SIGKILL between answer and truncation repeats at most one batch, with the same ids."""
    port = free_port()
    url, spool = f"http://127.0.0.1:{port}", tmp_path / "spool"
    with product(url, spool, 1_200, "sleep") as child:
        assert child.stdout is not None
        ids = {child.stdout.readline().strip() for _ in range(1_200)}
        assert child.stdout.readline() == "spooled\n"
        with serving(port) as back:

            def kill(handler: moves.Handler, events: list[moves.Event]) -> None:
                back.take(events)
                child.send_signal(signal.SIGKILL)
                child.wait()
                handler.hang_up()

            back.script = [moves.accept, kill]
            until(lambda: child.poll() is not None, 40)
            earlier = dict(back.times_accepted)
    assert 0 < len(earlier) < 1_200
    with serving(port) as back:
        heir = make(url=url, spool=spool)
        until(lambda: set(earlier) | set(back.accepted) == ids)
        assert heir.flush(5)
        repeated = set(earlier) & set(back.accepted)
        assert len(repeated) <= queue.BATCH_ITEMS
        heir.close()


def test_a_process_that_simply_ends_delivers(server: FakeServer, tmp_path: Path) -> None:
    """Falling off the end of a script flushes, also when nobody called close()."""
    with product(server.url, tmp_path / "spool", 50, "end") as child:
        out, _ = child.communicate(timeout=20)
    assert child.returncode == 0
    assert set(server.accepted) == set(out.split())


def test_a_process_that_ends_in_an_outage_ends_in_time(tmp_path: Path) -> None:
    """Without server and spool, exit takes no longer than it may, and says what was lost."""
    code = (
        "from loopline import Client; from loopline.delivery import lifetime\n"
        "lifetime.EXIT_S = 0.5\n"
        f"client = Client('http://127.0.0.1:{free_port()}', '/test')\n"
        "for number in range(10): client.thumb('p-1', 'up')\n"
    )
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False
    )
    assert time.monotonic() - began < 6
    assert done.returncode == 0
    assert "10 events" in done.stderr
    assert "Traceback" not in done.stderr
