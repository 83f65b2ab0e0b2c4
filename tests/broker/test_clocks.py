"""A machine whose clock is wrong says so, and what it took is counted all the same."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from tests.broker.checks import check_promise
from tests.crash.load import Load, crossing
from tests.feedback.running import until
from tests.services.deployment import Deployment, Member

_SHIFTED = """
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 10**9
"""


def shifted(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a process on a machine whose clock is that far ahead."""
    folder = folder / f"shifted-{seconds}"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_SHIFTED.format(seconds=seconds))
    return {"PYTHONPATH": str(folder)}


def reasons(member: Member) -> list[str]:
    """What it says on /readyz; it is in use in any case."""
    status, said = member.get("/readyz")
    assert status == 200, said
    assert said["status"] == ("degraded" if said["reasons"] else "ready")
    return [str(reason) for reason in said["reasons"]]


def test_a_collector_and_a_worker_whose_clocks_are_wrong_say_so(loopline: Deployment) -> None:
    """By brokers and PostgreSQL, in words, as a number, by the doctor; the others agree, and all counts."""
    behind = shifted(loopline.folder, -4)
    right, wrong = loopline.member("collector").start(), loopline.member("collector").start(**behind)
    worker = loopline.member("worker").start(**shifted(loopline.folder, 90))
    for member in (right, wrong, worker):
        member.ready()
    # It asks PostgreSQL before it has taken anything.
    until(lambda: any("PostgreSQL" in each for each in reasons(wrong)), "an idle collector to say so")
    load = Load(loopline.address, senders=2, batches=12, make=crossing)
    load.start()
    load.wait()
    until(lambda: any("broker 1" in each for each in reasons(wrong)), "the brokers' clock to be compared")
    (reason,) = reasons(wrong)
    assert reason.startswith(
        ("this machine's clock is 4.0 s behind that of ", "this machine's clock is 3.9 s")
    )
    assert "PostgreSQL" in reason
    assert "NTP" in reason
    with urllib.request.urlopen(wrong.url + "/metrics", timeout=10) as answer:
        assert 'loopline_clock_skew_seconds{against="PostgreSQL"} -3.9' in answer.read().decode()
    until(lambda: any("90.0 s ahead of that of PostgreSQL" in each for each in reasons(worker)), "the worker")
    assert reasons(right) == []
    doctor = loopline.command("doctor", "--url", right.url, **behind)
    assert "warn  clock " in doctor.stdout, doctor.stdout
    assert "behind that of" in doctor.stdout
    check_promise(loopline, load)
