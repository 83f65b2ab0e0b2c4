"""What a worker does and how far it has come, for whoever asks while it works.

Alive is not enough: a worker whose partitions have blocks that it does not apply is not ready, whatever its
process does. Written from the engine's threads, read from the health server's; waits for nothing but a short
lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from streams.clocks import ClockWatch
from streams.log.port import DEAD, format_positions

STUCK_AFTER_S = 15.0
TURN_S = 5.0

STARTING, RUNNING, WAITING, REFUSED, STOPPED = "starting", "running", "waiting", "refused", "stopped"

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class State(NamedTuple):
    """What the worker does: one of the states above, and why."""

    name: str
    reason: str = ""


class Progress:
    """How one worker is doing.

    Args:
        clock: monotonic, in seconds.
        stuck_after_s: for how long blocks may wait while nothing moves, and the log may give no answer.
        clocks: what the services told of their clocks.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        stuck_after_s: float = STUCK_AFTER_S,
        clocks: ClockWatch | None = None,
    ) -> None:
        self.clocks = clocks or ClockWatch()
        self.stuck_after_s = stuck_after_s
        self._clock = clock
        self._guard = threading.Lock()
        self._state = State(STARTING)
        self._applied: dict[int, int] = {}
        self._ends: dict[int, int] = {}
        self._still_since: float | None = None
        self._silent: tuple[float, str] | None = None
        self._turned = clock()
        self.registry = CollectorRegistry()
        self.blocks = Counter(
            "loopline_worker_blocks_applied_total",
            "Blocks that this worker brought into the views.",
            registry=self.registry,
        )
        self.events = Counter(
            "loopline_worker_events_applied_total",
            "Events and refused items in the batches that this worker brought into the views.",
            registry=self.registry,
        )
        self.failures = Counter(
            "loopline_worker_failures_total",
            "Times that the worker had to try again: the store or the broker was away.",
            registry=self.registry,
        )
        self.set_aside = Counter(
            "loopline_worker_set_aside_total",
            "Events that this worker could not fold, and set aside as dead letters.",
            registry=self.registry,
        )
        self._set_aside = 0
        self.rebalances = Counter(
            "loopline_worker_assignments_total",
            "Times that the worker was given partitions.",
            registry=self.registry,
        )
        self.apply_seconds = Histogram(
            "loopline_worker_apply_seconds",
            "One transaction: decoding, folding and writing a batch of blocks.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.registry.register(_Gauges(self))
        self.registry.register(self.clocks)

    # ------------------------------------------------------------------------------ told by the engine

    def turned(self) -> None:
        """The worker's event loop, or what stands for it between two memberships, has come round."""
        self._turned = self._clock()

    def says(self, name: str, reason: str = "") -> None:
        """The worker is in another state."""
        with self._guard:
            self._state = State(name, reason)

    def assigned(self, positions: Mapping[int, int]) -> None:
        """These partitions are the worker's, and the store stands there."""
        with self._guard:
            self._applied = dict(positions)
            self._settle()

    def applied(self, positions: Mapping[int, int]) -> None:
        """The store has moved on to these positions."""
        with self._guard:
            for partition, position in positions.items():
                if partition in self._applied:
                    self._applied[partition] = position
            # Moved: the time for which nothing did starts anew.
            self._still_since = None
            self._settle()

    def was_set_aside(self, events: int) -> None:
        """So many events could not be folded."""
        self.set_aside.inc(events)
        with self._guard:
            self._set_aside += events

    def ended(self, ends: Mapping[int, int]) -> None:
        """The log has answered: its partitions end here."""
        with self._guard:
            self._silent = None
            self._ends = dict(ends)
            self._settle()

    def silent(self, reason: str) -> None:
        """The log did not answer."""
        with self._guard:
            self._silent = (self._clock() if self._silent is None else self._silent[0], reason)

    def _settle(self) -> None:
        if not self._behind():
            self._still_since = None
        elif self._still_since is None:
            self._still_since = self._clock()

    def _behind(self) -> int:
        return sum(self._lag().values())

    def _lag(self) -> dict[int, int]:
        return {
            partition: max(0, self._ends.get(partition, 0) - position)
            for partition, position in self._applied.items()
        }

    # ------------------------------------------------------------------------------- read by everybody

    def turns(self) -> bool:
        """Whether the worker came round within the last seconds; a store that is away does not hinder it."""
        return self._clock() - self._turned < TURN_S

    @property
    def state(self) -> State:
        """What the worker does."""
        with self._guard:
            return self._state

    @property
    def positions(self) -> dict[int, int]:
        """How far the worker's own partitions are applied."""
        with self._guard:
            return dict(self._applied)

    @property
    def ends(self) -> dict[int, int]:
        """Where the log ended when it was asked last."""
        with self._guard:
            return dict(self._ends)

    def behind(self) -> int:
        """How many blocks of the worker's partitions wait."""
        with self._guard:
            return self._behind()

    def lag(self) -> dict[int, int]:
        """How many blocks of each of the worker's partitions wait."""
        with self._guard:
            return self._lag()

    def reasons(self) -> list[str]:
        """Why the worker is not ready; empty when it is."""
        with self._guard:
            return list(self._reasons())

    def lacking(self) -> list[str]:
        """What the views lack, although the worker is ready."""
        with self._guard:
            count = self._set_aside
        if not count:
            return []
        said = (
            f"since this worker started, {count} events could not be folded and were set aside as dead"
            " letters: upgrade, then `loopline replay`"
        )
        return [said]

    def _reasons(self) -> Iterable[str]:
        name, why = self._state
        now = self._clock()
        if name == REFUSED:
            yield f"the worker refuses to run: {why}"
        elif name != RUNNING:
            yield f"the worker is {name}" + (f": {why}" if why else "")
        if self._silent is not None and now - self._silent[0] >= self.stuck_after_s:
            yield f"the log has not answered for {now - self._silent[0]:.0f} s: {self._silent[1]}"
        if self._still_since is not None and now - self._still_since >= self.stuck_after_s:
            yield (
                f"{self._behind()} blocks wait at {format_positions(self._applied)} and nothing has moved for"
                f" {now - self._still_since:.0f} s"
            )


class _Gauges:
    """What is computed when it is asked for."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def collect(self) -> Iterable[Metric]:
        lag = GaugeMetricFamily(
            "loopline_worker_lag_blocks",
            "Blocks of this worker's partitions that are not in the views yet.",
            labels=["partition"],
        )
        for partition, blocks in self._progress.lag().items():
            lag.add_metric(["dead" if partition == DEAD else str(partition)], blocks)
        yield lag
        ready = not self._progress.reasons()
        yield GaugeMetricFamily("loopline_worker_ready", "1 while /readyz answers 200.", value=int(ready))
