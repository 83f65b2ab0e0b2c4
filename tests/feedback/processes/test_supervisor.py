"""A server as real processes: started, killed, refused, ended; nothing acknowledged is lost."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest

from feedback.installation.home import Home, HomeRefused
from feedback.processes.supervisor import listen
from feedback.server_client import address_of
from tests.feedback.running import (
    PATIENCE_S,
    Running,
    event,
    gone,
    lines,
    loopline,
    prediction,
    server_on,
    told,
    until,
)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One server for those that leave it as it was.

    It is run where a product has folders of the same names as ours: they must not be taken for ours.
    """
    product = tmp_path_factory.mktemp("product")
    for name in ("models", "streams", "schemas", "feedback"):
        (product / name).mkdir()
        (product / name / "__init__.py").write_text("raise SystemExit('not ours')\n")
    with server_on(product / "home", "--partitions", 2, cwd=product) as running:
        yield running


def test_commands_find_the_server_of_their_home(shared: Running) -> None:
    """By the home or by its address; what is sent is read back."""
    said = told("--home", shared.home.path, "send", "-", stdin=lines(prediction(1)))
    assert said["accepted"] == 1
    assert told("--url", shared.url, "send", "-", stdin=lines(prediction(1)))["accepted"] == 1
    status, found = shared.get(f"/v1/predictions/p-1?after={said['position']}")
    assert (status, found["prediction"]["prediction_id"]) == (200, "p-1")
    assert shared.get("/readyz")[1]["worker"] == "running"


def test_a_second_server_is_refused_with_the_reason(shared: Running) -> None:
    """Exit status 1; it says which process holds the home, and where it serves."""
    second = Running(shared.home.path)
    status, out, err = second.end(0)
    assert (status, out) == (1, "")
    assert f"held by process {shared.process.pid} (serves at {shared.url})" in err
    assert shared.get("/healthz")[0] == 200


def test_a_busy_port_is_told(shared: Running, tmp_path: Path) -> None:
    """Exit status 1, and another port is offered; the home is free again."""
    port = shared.url.rpartition(":")[2]
    status, _, err = Running(tmp_path / "other", "--port", port).end(0)
    assert status == 1
    assert "--port 0" in err
    Home(tmp_path / "other").lock("test").release()


def test_verify_replay_and_backup_work_beside_it(shared: Running, tmp_path: Path) -> None:
    """On one state of a live server; after a replay the worker goes on with the new views."""
    home = ["--home", shared.home.path]
    told(*home, "send", "-", stdin=lines(*(prediction(number) for number in range(10, 60))))
    assert told(*home, "verify")["identical"] is True
    before = shared.home.current_path()
    assert told(*home, "replay")["store"] != (before and before.name)
    said = told(*home, "send", "-", stdin=lines(prediction(99)))
    assert shared.get(f"/v1/predictions/p-99?after={said['position']}")[0] == 200
    assert told(*home, "verify")["identical"] is True
    told(*home, "backup", tmp_path / "copy")
    told("--home", tmp_path / "there", "restore", tmp_path / "copy")
    assert told("--home", tmp_path / "there", "verify")["identical"] is True
    refused = loopline(*home, "restore", tmp_path / "copy")
    assert refused.exit_code == 1
    assert "serves at" in refused.stderr


def test_doctor_finds_it_well(shared: Running) -> None:
    """The server is ready, the worker runs."""
    findings = {each["subject"]: each for each in told("--home", shared.home.path, "doctor")["findings"]}
    assert findings["server"]["state"] == findings["worker"]["state"] == "ok"
    assert shared.url in findings["server"]["said"]


def _held(pid: int) -> tuple[int, int]:
    """How many descriptors and threads a process has."""
    return len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task"))


def test_looking_leaves_nothing_open(shared: Running) -> None:
    """Thousands of looks, ten at a time: no more is open than the few threads of a server can use at once."""
    paths = ("/readyz", "/metrics", "/healthz", "/v1/counts", "/v1/waiting", "/v1/datasets")

    def look(times: int) -> None:
        with ThreadPoolExecutor(10) as pool:
            assert {each[0] for each in pool.map(shared.fetch, paths * times)} == {200}

    look(20)
    processes = [shared.process.pid, *shared.children()]
    before = [_held(pid) for pid in processes]
    look(350)

    def settled() -> bool:
        return all(now[0] <= was[0] + 25 for now, was in zip(map(_held, processes), before, strict=True))

    assert until(settled, "the last connections to be closed")
    assert [_held(pid)[1] for pid in processes] == [threads for _, threads in before]


def test_a_worker_that_dies_is_started_again(shared: Running) -> None:
    """What was accepted meanwhile becomes visible."""
    _, worker = shared.children()
    os.kill(worker, signal.SIGKILL)
    said = told("--home", shared.home.path, "send", "-", stdin=lines(prediction(777)))
    assert until(lambda: shared.children()[1] not in (worker, shared.process.pid), "another worker")
    until(lambda: shared.get("/v1/predictions/p-777")[0] == 200, "the prediction to be seen")
    assert said["accepted"] == 1
    assert told("--home", shared.home.path, "verify")["identical"] is True


def complaints(err: str) -> list[str]:
    """What a server said beside the lines that tell of its course."""
    return [line for line in err.splitlines() if "[info     ]" not in line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    """Exit status 0, no process left, the views caught up, the home free, what to do next was printed."""
    running = Running(tmp_path / "home").ready()
    url = running.url
    told("--home", tmp_path / "home", "send", "-", stdin=lines(*(prediction(each) for each in range(200))))
    children = running.children()
    status, out, err = running.end(number)
    assert (status, complaints(err)) == (0, [])
    assert url in out
    assert "curl -s" in out
    assert all(map(gone, children))
    assert running.home.server() is None
    assert running.home.worker_state().state == "stopped"
    findings = {each["subject"]: each for each in told("--home", tmp_path / "home", "doctor")["findings"]}
    assert findings["worker"]["said"] == "not running, 0 blocks behind"


def test_told_to_end_together_they_end_cleanly(tmp_path: Path) -> None:
    """A service manager tells every process of a service at once: still exit status 0, and all is kept."""
    running = Running(tmp_path / "home").ready()
    told("--home", tmp_path / "home", "send", "-", stdin=lines(prediction(1)))
    children = running.children()
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    status, _, err = running.end(signal.SIGTERM)
    assert (status, complaints(err)) == (0, [])
    assert all(map(gone, children))
    assert told("--home", tmp_path / "home", "verify")["events"] == 1


def _other_collector(running: Running, than: int) -> int:
    """The process of the collector that came after one."""

    def other() -> int:
        server = running.home.server()
        return server.collector if server is not None and server.collector != than else 0

    return int(until(other, "another collector"))


def test_a_collector_that_dies_is_started_again_on_the_same_port(tmp_path: Path) -> None:
    """Nobody is refused meanwhile: who connects waits for the next one. What was acknowledged is there."""
    with server_on(tmp_path / "home") as running:
        url, (first, worker) = running.url, running.children()
        told("--home", tmp_path / "home", "send", "-", stdin=lines(prediction(1)))
        os.kill(first, signal.SIGSTOP)
        os.kill(first, signal.SIGKILL)
        until(lambda: gone(first), "the collector to be gone")
        assert running.get("/v1/predictions/p-1")[0] == 200
        assert running.url == url
        assert running.children() == (_other_collector(running, first), worker)
        told("--home", tmp_path / "home", "send", "-", stdin=lines(prediction(2)))
        status, _, err = running.end()
    assert status == 0
    assert "the collector ended" in err
    assert "starts_again_in_s=0.1" in err
    assert told("--home", tmp_path / "home", "verify")["events"] == 2


def test_a_collector_that_ends_again_and_again_ends_the_server(tmp_path: Path) -> None:
    """Not with 0; it says how often, and what to do; no process is left, and the home is free."""
    running = Running(tmp_path / "home").ready()
    children = running.children()
    log = tmp_path / "home" / "log.sqlite"
    log.rename(tmp_path / "kept")
    os.kill(children[0], signal.SIGKILL)
    until(lambda: running.process.poll() is not None, "the server to end")
    status, _, err = running.end(0)
    assert status == 1
    assert "the collector ended 5 times in a row" in err
    assert err.count("starts_again_in_s") == 4
    assert all(map(gone, children))
    assert running.home.server() is None
    (tmp_path / "kept").rename(log)
    assert told("--home", tmp_path / "home", "verify")["identical"] is True


def _stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)


def _take_descriptors(pid: int) -> None:
    """It keeps what it has open, and may open nothing more."""
    _leave_descriptors(pid, 3)


def _leave_descriptors(pid: int, number: int) -> None:
    _, most = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (number, most))


@pytest.mark.parametrize("how", [_stop, _take_descriptors])
def test_a_collector_that_cannot_answer_is_ended_and_started_again(
    tmp_path: Path, how: Callable[[int], None]
) -> None:
    """It was stopped, or has no descriptors left: it is there, and nobody hears of it."""
    with server_on(tmp_path / "home", LOOPLINE_HANG_AFTER="2") as running:
        first, _ = running.children()
        how(first)
        _other_collector(running, first)
        assert gone(first)
        assert running.get("/healthz")[0] == 200
        _, _, err = running.end()
    assert "the collector gives no sign of life and is killed" in err


def test_a_worker_that_stands_still_is_ended_and_started_again(tmp_path: Path) -> None:
    """It was stopped, and tells of no turn of its work; one with nothing to do is left alone."""
    with server_on(tmp_path / "home", LOOPLINE_HANG_AFTER="2") as running:
        collector, first = running.children()
        time.sleep(4)
        assert running.children() == (collector, first)
        _stop(first)
        told("--home", tmp_path / "home", "send", "-", stdin=lines(prediction(1)))
        until(lambda: running.get("/v1/predictions/p-1")[0] == 200, "the prediction to be seen")
        assert gone(first)
        assert running.children()[0] == collector
        _, _, err = running.end()
    assert "the worker gives no sign of life and is killed" in err


def test_a_machine_that_lets_nothing_start_for_a_while_ends_no_server(tmp_path: Path) -> None:
    """Both have died, and their successors cannot be started: that is tried until it goes, and said."""
    with server_on(tmp_path / "home") as running:
        before = running.children()
        _take_descriptors(running.process.pid)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert running.process.stderr is not None
        said = {"collector": 0, "worker": 0}
        # More often than a collector may end in a row.
        while min(said.values()) < 6:
            line = running.process.stderr.readline()
            assert line, "the server ended"
            for name in said:
                said[name] += f"the {name} cannot be started" in line
        _leave_descriptors(running.process.pid, 1024)
        _other_collector(running, before[0])
        told("--home", tmp_path / "home", "send", "-", stdin=lines(prediction(1)))
        until(lambda: running.get("/v1/predictions/p-1")[0] == 200, "the prediction to be seen")
        assert running.children()[1] != before[1]
        status, _, _ = running.end()
    assert status == 0
    assert told("--home", tmp_path / "home", "verify")["events"] == 1


@pytest.mark.parametrize("damage", [b"", b"views-1", b"\xff\xfe\x00"])
def test_a_damaged_pointer_stops_the_worker_but_not_the_collector(tmp_path: Path, damage: bytes) -> None:
    """Events are still taken, /readyz says what to do; done that, the views are there again."""
    with server_on(tmp_path / "home") as running:
        _, worker = running.children()
        pointer = tmp_path / "home" / "store" / "CURRENT"
        pointer.write_bytes(damage)
        os.kill(worker, signal.SIGKILL)
        until(lambda: running.home.worker_state().state == "refused", "the worker to refuse")
        assert "Remove it" in str(running.get("/readyz"))
        assert told("--home", tmp_path / "home", "send", "-", stdin=lines(prediction(1)))["accepted"] == 1
        pointer.unlink()
        until(lambda: running.get("/v1/predictions/p-1")[0] == 200, "the prediction to be seen")
        status, _, _ = running.end()
    assert status == 0


def test_a_closed_terminal_ends_nothing(tmp_path: Path) -> None:
    """SIGHUP to all of it, and nobody who reads what is logged: it goes on, and mends itself."""
    with server_on(tmp_path / "home") as running:
        children = running.children()
        for pid in (running.process.pid, *children):
            os.kill(pid, signal.SIGHUP)
        for stream in (running.process.stderr, running.process.stdout):
            assert stream is not None
            stream.close()
        os.kill(children[0], signal.SIGKILL)
        _other_collector(running, children[0])
        assert running.get("/readyz")[0] == 200
        assert running.children()[1] == children[1]
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(PATIENCE_S) == 0


@pytest.mark.parametrize("after_s", [0.2, 0.5, 0.8, 1.1, 1.4, 1.7])
def test_told_to_end_while_it_starts_it_leaves_nothing(tmp_path: Path, after_s: float) -> None:
    """At any instant: no process, no address, a free home."""
    running = Running(tmp_path / "home")
    time.sleep(after_s)
    status, _, err = running.end()
    assert status in (0, -signal.SIGTERM), err
    assert not (tmp_path / "home" / "server.json").exists()
    assert _of_home(tmp_path / "home") == []
    if (tmp_path / "home").exists():
        Home(tmp_path / "home").lock("test").release()


def _of_home(home: Path) -> list[int]:
    """The processes that were started for a home and are still there."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if str(home).encode() in entry.read_bytes():
                found.append(int(entry.parent.name))
    return found


def test_told_to_end_while_a_child_is_started_again_it_leaves_nothing(tmp_path: Path) -> None:
    """Both have just died: their successors end with it, or never come."""
    for after_s in (0.0, 0.3, 0.9):
        running = Running(tmp_path / "home").ready()
        for pid in running.children():
            os.kill(pid, signal.SIGKILL)
        time.sleep(after_s)
        status, _, err = running.end()
        assert status == 0, err
        assert _of_home(tmp_path / "home") == []
        assert not (tmp_path / "home" / "server.json").exists()
        Home(tmp_path / "home").lock("test").release()


def test_ended_it_leaves_no_write_ahead_log(tmp_path: Path) -> None:
    """Also when its processes were killed: the files can be copied as they lie."""
    running = Running(tmp_path / "home").ready()
    told("--home", tmp_path / "home", "send", "-", stdin=lines(*(prediction(each) for each in range(500))))
    for pid in running.children():
        os.kill(pid, signal.SIGKILL)
    running.end()
    assert [each for each in (tmp_path / "home").rglob("*-wal") if each.stat().st_size] == []


def test_killed_outright_it_leaves_no_process_and_a_free_home(tmp_path: Path) -> None:
    """Children end with their parent; the next server waits for them and starts."""
    running = Running(tmp_path / "home").ready()
    told("--home", tmp_path / "home", "send", "-", stdin=lines(prediction(1)))
    children = running.children()
    running.end(signal.SIGKILL)
    until(lambda: all(map(gone, children)), "the children to end")
    assert not (tmp_path / "home" / "server.json").exists()
    with server_on(tmp_path / "home") as again:
        assert again.get("/v1/predictions/p-1")[0] == 200
        assert told("--home", tmp_path / "home", "verify")["identical"] is True


def test_a_store_of_another_log_stops_the_worker_but_not_the_collector(tmp_path: Path) -> None:
    """Events are still taken; /readyz and doctor say why and what to do; a replay mends it at once."""
    for name in ("home", "other"):
        Home(tmp_path / name).create(1)
        loopline("--home", tmp_path / name, "send", "-", stdin=lines(prediction(1)))
    home, other = Home(tmp_path / "home"), Home(tmp_path / "other")
    theirs, mine = other.current_path(), home.current_path()
    assert theirs is not None
    assert mine is not None
    theirs.rename(mine)
    with server_on(home.path) as running:
        assert running.home.worker_state().state == "refused"
        said_at = running.home.worker_state().at
        status, ready = running.get("/readyz")
        assert status == 503
        assert "loopline replay" in str(ready)
        thumb = event("feedback.thumb", 1, prediction_id="p-1", value="up")
        assert told("--home", home.path, "send", "-", stdin=lines(thumb))["accepted"] == 1
        assert told("--home", home.path, "doctor", status=1)["ok"] is False
        # It was left alone meanwhile: it would refuse again.
        assert running.home.worker_state().at == said_at
        told("--home", home.path, "replay")
        until(lambda: running.get("/readyz")[0] == 200, "the server to be ready")
        assert told("--home", home.path, "verify")["events"] == 2


def test_views_of_another_version_are_built_anew(tmp_path: Path) -> None:
    """The worker builds the new ones beside, and switches."""
    home = Home(tmp_path / "home")
    home.create(1)
    loopline("--home", home.path, "send", "-", stdin=lines(prediction(1)))
    old = home.current_path()
    assert old is not None
    with closing(sqlite3.connect(old)) as connection, connection:
        connection.execute("UPDATE meta SET views_version = 0")
    with server_on(home.path) as running:
        assert running.home.worker_state().state == "running"
        assert home.current_path() != old
        assert not old.exists()
        assert running.get("/v1/predictions/p-1")[0] == 200


def test_partitions_are_fixed_when_the_home_is_made(tmp_path: Path) -> None:
    """Another number is refused, saying so."""
    Home(tmp_path / "home").create(3)
    status, _, err = Running(tmp_path / "home", "--partitions", 2).end(0)
    assert status == 1
    assert "made with 3 partitions" in err


def test_addresses_of_both_families_are_bound_and_written() -> None:
    """An address that means all is written as one that can be reached."""
    with closing(listen("127.0.0.1", 0)) as listening:
        assert address_of("127.0.0.1", listening.getsockname()[1]).startswith("http://127.0.0.1:")
        with pytest.raises(HomeRefused, match="--port 0"):
            listen("127.0.0.1", listening.getsockname()[1])
    assert address_of("::1", 8710) == "http://[::1]:8710"
    assert address_of("0.0.0.0", 8710) == "http://127.0.0.1:8710"
