"""The state and the progress of a worker, for its health routes and metrics.

A live process is not enough: a worker whose partitions have blocks that it does not apply is not ready. This
is judged for each partition: one that stands still is named while others move. Written from the engine's
threads and read from the health server's; waits for nothing but a short lock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Container, Iterable, Mapping
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric

from streams.clocks import ClockWatch
from streams.log.port import format_positions
from streams.stillness import Stillness, name_of, while_others_did

STUCK_AFTER_S = 15.0
TURN_S = 5.0

STARTING, RUNNING, WAITING, REFUSED, STOPPED = "starting", "running", "waiting", "refused", "stopped"

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)


class State(NamedTuple):
    """What the worker does: one of the states above, and why."""

    name: str
    reason: str = ""


class WorkerProgress:
    """How one worker is doing.

    Args:
        clock: monotonic, in seconds.
        stuck_after_s: for how long blocks of a partition may wait while it does not move, and the log may
            give no answer.
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
        self._stillness = Stillness()
        self._member = False
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

    def still_starting(self, reason: str) -> bool:
        """Say what a worker that has not been given partitions waits for; whether it still does."""
        with self._guard:
            if self._state.name != STARTING:
                return False
            self._state = State(STARTING, reason)
            return True

    def assigned(self, positions: Mapping[int, int]) -> None:
        """These partitions are the worker's, and the store stands there."""
        with self._guard:
            self._member = True
            self._applied = dict(positions)
            self._settle()

    def keeps(self, partitions: Container[int]) -> None:
        """Of its partitions, the worker has these only from now on."""
        with self._guard:
            self._applied = {each: at for each, at in self._applied.items() if each in partitions}

    def left(self, reason: str) -> None:
        """The worker is no member of its group any more: it has no partitions, and waits for this."""
        with self._guard:
            self._member = False
            self._applied = {}
            self._state = State(WAITING, reason)

    def applied(self, positions: Mapping[int, int]) -> None:
        """The store has moved on to these positions."""
        with self._guard:
            for partition, position in positions.items():
                if partition in self._applied:
                    self._applied[partition] = position
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
        seen = {each: at for each, at in self._applied.items() if each in self._ends}
        self._stillness.note(seen, self._ends, self._clock())

    def _lag(self) -> dict[int, int]:
        return {
            partition: max(0, self._ends[partition] - position)
            for partition, position in self._applied.items()
            if partition in self._ends
        }

    # ------------------------------------------------------------------------------- read by everybody

    def turns(self) -> bool:
        """Whether the worker came round within the last seconds; an unavailable store does not matter."""
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
        """Where the log ended when its ends were read last."""
        with self._guard:
            return dict(self._ends)

    def lag(self) -> dict[int, int]:
        """How many blocks of each of the worker's partitions wait, of those whose end was ever seen.

        While the log is silent that is the lag behind its ends as they were seen last.
        """
        with self._guard:
            return self._lag()

    def behind(self) -> int | None:
        """How many blocks of the worker's partitions wait; None when nobody knows.

        That is before it has joined its group, after it has left it, and before the log has answered.
        """
        with self._guard:
            lag = self._lag()
            return sum(lag.values()) if self._member and len(lag) == len(self._applied) else None

    def nothing_moves_s(self) -> float:
        """For how many seconds blocks have waited while no partition moved; 0 while none waits.

        Not while the log is silent: nothing is known then, and nobody else could do better.
        """
        with self._guard:
            return (
                0.0
                if self._silent is not None
                else self._stillness.nothing_moves_s(self._applied, self._clock())
            )

    def one_stands_still_s(self) -> float:
        """For how many seconds the partition that stands still the longest has done so, as above."""
        with self._guard:
            return (
                0.0
                if self._silent is not None
                else max(self._stillness.seconds(self._applied, self._clock()).values(), default=0.0)
            )

    def still(self) -> str:
        """The partitions that stand still, as a reason."""
        with self._guard:
            return "; ".join(self._still_ones(0.0))

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
        reason = (
            f"since this worker started, {count} events could not be folded and were set aside as dead"
            " letters: upgrade, then `loopline replay`"
        )
        return [reason]

    def _reasons(self) -> Iterable[str]:
        name, why = self._state
        now = self._clock()
        if name == REFUSED:
            yield f"the worker refuses to run: {why}"
        elif name != RUNNING:
            yield f"the worker is {name}" + (f": {why}" if why else "")
        if self._silent is not None and now - self._silent[0] >= self.stuck_after_s:
            yield f"the log has not answered for {now - self._silent[0]:.0f} s: {self._silent[1]}"
        yield from self._still_ones(self.stuck_after_s)

    def _still_ones(self, long_s: float) -> Iterable[str]:
        """What stands still for so long: all that have blocks to wait for, or some by name."""
        lag, now = self._lag(), self._clock()
        nothing_s = self._stillness.nothing_moves_s(self._applied, now)
        if nothing_s >= long_s and nothing_s > 0:
            waiting = {each: at for each, at in self._applied.items() if lag.get(each)}
            yield (
                f"{sum(lag.values())} blocks wait at {format_positions(waiting)} and nothing has moved for"
                f" {nothing_s:.0f} s"
            )
            return
        for partition, still_s in self._stillness.seconds(self._applied, now).items():
            if still_s >= long_s:
                yield while_others_did(partition, still_s, lag[partition], self._applied[partition])


class _Gauges:
    """Gauges that are computed for each scrape."""

    def __init__(self, progress: WorkerProgress) -> None:
        self._progress = progress

    def collect(self) -> Iterable[Metric]:
        lag = GaugeMetricFamily(
            "loopline_worker_lag_blocks",
            "Blocks of this worker's partitions that are not in the views yet.",
            labels=["partition"],
        )
        for partition, blocks in self._progress.lag().items():
            lag.add_metric([name_of(partition)], blocks)
        yield lag
        ready = not self._progress.reasons()
        yield GaugeMetricFamily("loopline_worker_ready", "1 while /readyz answers 200.", value=int(ready))
