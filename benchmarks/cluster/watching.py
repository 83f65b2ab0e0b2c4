"""Watching a deployment while it works: how far the views are behind the log, and who uses the CPU.

Looks twice a second at the log's ends, the store's positions and the system's accounts of the processes, so
that it takes no part worth naming.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import NamedTuple, Self

from benchmarks.cluster.collected import cpu_of_member
from benchmarks.cluster.services import Services
from benchmarks.measuring import cpu_of_machine
from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.store.postgres.catalogue import PostgresStores
from streams.views.registry import TABLES
from tests.services.deployment import Deployment

_EVERY_S = 0.5
OTHERS = "everything else"


class Sample(NamedTuple):
    """At an instant (s): blocks in the log and in the views, and CPU seconds so far by name."""

    at: float
    ends: int
    applied: int
    used: Mapping[str, float]

    @property
    def lag(self) -> int:
        """Blocks that wait."""
        return self.ends - self.applied


class Watch:
    """A reader of log and store, on connections of its own."""

    def __init__(self, run: Services, loopline: Deployment) -> None:
        self.samples: list[Sample] = []
        self._accounts = _accounts(run, loopline)
        self._log = KafkaLog(Address.parse(loopline.variables["LOOPLINE_LOG"]))
        self._stores = PostgresStores(loopline.variables["LOOPLINE_STORE"], TABLES)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)

    def look(self) -> Sample:
        """How things stand now."""
        used = {name: ask() for name, ask in self._accounts.items()}
        store = self._stores.current()
        applied = 0
        if store is not None:
            try:
                with store.snapshot() as snapshot:
                    applied = sum(position.offset for position in snapshot.positions().values())
            finally:
                store.close()
        return Sample(time.perf_counter(), sum(self._log.ends().values()), applied, used)

    def until(self, blocks: int, longest_s: float) -> Sample:
        """Wait until so many blocks are in the views; the first look at which they were."""
        deadline = time.monotonic() + longest_s
        while (sample := self.look()).applied < blocks:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{sample.lag} blocks are not in the views after {longest_s:.0f} s")
            time.sleep(0.05)
        return sample

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            self.samples.append(self.look())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(30)
        self._stores.close()
        self._log.close()


def _accounts(run: Services, loopline: Deployment) -> dict[str, Callable[[], float]]:
    """The CPU seconds so far of everything that runs, by name; the whole machine's last."""
    return {
        "collector": lambda: sum(cpu_of_member(member) for member in loopline.collectors),
        "workers": lambda: sum(cpu_of_member(member) for member in loopline.workers),
        "broker": run.broker_cpu,
        "PostgreSQL": run.postgres_cpu,
        OTHERS: cpu_of_machine,
    }


def slope(samples: Sequence[Sample]) -> float:
    """By how many blocks a second the lag grows: the least squares line through the samples."""
    if len(samples) < 2:
        return 0.0
    times = [sample.at - samples[0].at for sample in samples]
    middle = sum(times) / len(times)
    lag = sum(sample.lag for sample in samples) / len(samples)
    spread = sum((at - middle) ** 2 for at in times)
    return sum((at - middle) * (sample.lag - lag) for at, sample in zip(times, samples, strict=True)) / spread


def cores(first: Sample, last: Sample) -> dict[str, float]:
    """How much of a core each used between two looks; what none of them used is everything else's."""
    seconds = max(last.at - first.at, 1e-9)
    used = {name: (last.used[name] - first.used[name]) / seconds for name in first.used}
    used[OTHERS] -= sum(cores for name, cores in used.items() if name != OTHERS)
    return used


def bottleneck(used: Mapping[str, float], available: int) -> str:
    """Who to blame, in words."""
    total = sum(used.values())
    most = max((name for name in used if name != OTHERS), key=lambda name: used[name])
    if total > 0.9 * available:
        return f"the {available} cores are full ({total:.2f}); most of them: {most}, {used[most]:.2f}"
    return f"{total:.2f} of {available} cores are used; the busiest: {most}, {used[most]:.2f}"
