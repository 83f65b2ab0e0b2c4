"""How processes end: what a call returned is at the server or on disk, whatever ended the process."""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loopline.delivery import spool as spools
from loopline.delivery.segments import fdatasync
from tests.clients.conftest import QUICK, Make
from tests.clients.delivery.test_spooling import until
from tests.services import fake_server as moves
from tests.services.fake_server import FakeServer
from tests.services.ports import free_port

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

SPEAKING = """
import os, signal, sys
from loopline import Client

# Who runs the tests may have had them ignore it (nohup).
signal.signal(signal.SIGHUP, signal.SIG_DFL)

client = Client(sys.argv[1], "/test/product", spool=sys.argv[2], spool_sync=sys.argv[3], linger=0.001)
for number in range(100_000):
    os.write(1, client.thumb(f"p-{number}", "up").encode() + b"\\n")
"""


def killed_after(count: int, url: str, spool: Path, sync: str, end: int) -> set[str]:
    """The ids that calls returned in a process that is ended after at least so many of them."""
    with subprocess.Popen(
        [sys.executable, "-c", SPEAKING, url, str(spool), sync], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        ids = [child.stdout.readline() for _ in range(count)]
        child.send_signal(end)
        ids += child.stdout.read().splitlines(keepends=True)
    assert child.returncode == -end
    return {line.decode().strip() for line in ids if line.endswith(b"\n")}


@pytest.mark.parametrize("sync", ["soon", "call"])
def test_a_killed_process_loses_no_call_that_returned(
    server: FakeServer, make: Make, tmp_path: Path, sync: str
) -> None:
    """After any number of calls, with a server that is slow, away or quick: the next process delivers all."""
    chance = random.Random(7)
    spool = tmp_path / "spool"

    def slow(handler: moves.Handler, events: list[moves.Event]) -> None:
        server.released.wait(0.02)
        moves.accept(handler, events)

    server.otherwise = slow
    away = f"http://127.0.0.1:{free_port()}"
    ids: set[str] = set()
    ends = [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGKILL]
    for end in ends:
        url = chance.choice([server.url, server.url, away])
        ids |= killed_after(chance.choice([1, 3, 40, 400]), url, spool, sync, end)
    assert make(spool=spool).flush(20)
    # A call that was under way when the process died may have written its event, and not returned.
    assert ids <= set(server.accepted)
    assert len(set(server.accepted) - ids) <= len(ends)
    assert not [path for path in spool.iterdir() if path.stat().st_size > 100]


def test_a_call_that_syncs_returns_when_the_disk_has_its_event(
    server: FakeServer, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file, and the name of a new one, is synced between write and return; `soon` waits for neither."""
    told: list[str] = []
    sync, write = fdatasync, os.pwrite

    def note(descriptor: int) -> None:
        told.append("synced")
        sync(descriptor)

    def note_write(descriptor: int, content: bytes, offset: int) -> int:
        if b"thumb" in content:
            told.append("written")
        return write(descriptor, content, offset)

    monkeypatch.setattr(spools, "fdatasync", note)
    monkeypatch.setattr(os, "pwrite", note_write)
    monkeypatch.setattr(spools, "sync_folder", lambda folder: told.append("named"))
    server.otherwise = moves.silence
    client = make(spool=tmp_path / "call", spool_sync="call")
    client.thumb("p-1", "up")
    told.append("returned")
    client.thumb("p-1", "up")
    told.append("returned")
    assert told == ["written", "synced", "named", "returned", "written", "synced", "returned"]
    told.clear()
    make(spool=tmp_path / "soon", spool_sync="soon").thumb("p-1", "up")
    assert told == ["written"]


def test_what_was_written_soon_is_synced_within_seconds(
    server: FakeServer, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a server hangs, the disk is asked to keep what waits; nobody's call waits for that."""
    synced = threading.Event()
    monkeypatch.setattr(spools, "fdatasync", lambda descriptor: synced.set())
    server.otherwise = moves.silence
    make(spool=tmp_path / "spool", pauses=QUICK._replace(sync=0.05)).thumb("p-1", "up")
    assert synced.wait(10)


def test_a_signal_handler_may_speak_in_the_middle_of_a_call(
    server: FakeServer, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A handler that interrupts a write to the spool neither hangs nor tears it: both events arrive."""
    client = make(spool=tmp_path / "spool")
    before = client.thumb("p-0", "up")
    write = os.pwrite
    inner: list[str] = []

    def interrupted(descriptor: int, content: bytes, offset: int) -> int:
        if b"p-outer" in content and not inner:
            inner.append(client.thumb("p-inner", "up"))
        return write(descriptor, content, offset)

    monkeypatch.setattr(os, "pwrite", interrupted)
    outer = client.thumb("p-outer", "up")
    assert client.flush(5)
    assert server.times_accepted == {before: 1, outer: 1, inner[0]: 1}
    assert client.stats()["torn"] == 0


def test_a_log_handler_may_speak_about_a_full_spool(make: Make, tmp_path: Path) -> None:
    """What is wrong with the disk is logged with no lock held: whoever needs the lock meanwhile gets it."""
    client = make(url=f"http://127.0.0.1:{free_port()}", spool=tmp_path / "spool", spool_bytes=1_024)
    free: list[bool] = []

    def speak() -> None:
        client.thumb("p-meanwhile", "up")

    class Speaking(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is full" in record.getMessage() and not free:
                thread = threading.Thread(target=speak, daemon=True)
                thread.start()
                thread.join(5)
                free.append(not thread.is_alive())

    handler = Speaking()
    logging.getLogger("loopline").addHandler(handler)
    try:
        for number in range(30):
            client.thumb(f"p-{number}", "up")
        # Another of the client's threads may be the one that says it.
        until(lambda: free)
    finally:
        logging.getLogger("loopline").removeHandler(handler)
    assert free == [True]
    assert client.stats()["spooled"] + client.stats()["queued"] == 31


POOL = """
import multiprocessing, sys
from loopline import Client

client = Client(sys.argv[1], "/test", spool=sys.argv[3] if len(sys.argv) > 3 else None)

def work(number):
    return client.thumb(f"p-{number}", "up")

if __name__ == "__main__":
    context = multiprocessing.get_context("fork")
    if sys.argv[2] == "block":
        with context.Pool(2) as pool:
            print(*pool.map(work, range(20)))
    else:
        pool = context.Pool(2)
        print(*pool.map(work, range(20)))
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("end, spooled", [("join", False), ("join", True), ("block", True)])
def test_a_pool_of_processes_delivers(server: FakeServer, tmp_path: Path, end: str, spooled: bool) -> None:
    """Children that end in order send what they had; what SIGTERM left in their files their parent sends."""
    words = [server.url, end, *([str(tmp_path / "spool")] if spooled else [])]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", POOL, *words],
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert set(server.accepted) == set(done.stdout.split())
    if spooled:
        assert os.listdir(tmp_path / "spool") == []


def test_a_child_of_a_fork_that_ends_hard_leaves_its_file_to_its_parent(
    server: FakeServer, make: Make, tmp_path: Path
) -> None:
    """os._exit in a child loses nothing: the parent's next flush finds the child's file and sends it."""
    client = make(spool=tmp_path / "spool")
    client.thumb("p-parent", "up")
    assert client.flush(5)
    server.otherwise = moves.silence
    child = os.fork()
    if child == 0:
        client.thumb("p-child", "up")
        os._exit(0)
    os.waitpid(child, 0)
    server.otherwise = moves.accept
    server.released.set()
    assert client.flush(5)
    said = sorted(event["data"]["prediction_id"] for event in server.accepted.values())
    assert said == ["p-child", "p-parent"]


CELERY = """
import os, sys, types

class Signal:
    # As Celery's: receivers by keyword, one for each dispatch_uid.
    def __init__(self):
        self.receivers = {}
    def connect(self, receiver, *, weak, dispatch_uid):
        assert not weak
        self.receivers[dispatch_uid] = receiver

shutdown = Signal()
sys.modules["celery.signals"] = types.SimpleNamespace(worker_process_shutdown=shutdown)
from loopline import Client

client = Client(sys.argv[1], "/test", linger=5.0)
print(*(client.thumb(f"p-{number}", "up") for number in range(3)), flush=True)
[receiver] = shutdown.receivers.values()
receiver(sender=None, pid=1, exitcode=0, signal="x")
os._exit(0)
"""


def test_celery_s_end_of_a_worker_is_heard_where_celery_is_loaded(server: FakeServer) -> None:
    """Its children end with os._exit after a signal of Celery's: that is when the client delivers."""
    done = subprocess.run(
        [sys.executable, "-c", CELERY, server.url], capture_output=True, text=True, check=True, timeout=20
    )
    sent = done.stdout.split()
    assert len(sent) == 3
    assert set(server.accepted) == set(sent)


def test_no_signal_of_the_product_s_is_touched(server: FakeServer, make: Make, tmp_path: Path) -> None:
    """Making and using a client changes no handler: who ends the process decides how."""
    signals = [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM, signal.SIGCHLD]
    before = [signal.getsignal(each) for each in signals]
    client = make(spool=tmp_path / "spool")
    client.thumb("p-1", "up")
    assert client.flush(5)
    assert [signal.getsignal(each) for each in signals] == before
