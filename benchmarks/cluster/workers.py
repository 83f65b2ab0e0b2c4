"""What an event costs the worker: ours into PostgreSQL, against Faust, Quix Streams, and single events.

Every side is a process of its own that starts from a filled topic on the same broker and handles so many
events; its CPU is that of all its threads from the first event to the last. The server's CPU is that of all
its processes, from before the worker connects until after it ended.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median

import msgspec

from benchmarks.cluster.collected import collect
from benchmarks.cluster.events import Record, blocks, declarations, singles
from benchmarks.cluster.services import Services, services
from benchmarks.cluster.topics import create, fill
from benchmarks.measuring import in_turns, ratio, spread
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.workload import Workload
from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.store.postgres.catalogue import PostgresStores
from streams.views.registry import TABLES

_LONGEST_S = 400.0
_numbers = count()


class Used(msgspec.Struct):
    """What a worker used: CPU seconds and wall seconds, for so many events."""

    cpu: float
    seconds: float
    events: float


class Sides:
    """The sides of the ratios; each call is one round, and gives microseconds of CPU an event."""

    def __init__(self, run: Services, folder: str) -> None:
        self._run = run
        self._folder = folder
        self.postgres: defaultdict[str, list[float]] = defaultdict(list)
        self.broker: defaultdict[str, list[float]] = defaultdict(list)

    def log(self, records: list[Record]) -> str:
        """The address of a new log with these blocks, after the declarations."""
        prefix = f"log{next(_numbers)}"
        create(self._run.bootstrap, f"{prefix}.log.1", f"{prefix}.dead-letters", f"{prefix}.intake")
        fill(self._run.bootstrap, f"{prefix}.log.1", [*declarations(), *records])
        return self._run.kafka.address(prefix)

    def topic(self, records: list[Record]) -> str:
        """A new topic with these records."""
        name = f"events{next(_numbers)}"
        create(self._run.bootstrap, name)
        fill(self._run.bootstrap, name, records)
        return name

    def ours(self, name: str, log: str, events: int) -> Callable[[], float]:
        """Our worker on a filled log, into a new database each time."""

        def once() -> float:
            store = _empty_views(self._run, log)
            postgres, broker = self._run.postgres_cpu(), self._run.broker_cpu()
            used = _process("our_worker", log, store, str(events))
            self.postgres[name].append((self._run.postgres_cpu() - postgres) / events * 1e6)
            self.broker[name].append((self._run.broker_cpu() - broker) / events * 1e6)
            return used.cpu / used.events * 1e6

        return once

    def peer(self, module: str, topic: str, events: int, *, changelog: bool) -> Callable[[], float]:
        """A peer on a filled topic, with a new state each time."""

        def once() -> float:
            with tempfile.TemporaryDirectory(dir=self._folder) as state:
                used = _process(
                    module, self._run.bootstrap, topic, str(events), state, "1" if changelog else "0"
                )
            return used.cpu / used.events * 1e6

        return once


def _empty_views(run: Services, log: str) -> str:
    """The address of a new database with empty views of this log: made before the clock starts."""
    url = run.postgres.fresh_database()
    stores, reading = PostgresStores(url, TABLES), KafkaLog(Address.parse(log))
    try:
        stores.for_work(reading.identity).close()
    finally:
        reading.close()
        stores.close()
    return url


def _process(module: str, *arguments: str) -> Used:
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.cluster.{module}", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=_LONGEST_S,
        cwd=Path(__file__).parents[2],
    )
    if done.returncode:
        raise RuntimeError(f"{module} ended with status {done.returncode}: {done.stderr.decode()[-2000:]}")
    return msgspec.json.decode(done.stdout.splitlines()[-1], type=Used)


def measure(scale: Scale) -> list[Row]:
    """The four rows of what an event costs the worker, each with what the others cost beside it."""
    events = scale.cluster_events
    fewer = max(events // 4, 500)
    items = Workload().events(events)
    rounds = scale.cluster_rounds
    with services(scale) as run:
        sides = Sides(run, scale.folder)
        collected = collect(run, events)
        topic = sides.topic(singles(items))
        costs = in_turns(
            {
                "full": sides.ours("full", sides.log(list(blocks(items))), events),
                "collected": sides.ours("collected", collected.log, collected.events),
                "single": sides.ours("single", sides.log(list(blocks(items[:fewer], 1))), fewer),
                "faust": sides.peer("faust_agent", topic, fewer, changelog=True),
                "faust dict": sides.peer("faust_agent", topic, fewer, changelog=False),
                "quix": sides.peer("quix_join", topic, events, changelog=True),
                "quix local": sides.peer("quix_join", topic, events, changelog=False),
            },
            rounds,
            warm=not scale.quick,
        )
    together = {
        name: [
            worker + server
            for worker, server in zip(costs[name], sides.postgres[name][-rounds:], strict=True)
        ]
        for name in ("full", "collected")
    }
    return _rows(costs, together, sides, collected.mean, scale)


def _rows(
    costs: dict[str, list[float]],
    together: dict[str, list[float]],
    sides: Sides,
    mean: float,
    scale: Scale,
) -> list[Row]:
    small = f"with the collector's blocks of {mean:.0f} (x)"
    faust = _row(
        "cluster-faust",
        "Faust agent, one record an event, one Faust table / worker CPU into PostgreSQL, blocks of 100",
        8,
        costs["faust"],
        costs["full"],
        {
            small: ratio(costs["faust"], costs["collected"]),
            "with a table without a changelog (x)": ratio(costs["faust dict"], costs["full"]),
            **_common(costs, sides, mean, scale),
        },
    )
    both = _row(
        "cluster-faust-both",
        "the same / worker and PostgreSQL CPU together, blocks of 100",
        3,
        costs["faust"],
        together["full"],
        {
            small: ratio(costs["faust"], together["collected"]),
            "with a table without a changelog (x)": ratio(costs["faust dict"], together["full"]),
        },
    )
    single = _row(
        "cluster-single",
        "worker CPU, one event a record / blocks of 100, same processors and store",
        5,
        costs["single"],
        costs["full"],
        {small: ratio(costs["single"], costs["collected"])},
    )
    quix = _row(
        "cluster-quix",
        "Quix Streams, only the join, RocksDB / worker CPU, all views into PostgreSQL, blocks of 100",
        1,
        costs["quix"],
        costs["full"],
        {
            small: ratio(costs["quix"], costs["collected"]),
            "with state without a changelog (x)": ratio(costs["quix local"], costs["full"]),
        },
    )
    return [faust, both, single, quix]


def _common(
    costs: dict[str, list[float]], sides: Sides, mean: float, scale: Scale
) -> dict[str, float | int | str]:
    """What is printed once, beside the first row: every cost by itself, and what was run."""
    rounds = scale.cluster_rounds
    return {
        **{f"{name} (us of CPU an event)": median(values) for name, values in costs.items()},
        **{f"PostgreSQL, {name} (us)": median(values[-rounds:]) for name, values in sides.postgres.items()},
        "broker, full (us)": median(sides.broker["full"][-rounds:]),
        "events": scale.cluster_events,
        "mean block of the collector": mean,
        "rounds": rounds,
    }


def _row(
    name: str,
    what: str,
    bound: float,
    over: list[float],
    under: list[float],
    details: dict[str, float | int | str],
) -> Row:
    low, high = spread(over, under)
    return Row(
        name=name,
        what=what,
        bound=bound,
        at_least=True,
        reached=ratio(over, under),
        low=low,
        high=high,
        details=details,
    )
