"""What a cluster's parts do by themselves, without brokers or a database: kept ends, places, watchers."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import pytest

from feedback.api.ends import Ends
from feedback.installation.cluster import Cluster, ViewsMissing
from feedback.processes import cluster_collector as collecting
from feedback.processes.cluster_worker import CANNOT_LISTEN, CannotListen, Views, Watcher
from feedback.server_client import address_of
from loopline.backoff import RetryPolicy
from streams.daemon_pool import DaemonPool, Unanswered
from streams.kafka.security import KafkaRefused
from streams.log.memory import MemoryLog
from streams.log.port import LogRefused, LogUnavailable
from tests.feedback.running import until


class Counting(MemoryLog):
    """A log that counts how often it is asked where it ends."""

    asked = 0

    def ends(self) -> dict[int, int]:
        """As the log says."""
        self.asked += 1
        return super().ends()


def test_ends_are_asked_for_once_in_a_while_and_keep_their_instant() -> None:
    """What is said of kept ends is said of the instant before they were read, never of a later one."""
    now = [1_000]
    log = Counting(1)
    ends = Ends(log, lambda: now[0], keep_ns=100, elapsed=lambda: now[0])
    asked = log.asked
    first = ends()
    assert first is not None
    log.append([(0, b"block")])
    now[0] += 99
    assert ends() == first
    assert first.at == 1_000
    now[0] += 1
    second = ends()
    assert second is not None
    assert (second.at, second.ends[0]) == (1_100, 1)
    assert log.asked - asked == 2


def test_without_keeping_every_answer_is_new() -> None:
    """The embedded log is asked each time."""
    log = Counting(1)
    ends = Ends(log, lambda: 1)
    asked = log.asked
    ends()
    ends()
    assert log.asked - asked == 2


@pytest.mark.parametrize(
    "host,port,address",
    [
        ("127.0.0.1", 8710, "http://127.0.0.1:8710"),
        ("0.0.0.0", 80, "http://127.0.0.1:80"),
        ("::", 80, "http://[::1]:80"),
        ("collector-1", 8710, "http://collector-1:8710"),
    ],
)
def test_a_server_that_listens_everywhere_is_reached_here(host: str, port: int, address: str) -> None:
    """The address at which this machine reaches it."""
    assert address_of(host, port) == address


def test_a_cluster_has_a_name_without_a_password_and_variables_with_it(tmp_path: Path) -> None:
    """People are shown the one; processes are handed the other, by their environment."""
    cluster = Cluster("kafka://a:9092/p", "postgresql://u:s3cret@h/d", tmp_path)
    assert cluster.name == "kafka://a:9092/p and postgresql://u:***@h/d"
    assert cluster.variables() == {
        "LOOPLINE_LOG": "kafka://a:9092/p",
        "LOOPLINE_STORE": "postgresql://u:s3cret@h/d",
        "LOOPLINE_DATASETS": str(tmp_path),
    }


def test_work_aside_leaves_nothing(tmp_path: Path) -> None:
    """The scratch folder goes with the context, also when it fails."""
    cluster = Cluster("kafka://a:9092", "postgresql://h/d", tmp_path)
    folders = []

    def fail() -> None:
        with cluster.scratch() as folder:
            (folder / "views.sqlite").touch()
            folders.append(folder)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not folders[0].exists()


def watcher(code: str, python: str = sys.executable, **how: Any) -> Watcher:
    """A watcher over a process that runs this code instead of a worker."""
    return Watcher({"TEST_PASSES": "on"}, "127.0.0.1", 1, "error", process=[python, "-c", code], **how)


def watched(over: Watcher, until: Callable[[], Any]) -> None:
    """Watch until something holds, then stop."""
    stop = threading.Event()
    thread = threading.Thread(target=over.run, args=(stop,))
    thread.start()
    deadline = time.monotonic() + 20
    while not until() and time.monotonic() < deadline:
        time.sleep(0.02)
    stop.set()
    thread.join(20)
    assert not thread.is_alive()
    assert until()


def test_a_worker_that_ends_is_started_again(tmp_path: Path) -> None:
    """Whatever its status; with the cluster in its environment."""
    starts = tmp_path / "starts"
    code = (
        f"import os, sys; open({str(starts)!r}, 'a').write(os.environ['TEST_PASSES']);"
        f" sys.exit({{2: 1}}.get(os.stat({str(starts)!r}).st_size, 64))"
    )
    watched(watcher(code), lambda: starts.exists() and len(starts.read_text()) >= 6)


def test_a_worker_that_cannot_be_started_is_tried_again(tmp_path: Path) -> None:
    """What the machine does not let start now it may let start later: the watcher goes on."""
    python, ran, tries = tmp_path / "python", tmp_path / "ran", []

    def until() -> bool:
        tries.append(1)
        if len(tries) == 20 and not python.is_symlink():
            python.symlink_to(sys.executable)
        return ran.exists()

    watched(watcher(f"import pathlib; pathlib.Path({str(ran)!r}).touch()", str(python)), until)
    assert len(tries) > 20


def test_a_worker_is_told_to_end_and_waited_for(tmp_path: Path) -> None:
    """SIGTERM, and what it does then is done before the watcher returns."""
    began, ended = tmp_path / "began", tmp_path / "ended"
    code = (
        "import signal, time, pathlib\n"
        f"def end(*_): time.sleep(0.2); pathlib.Path({str(ended)!r}).touch(); raise SystemExit\n"
        f"signal.signal(signal.SIGTERM, end); pathlib.Path({str(began)!r}).touch(); time.sleep(60)"
    )
    watched(watcher(code), began.exists)
    assert ended.exists()


def test_a_worker_that_does_not_answer_is_ended_and_started_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is there, and nobody answers for it."""
    monkeypatch.setenv("LOOPLINE_HANG_AFTER", "0.3")
    starts = tmp_path / "starts"
    code = f"import time; open({str(starts)!r}, 'a').write('x'); time.sleep(60)"
    watched(watcher(code, first_sign_s=0.6), lambda: starts.exists() and len(starts.read_text()) >= 3)


def test_a_port_that_is_taken_is_told_and_not_tried_again() -> None:
    """Another start would not mend it."""
    with pytest.raises(CannotListen, match="another --port"):
        watcher(f"raise SystemExit({CANNOT_LISTEN})").run(threading.Event())


def test_an_intake_is_started_again_after_any_failure() -> None:
    """Whatever keeps the intake from starting, it is tried again: nobody would hear of a task that ended."""
    tries: list[int] = []

    class Failing:
        async def start(self) -> None:
            tries.append(1)
            if len(tries) < 3:
                raise TimeoutError

    asyncio.run(collecting._until_it_starts(cast(Any, Failing()), RetryPolicy(0.01, 1.0)))
    assert len(tries) == 3


def test_a_cluster_is_closed_while_a_thread_hangs_on_its_database() -> None:
    """Whoever ends does not wait for a database that does not answer another thread."""
    asked, over = threading.Event(), threading.Event()

    class Hanging:
        def current(self, _: int) -> None:
            asked.set()
            over.wait(10)

    class Stuck(Cluster):
        @property
        def stores(self) -> Any:
            """A catalogue of a database that does not answer."""
            return Hanging()

    place = Stuck("kafka://127.0.0.1:9092", "postgresql://127.0.0.1/none", "nowhere", close_s=0.05)

    def look() -> None:
        with contextlib.suppress(ViewsMissing):
            place.current_store()

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert asked.wait(10)
        began = time.monotonic()
        place.close()
        assert time.monotonic() - began < 5
    finally:
        over.set()
        thread.join()


def test_readers_that_hang_do_not_keep_a_process() -> None:
    """A process ends although a call on one of the threads does not; what was answered is answered."""
    program = """
import threading
from streams.daemon_pool import DaemonPool, Unanswered
readers = DaemonPool(2, "reader")
readers.submit(threading.Event().wait)
assert readers.submit(sum, [1, 2]).result(10) == 3
assert isinstance(readers.submit(int, "x").exception(10), ValueError)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=20)


def test_readers_end_with_whoever_had_them() -> None:
    """Threads are there from the first call on, and until the last one of a pool that is let go of."""
    readers = DaemonPool(2, "let go of")
    assert readers.submit(sum, [1, 2]).result(10) == 3
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("let go of")]
    assert len(threads) == 2
    del readers
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()


def test_readers_that_all_hang_refuse_at_once() -> None:
    """Nobody waits behind calls that nobody waits for any more; when they are over all is as before."""
    over = threading.Event()
    readers = DaemonPool(2, "hung", "the shelf", patience_s=0.1)
    hung = [readers.submit(over.wait) for _ in range(2)]
    with pytest.raises(Unanswered, match=r"the shelf did not answer within 0\.2 s"):
        readers.result(int, 0.2)
    took = []
    for _ in range(5):
        began = time.monotonic()
        with pytest.raises(Unanswered, match=r"the shelf did not answer within 0\.1 s"):
            readers.submit(int)
        took.append(time.monotonic() - began)
    # Who waits takes 0.1 s each time; a busy machine takes as long once in a while.
    assert median(took) < 0.1
    over.set()
    assert [call.result(10) for call in hung] == [True, True]
    until(lambda: not readers.hangs(), "the threads to come back")
    assert readers.result(int, 10) == 0


def test_readers_bound_who_waits() -> None:
    """More calls than may wait are refused, and what was given up is not run later."""
    over = threading.Event()
    ran: list[str] = []
    readers = DaemonPool(1, "bound", patience_s=60, max_pending=2)
    first = readers.submit(over.wait)
    until(first.running, "the first call to run")
    given_up = readers.submit(ran.append, "given up")
    assert given_up.cancel()
    kept = readers.submit(ran.append, "kept")
    with pytest.raises(Unanswered, match="too many ask bound at once"):
        readers.submit(ran.append, "too many")
    over.set()
    kept.result(10)
    assert ran == ["kept"]


def test_a_sealed_collector_waits_for_the_next_epoch_whatever_is_refused_meanwhile() -> None:
    """A right that is missing for a while, or brokers that are away: it ends once there is a next one."""
    says: list[Exception | int] = [1, KafkaRefused("no right"), LogUnavailable("away"), LogRefused("gone"), 2]

    class Sealed:
        identity = SimpleNamespace(epoch=1)

        def ends(self) -> None:
            said = says.pop(0)
            if isinstance(said, Exception):
                raise said
            self.identity = SimpleNamespace(epoch=said)

    log: Any = Sealed()
    appender: Any = SimpleNamespace(sealed=True, ended="sealed")
    watching = collecting.until_over(log, log.identity, appender, look_s=0.01)
    asyncio.run(asyncio.wait_for(watching, 5))
    assert says == []


@pytest.mark.parametrize("refusal", [KafkaRefused("no right"), LogRefused("an epoch is gone")])
def test_a_worker_goes_on_when_the_log_that_refused_it_takes_it_again(refusal: LogRefused) -> None:
    """Also the one that it had open: no other store has to come for that."""
    says: list[Exception | None] = [refusal, refusal, None]
    closed: list[int] = []

    class Log:
        def ends(self) -> None:
            if (said := says.pop(0)) is not None:
                raise said

        def close(self) -> None:
            closed.append(1)

    views = Views(cast(Any, SimpleNamespace(open_log=Log)), refused_look_s=0.01)
    views.open_log(cast(Any, None))
    views.mended(refusal, threading.Event())
    assert (says, len(closed)) == ([], 3)
