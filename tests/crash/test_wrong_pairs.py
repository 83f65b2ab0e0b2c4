"""A log and a store that do not belong together: the worker refuses, and says what to do."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.crash.checking import Server, counts, serving
from tests.crash.load import Load
from tests.feedback.running import loopline, until

pytestmark = pytest.mark.crash


def _some_events(server: Server, batches: int) -> None:
    load = Load(server.address, senders=1, batches=batches)
    load.start()
    load.wait()
    assert server.running is not None
    assert server.running.get(f"/v1/waiting?after={load.positions[-1]}")[0] == 200


def _refusal(server: Server) -> str:
    """Why the worker of a server does not run, as /readyz says it."""
    running = server.start()
    assert until(lambda: running.home.worker_state().state == "refused", "the worker's refusal")
    status, said = running.get("/readyz")
    assert status == 503
    return str(said["reasons"])


_SIDES = ("log.sqlite", "log.sqlite-wal", "log.sqlite-shm")


def _put_log(source: Path, home: Path) -> None:
    """Put the log that lies in `source` in the place of the one in `home`."""
    home.mkdir(exist_ok=True)
    for name in _SIDES:
        (home / name).unlink(missing_ok=True)
        if (source / name).exists():
            shutil.copy(source / name, home / name)


def test_a_log_older_than_its_store_is_refused_until_the_views_are_rebuilt(tmp_path: Path) -> None:
    """An older copy of the log lacks events that were counted: nobody goes on as if nothing happened."""
    server = Server(tmp_path / "home")
    try:
        server.start()
        _some_events(server, 3)
        server.stop()
        _put_log(tmp_path / "home", tmp_path / "older")
        server.start()
        _some_events(server, 9)
        server.stop()
        _put_log(tmp_path / "older", tmp_path / "home")
        reason = _refusal(server)
        assert "older than its store" in reason
        assert "loopline replay" in reason
        assert loopline("doctor", "--home", server.home).exit_code == 1
        server.stop()
        assert loopline("replay", "--home", server.home).exit_code == 0
        server.start()
        assert counts(server) == {"prediction.made": 12, "feedback.thumb": 12}
    finally:
        server.stop()


def test_a_store_of_another_log_is_refused(tmp_path: Path) -> None:
    """The log of another home is another log, however alike."""
    with serving(tmp_path / "other") as other:
        _some_events(other, 2)
    with serving(tmp_path / "home") as server:
        _some_events(server, 2)
    _put_log(tmp_path / "other", tmp_path / "home")
    try:
        assert "was built from log" in _refusal(server)
    finally:
        server.stop()


def test_a_torn_write_at_the_end_of_the_log_costs_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """What a power cut leaves half-written behind the last commit is not there after a restart."""
    server = Server(tmp_path / "home")
    try:
        server.start()
        load = Load(server.address, senders=2, batches=10)
        load.start()
        load.wait()
        assert server.running is not None
        server.running.process.kill()
        server.running.process.wait()
        until(lambda: _free(server), "the orphans to end")
        wal = tmp_path / "home" / "log.sqlite-wal"
        torn = wal.read_bytes()[:3000] if wal.exists() else b""
        with wal.open("ab") as file:
            file.write(torn or b"\x00" * 3000)
        server.start()
        assert counts(server) == {"prediction.made": load.sent // 2, "feedback.thumb": load.sent // 2}
        assert loopline("verify", "--home", server.home).exit_code == 0
    finally:
        server.stop()


def _free(server: Server) -> bool:
    from feedback.installation.home import Home, Locked

    try:
        Home(server.home).lock("a test").release()
    except Locked:
        return False
    return True
