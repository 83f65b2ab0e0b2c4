"""The distributed rows: what they feed, how they read what they saw, and that each of them runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest

from benchmarks.cluster.events import about, blocks, declarations, singles
from benchmarks.cluster.growth import checkpoints, fitted
from benchmarks.cluster.plot import Point, draw
from benchmarks.cluster.watching import OTHERS, Sample, bottleneck, cores, slope
from benchmarks.measuring import cpu_of_machine, cpu_of_tree
from benchmarks.workload import Workload
from schemas.identity import partition_of, prediction_key
from streams.log.block import raw_items
from tests.services.kafka.jars import KafkaMissing
from tests.services.kafka.prepared import prepared
from tests.services.postgres import PostgresMissing, binaries

_ROWS = {
    "cluster-faust": {"cluster-faust", "cluster-faust-both", "cluster-single", "cluster-quix"},
    "cluster-collector": {"cluster-collector"},
    "cluster-sustained": {"cluster-sustained"},
    "cluster-scaling": {"cluster-scaling"},
    "cluster-growth": {"cluster-growth"},
}


def test_every_side_reads_the_same_events() -> None:
    """Singles, full blocks and blocks of several partitions hold the same bytes, each once."""
    items = Workload().events(1_000)
    assert [value for _, _, value in singles(items)] == items
    for partitions in (1, 4):
        packed = list(blocks(items, partitions=partitions))
        assert Counter(item for _, _, record in packed for item in raw_items(record)) == Counter(items)
    assert {partition for partition, _, _ in packed} == {0, 1, 2, 3}
    for partition, _, record in packed:
        assert all(partition_of(prediction_key(about(item)), 4) == partition for item in raw_items(record))


def test_blocks_have_the_size_that_is_asked_for() -> None:
    """Blocks of a hundred, the last ones shorter; blocks of one; and the declarations of all models."""
    items = Workload().events(250)
    assert [len(raw_items(record)) for _, _, record in blocks(items)] == [100, 100, 50]
    assert [len(raw_items(record)) for _, _, record in blocks(items, 1)] == [1] * 250
    (declared,) = declarations()
    kinds = {msgspec.json.decode(item)["type"] for item in raw_items(declared[2])}
    assert kinds == {"loopline.model.declared.v1"}


def _sample(at: float, lag: int, **used: float) -> Sample:
    return Sample(at, 100 + lag, 100, used)


def test_a_flat_lag_has_no_slope_and_a_growing_one_has_its_own() -> None:
    """Three blocks more each second are three blocks a second; noise around a level is about none."""
    assert slope([_sample(float(at), 3 * at) for at in range(10)]) == pytest.approx(3.0)
    assert slope([_sample(float(at), 5 + at % 2) for at in range(101)]) == pytest.approx(0.0, abs=0.01)
    assert slope([_sample(0.0, 5)]) == 0.0


def test_cores_are_shared_out_and_the_rest_is_everything_else() -> None:
    """What the whole machine used, less what the named ones used, is the load generator's and others'."""
    first = _sample(0.0, 0, workers=1.0, broker=1.0, **{OTHERS: 10.0})
    used = cores(first, _sample(2.0, 0, workers=3.0, broker=1.5, **{OTHERS: 13.9}))
    assert used == pytest.approx({"workers": 1.0, "broker": 0.25, OTHERS: 0.7})
    assert bottleneck(used, 2) == "the 2 cores are full (1.95); most of them: workers, 1.00"
    assert bottleneck(used, 4).startswith("1.95 of 4 cores are used; the busiest: workers")


def test_cpu_of_a_tree_counts_children_that_have_ended() -> None:
    """A server's process that ended between two looks is not forgotten."""
    # As much CPU as the test waits for and more, however quick the machine is.
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    program = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {spin!r}]); input()"
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    machine = cpu_of_machine()
    try:
        while cpu_of_tree([process.pid]) < 0.2:
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        process.communicate(b"\n")
    assert cpu_of_machine() > machine


def test_growth_is_looked_at_on_a_logarithmic_scale() -> None:
    """Checkpoints are 1, 2 and 5 times the powers of ten, and the end that was asked for."""
    assert checkpoints(100_000) == [10_000, 20_000, 50_000, 100_000]
    assert checkpoints(10_000) == [10_000]
    assert checkpoints(3_000_000)[-3:] == [1_000_000, 2_000_000, 3_000_000]


def _points() -> list[Point]:
    return [
        Point(events, {"workers": 18.0, "PostgreSQL": 4.0 + 2.0 * power, "broker": 5.0})
        for power, events in enumerate((10_000, 100_000, 1_000_000))
    ]


def test_the_fit_finds_what_grows() -> None:
    """A cost that grows by two microseconds a power of ten is seen to; a level one is level."""
    assert fitted(_points(), "PostgreSQL")[1] == pytest.approx(2.0, rel=0.2)
    assert fitted(_points(), "workers") == pytest.approx((18.0, 0.0))


def test_the_figure_is_svg_that_tells_measured_from_extended() -> None:
    """Each cost is a solid line as far as it was measured, a dashed one beyond, with its name at the end."""
    points = _points()
    fits = {name: fitted(points, name) for name in points[0].us}
    root = ElementTree.fromstring(draw(points, fits, 10_000_000))
    lines = root.findall("{*}polyline")
    assert [line.get("stroke-dasharray") is not None for line in lines] == [False, True] * 3
    texts = ["".join(text.itertext()) for text in root.findall("{*}text")]
    assert {"measured", "by the fitted terms", "worker 18.0 us", "104", "107"} <= set(texts)
    whole = ElementTree.fromstring(draw(points, fits, 1_000_000))
    assert all(line.get("stroke-dasharray") is None for line in whole.findall("{*}polyline"))


@pytest.mark.broker
@pytest.mark.postgres
@pytest.mark.peer
@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", list(_ROWS))
def test_a_quick_run_measures_the_distributed_rows(group: str, tmp_path: Path) -> None:
    """Each row has a number and leaves nothing behind; which verdict it gets is not judged here."""
    # A run starts servers of its own.
    for needed, missing in ((prepared, KafkaMissing), (binaries, PostgresMissing)):
        try:
            needed()
        except missing as reason:
            pytest.skip(str(reason))
    figure = tmp_path / "growth.svg"
    place = tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "--quick", "--json", "--only", group),
            *("--dir", str(place), "--plot", str(figure)),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert {row["name"] for row in report["rows"]} == _ROWS[group]
    assert all(row["reached"] > 0 for row in report["rows"])
    assert list(place.iterdir()) == []
    assert figure.exists() == (group == "cluster-growth")
