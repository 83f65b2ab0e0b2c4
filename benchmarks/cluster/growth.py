"""How the cost of an event grows with the views: one worker, one PostgreSQL, from 10^4 events on.

The log is filled piece by piece and the worker follows; at each checkpoint stands what an event of the
piece before it cost the worker, PostgreSQL and the broker. Beyond what was measured the fitted terms go on:
worker and broker do the same for every event; what could grow is PostgreSQL's work, since each row finds its
place in indexes whose depth grows with the logarithm of their rows. So costs are fitted as a + b log10(n).
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from itertools import pairwise

from benchmarks.cluster.collected import deployment
from benchmarks.cluster.events import blocks
from benchmarks.cluster.plot import Point, draw
from benchmarks.cluster.services import Services, services
from benchmarks.cluster.topics import fill
from benchmarks.cluster.watching import Watch
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import Workload

FIRST, LAST = 10_000, 10_000_000
_FILLED_AT_ONCE = 100_000
_LONGEST_S = 300.0
_NAMES = ("workers", "PostgreSQL", "broker")


def checkpoints(last: int) -> list[int]:
    """1, 2, 5, 10 ... times `FIRST`, up to `last`."""
    steps = [FIRST * factor * 10**power for power in range(4) for factor in (1, 2, 5)]
    return [step for step in steps if step < last] + [last]


def run(run_on: Services, last: int, *, tell: bool = True) -> list[Point]:
    """Measure up to `last` events."""
    points = []
    workload = Workload()
    with deployment(run_on, partitions=1) as loopline:
        loopline.work()
        topic = f"{loopline.variables['LOOPLINE_LOG'].rpartition('/')[2]}.log.1"
        with Watch(run_on, loopline) as watch:
            before = watch.until(1, _LONGEST_S)
            for start, end in pairwise([0, *checkpoints(last)]):
                for done in range(start, end, _FILLED_AT_ONCE):
                    fill(run_on.bootstrap, topic, blocks(workload.events(min(_FILLED_AT_ONCE, end - done))))
                after = watch.until(watch.look().ends, _LONGEST_S)
                us = {name: (after.used[name] - before.used[name]) / (end - start) * 1e6 for name in _NAMES}
                points.append(Point(end, us, run_on.database_bytes(loopline.variables["LOOPLINE_STORE"])))
                if tell:
                    told = ", ".join(f"{name} {value:.1f}" for name, value in us.items())
                    print(f"  {end:,} events: {told} us", file=sys.stderr, flush=True)
                before = watch.look()
    return points


def fitted(points: Sequence[Point], name: str) -> tuple[float, float]:
    """a and b of a + b log10(n): least squares over the pieces, by their middles on that scale."""
    xs, ys = [], []
    start = 0
    for point in points:
        xs.append(math.log10(math.sqrt(max(start, point.events / 2) * point.events)))
        ys.append(point.us[name])
        start = point.events
    if len(xs) < 2:
        return ys[0], 0.0
    middle, level = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - middle) ** 2 for x in xs)
    slope = sum((x - middle) * (y - level) for x, y in zip(xs, ys, strict=True)) / spread
    return level - slope * middle, slope


def measure(scale: Scale) -> list[Row]:
    """The row: what the last events cost worker and PostgreSQL over what the first hundred thousand cost."""
    started = time.perf_counter()
    with services(scale) as run_on:
        points = run(run_on, scale.cluster_growth, tell=not scale.quick)
    steady = [point for point in points if point.events >= min(100_000, scale.cluster_growth)]
    fits = {name: fitted(steady, name) for name in _NAMES}
    dominant = max(_NAMES, key=lambda name: fits[name][1])
    bottleneck = max(_NAMES, key=lambda name: steady[-1].us[name])
    details: dict[str, float | int | str] = {}
    for point in points:
        for name in _NAMES:
            details[f"{name} at {point.events:,} (us)"] = point.us[name]
    for name, (level, slope) in fits.items():
        details[f"{name}, us an event"] = f"{level:.1f} {slope:+.1f} log10(n)"
    first, last = _both(steady[0]), _both(steady[-1])
    details |= {
        "grows most": dominant,
        "bottleneck": bottleneck,
        "bytes an event in PostgreSQL": points[-1].bytes / points[-1].events,
        "seconds": time.perf_counter() - started,
    }
    if scale.plot:
        with open(scale.plot, "w", encoding="utf-8") as file:
            file.write(draw(points, fits, LAST))
    return [
        Row(
            name="cluster-growth",
            what=f"worker and PostgreSQL CPU an event, at {points[-1].events:,} / {steady[0].events:,}",
            bound=2.0,
            reached=last / first,
            details=details,
        )
    ]


def _both(point: Point) -> float:
    return point.us["workers"] + point.us["PostgreSQL"]
