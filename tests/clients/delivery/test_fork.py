"""A forked child speaks for itself: it does not send its parent's events, and nothing of either is lost."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from loopline import Client
from loopline.ids import uuid7
from tests.clients.conftest import Make
from tests.services import fake_server as moves
from tests.services.fake_server import FakeServer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")


def in_child(work: Callable[[], str]) -> str:
    """What a function says when a forked child runs it."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with warnings.catch_warnings():
            # Python 3.12 warns of any fork with threads; that one is what is tested here.
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            try:
                theirs.sendall(work().encode())
            except BaseException as error:
                theirs.sendall(repr(error).encode())
            finally:
                os._exit(0)
        theirs.close()
        said = b""
        while piece := ours.recv(4096):
            said += piece
        os.waitpid(child, 0)
    return said.decode()


def test_a_child_sends_its_own_events_and_not_its_parent_s(server: FakeServer, make: Make) -> None:
    """Events queued before the fork are the parent's to send, once; the child starts its own sender."""
    client = make(linger=0.3)
    before = [client.thumb("p-1", "up") for _ in range(5)]

    def work() -> str:
        first = client.stats()
        sent = client.thumb("p-child", "up")
        return f"{sent} {client.flush(5)} {first['queued']} {client.stats()['accepted']}"

    sent, flushed, queued, accepted = in_child(work).split()
    assert (flushed, queued, accepted) == ("True", "0", "1")
    after = client.thumb("p-1", "down")
    assert client.flush(5)
    assert server.times_accepted == dict.fromkeys([*before, sent, after], 1)
    assert client.stats()["accepted"] == 6


def test_a_fork_in_the_middle_of_a_request_disturbs_nobody(server: FakeServer, make: Make) -> None:
    """The parent's request under way is finished by the parent; the child's connection is another one."""

    def slow(handler: moves.Handler, events: list[moves.Event]) -> None:
        time.sleep(0.3)
        moves.accept(handler, events)

    server.script = [slow]
    client = make()
    before = client.thumb("p-1", "up")
    while not server.requests:
        time.sleep(0.005)
    sent = in_child(lambda: f"{client.thumb('p-child', 'up')} {client.flush(5)}").split()[0]
    assert client.flush(5)
    assert server.times_accepted == {before: 1, sent: 1}
    assert server.connections_made == 2


def test_a_child_opens_a_connection_of_its_own(server: FakeServer, make: Make) -> None:
    """An idle connection stays the parent's: two processes on one would mix their requests."""
    client = make()
    client.thumb("p-1", "up")
    assert client.flush(5)
    assert in_child(lambda: f"{client.thumb('p-child', 'up') != ''} {client.flush(5)}") == "True True"
    client.thumb("p-1", "down")
    assert client.flush(5)
    assert len(server.accepted) == 3
    assert server.connections_made == 2


def test_a_fork_while_other_threads_hold_the_locks_does_not_hang_the_child(
    server: FakeServer, make: Make
) -> None:
    """Locks that nobody in the child could ever release are made anew there."""
    client = make()
    client.thumb("p-1", "up")
    assert client.flush(5)
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with uuid7._lock, client._queue.lock:
            held.set()
            release.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(5)

    def work() -> str:
        signal.alarm(5)
        return f"{client.thumb('p-child', 'up') != ''} {client.flush(3)}"

    try:
        assert in_child(work) == "True True"
    finally:
        release.set()
        thread.join()


def test_a_child_mints_ids_of_its_own() -> None:
    """Parent and child never count up from the same random tail."""
    uuid7()
    theirs = set(in_child(lambda: " ".join(uuid7() for _ in range(50))).split())
    ours = {uuid7() for _ in range(50)}
    assert len(theirs) == 50
    assert not ours & theirs


def test_a_child_leaves_the_parent_s_spool_alone(tmp_path: Path, make: Make) -> None:
    """Spooled events are locked by the parent also after the fork; the child writes a file of its own."""
    spool = tmp_path / "spool"
    client = make(url="http://127.0.0.1:9", spool=spool)
    for _ in range(20):
        client.thumb("p-1", "up")
    deadline = time.monotonic() + 5
    while client.stats()["spooled"] < 20:
        assert time.monotonic() < deadline
        time.sleep(0.005)

    def work() -> str:
        for _ in range(3):
            client.thumb("p-child", "up")
        deadline = time.monotonic() + 5
        while client.stats()["queued"] and time.monotonic() < deadline:
            time.sleep(0.005)
        return str(client.stats()["spooled"])

    assert in_child(work) == "3"
    assert client.stats()["spooled"] == 20
    other = Client("http://127.0.0.1:9", "/other", spool=spool)
    deadline = time.monotonic() + 5
    while other.stats()["spooled"] < 3:
        assert time.monotonic() < deadline, "what the dead child left was not adopted"
        time.sleep(0.005)
    assert other.stats()["spooled"] == 3
    other.close(0)


def test_a_worker_of_a_process_pool_delivers_before_it_ends(server: FakeServer) -> None:
    """A multiprocessing child that simply returns still flushes, though it skips the interpreter's exit."""
    code = (
        "import multiprocessing, sys\n"
        "from loopline import Client\n"
        "client = Client(sys.argv[1], '/test')\n"
        "client.thumb('p-parent', 'up')\n"
        "def work():\n"
        "    client.thumb('p-child', 'up')\n"
        "if __name__ == '__main__':\n"
        "    child = multiprocessing.get_context('fork').Process(target=work)\n"
        "    child.start()\n"
        "    child.join()\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, server.url], check=True, timeout=20)
    said = sorted(event["data"]["prediction_id"] for event in server.accepted.values())
    assert said == ["p-child", "p-parent"]
