"""The soak finds what grows and nothing else: its judgement by example, its eyes on processes that leak."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.soak.judging import MIB, MORE, TOLERANCE, Rest, Verdict, failed, judge, table, warm_up_s
from benchmarks.soak.leaking import LEAKS
from benchmarks.soak.load import batch, kind_of
from benchmarks.soak.running import Outcome, Plan, report
from benchmarks.soak.sampling import Sampler, of_process


def _judged(values: list[Rest], what: str = "descriptors", born: float = 0.0, run_s: float = 120) -> Verdict:
    return judge("worker", what, values, born=born, warm_s=warm_up_s(run_s), peak=99)


def _each_ten_seconds(values: list[float], cache: float = 0.0) -> list[Rest]:
    return [Rest(10.0 * (at + 1), value, cache * at) for at, value in enumerate(values)]


def test_what_grows_in_the_warm_up_alone_is_no_leak() -> None:
    """The first minute is left out, however much it holds."""
    flat = _judged(_each_ten_seconds([10, 50, 90, 120, 150, 180, *[180] * 7]))
    assert (flat.state, flat.first, flat.last, flat.values) == ("ok", 180, 180, 8)


@pytest.mark.parametrize("what", list(TOLERANCE))
def test_what_grows_by_more_than_its_tolerance_is_found(what: str) -> None:
    """By less than that it is not."""
    allowed = TOLERANCE[what]
    flat = [100.0] * 9
    assert _judged(_each_ten_seconds([*flat, *[100 + allowed] * 4]), what).state == "ok"
    assert _judged(_each_ten_seconds([*flat, *[101 + allowed] * 4]), what).state == "grows"


def test_one_look_at_a_bad_moment_decides_nothing() -> None:
    """Medians are compared."""
    values = [100.0] * 12
    values[11] = 5000
    values[6] = 5000
    assert _judged(_each_ten_seconds(values)).state == "ok"


@given(st.floats(0.01, 5), st.integers(13, 100), st.floats(0, 1000), st.randoms(use_true_random=False))
def test_a_steady_leak_is_found_once_it_has_leaked_enough(
    a_second: float, cycles: int, base: float, random: Random
) -> None:
    """However slow it is, a run that is long enough finds it, in spite of noise."""
    values = [base + a_second * 10 * at + random.uniform(-2, 2) for at in range(cycles)]
    leaked_between_thirds = a_second * 10 * (cycles - 6) * 2 / 3
    state = _judged(_each_ten_seconds(values), run_s=cycles * 10).state
    if leaked_between_thirds > TOLERANCE["descriptors"] + 4 + 20 * a_second:
        assert state == "grows"


@given(st.integers(10, 100), st.floats(10, 1000), st.randoms(use_true_random=False))
def test_noise_alone_is_no_leak(cycles: int, base: float, random: Random) -> None:
    """Values that go up and down by half of the tolerance are the same at the end."""
    values = [base + random.uniform(-4, 4) for _ in range(cycles)]
    assert _judged(_each_ten_seconds(values), run_s=cycles * 10).state != "grows"


def test_a_process_that_was_started_anew_warms_up_again() -> None:
    """For half a minute; one with too few values after that decides nothing."""
    values = [
        Rest(at, value)
        for at, value in ((200, 10), (210, 60), (220, 90), *((230 + at, 90) for at in range(60)))
    ]
    assert _judged(values, born=195, run_s=300).state == "ok"
    assert _judged(values[:5], born=195, run_s=300).state == "short"


def test_what_a_cache_may_hold_is_no_leak() -> None:
    """Memory may grow with the files of which it keeps pages, and by no more."""
    values = _each_ten_seconds([100.0 * MIB + 5 * MIB * at for at in range(24)])
    assert _judged(values, "memory", run_s=240).state == "grows"
    cached = [Rest(at, value, value) for at, value, _ in values]
    assert _judged(cached, "memory", run_s=240).state == "ok"


def test_a_collectors_memory_may_move_with_arrows_pool() -> None:
    """By so much more than anybody else's, and no further."""
    flat, more = [100.0 * MIB] * 9, MORE["collector", "memory"]
    for grown, state in ((TOLERANCE["memory"] + more, "ok"), (TOLERANCE["memory"] + more + 1, "grows")):
        values = _each_ten_seconds([*flat, *[100 * MIB + grown] * 4])
        assert judge("collector", "memory", values, born=0, warm_s=60, peak=0).state == state
        assert judge("supervisor", "memory", values, born=0, warm_s=60, peak=0).state == "grows"


def test_a_run_is_good_only_when_something_can_be_said_of_everybody() -> None:
    """A short life is forgiven when another one of the same process tells enough."""
    ok = Verdict("worker", "threads", 8, 2, 2, 2, 2, "ok")
    short = ok._replace(state="short")
    grows = Verdict("worker", "memory", 8, 20 * MIB, 90 * MIB, 12 * MIB, 91 * MIB, "grows")
    assert failed([ok, short]) == []
    assert failed([short]) == ["threads of the worker: too few values to tell"]
    assert failed([ok, grows]) == ["memory of the worker grew from 20.0 MiB to 90.0 MiB"]
    assert "+12.0 MiB" in table([ok, grows])
    assert report("embedded", Outcome([ok], [], "3 events"), 120).endswith("soak embedded: nothing grew")
    assert "FAILED: lost" in report("embedded", Outcome([ok], ["lost"], "3 events"), 120)


@pytest.mark.parametrize("minutes", [0.2, 1, 2, 10, 600])
def test_every_plan_has_a_warm_up_restarts_and_enough_values(minutes: float) -> None:
    """The warm-up is a minute, or half of a short run; both are killed in it, and again in a long run."""
    plan = Plan(minutes * 60)
    assert plan.warm_cycles * plan.cycle_s == pytest.approx(warm_up_s(minutes * 60), rel=0.2)
    assert plan.cycles * plan.cycle_s == pytest.approx(minutes * 60, rel=0.1)
    assert plan.cycles - plan.warm_cycles >= 5
    warm = [deed for cycle in range(plan.warm_cycles) for deed in plan.deeds(cycle)]
    assert sorted(warm) == ["kill collector", "kill worker", "release", "replay"]
    later = [deed for cycle in range(plan.warm_cycles, plan.cycles) for deed in plan.deeds(cycle)]
    assert "release" in later
    assert ("kill worker" in later) == (minutes >= 10)


def test_batches_are_told_apart_and_count_by_kind() -> None:
    """Every event has its own id; one of each batch is refused."""
    events = [event for number in range(30) for event in batch(number)]
    assert len({event["id"] for event in events}) == len(events)
    kinds = [kind_of(event) for event in batch(1)]
    assert (kinds.count("prediction.made"), kinds.count("feedback.thumb")) == (8, 9)


# ------------------------------------------------------------------------------------ processes that leak


@pytest.fixture
def run_s() -> float:
    """How long a process is looked at, at least; a third of it is the warm-up."""
    return 6.0


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """The folder for temporary files of a process."""
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


@pytest.fixture
def leaking(request: pytest.FixtureRequest, temporary: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that leaks what the test says."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.soak.leaking", request.param],
        stdin=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
        cwd=Path(__file__).parents[2],
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("leaking,what", [(each, each) for each in LEAKS], indirect=["leaking"])
def test_a_planted_leak_is_found_and_nothing_else(
    leaking: subprocess.Popen[bytes], what: str, temporary: Path, run_s: float
) -> None:
    """Each kind of it, by the same eyes and the same judgement; one that leaks nothing is well."""

    def places() -> dict[tuple[str, str], float]:
        return {("disk", "temporary files"): len(list(temporary.iterdir()))}

    while len(of_process(leaking.pid)) == 0:
        time.sleep(0.05)
    with closing(Sampler(lambda: {"planted": leaking.pid}, places)) as sampler:
        at: list[float] = []
        # As often as it takes on a busy machine, and as long.
        while len(at) < 12 or at[-1] < run_s * _LONGER.get(what, 1):
            sampler.rest()
            at.append(sampler.elapsed())
        verdicts = sampler.verdicts(at[len(at) // 3])
    grown = {each.what for each in verdicts if each.state == "grows"}
    assert all(each.state != "short" for each in verdicts), table(verdicts)
    # A thread has some memory of its own.
    assert grown == ({what} if what != "nothing" else set()), table(verdicts)


_LONGER: dict[Any, float] = {"descriptors": 1.5, "memory": 1.5}
"""How much longer it takes until it has leaked more than is allowed, at four pieces a second."""
