"""What processes hold: descriptors, threads and memory as the system says, files as they lie on the disk."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

from benchmarks.soak.judging import Rest, Verdict, judge

_EVERY_S = 1.0
_AT_REST = 3
_APART_S = 0.2


Held = Mapping[tuple[str, int, str], tuple[float, float]]
"""What is held now: for a subject, its process (0 for a place) and a name, the value, and a cache's size."""


def of_process(pid: int) -> dict[str, float]:
    """Descriptors, threads and memory (bytes; of what is shared, its part); empty when it is gone."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            memory = next(int(line.split()[1]) for line in rollup if line.startswith("Pss:"))
        return {
            "descriptors": len(os.listdir(f"/proc/{pid}/fd")),
            "threads": len(os.listdir(f"/proc/{pid}/task")),
            "memory": memory * 1024.0,
        }
    except (OSError, StopIteration):
        return {}


def size_of(path: Path) -> int:
    """A file's size; 0 when there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


class Sampler:
    """Looks at the processes each second for their peaks, and on demand for their values at rest.

    Args:
        processes: the processes now, by what they are.
        places: further values, by subject and what.
        cache: how many bytes a process may keep of what it reads and writes, by what it is.
    """

    def __init__(
        self,
        processes: Callable[[], Mapping[str, int]],
        places: Callable[[], Mapping[tuple[str, str], float]] = dict,
        cache: Callable[[str], float] = lambda subject: 0.0,
    ) -> None:
        self._processes = processes
        self._places = places
        self._cache = cache
        self._began = time.monotonic()
        self._rests: defaultdict[tuple[str, int, str], list[Rest]] = defaultdict(list)
        self._born: dict[tuple[str, int], float] = {}
        self._peaks: defaultdict[tuple[str, int, str], float] = defaultdict(float)
        self._guard = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(_EVERY_S):
            with contextlib.suppress(OSError):
                self._held()

    def _held(self) -> Held:
        found: dict[tuple[str, int, str], tuple[float, float]] = {}
        for subject, pid in self._processes().items():
            for what, value in of_process(pid).items():
                found[subject, pid, what] = value, self._cache(subject) if what == "memory" else 0.0
        for (subject, what), value in self._places().items():
            found[subject, 0, what] = value, 0.0
        now = self.elapsed()
        with self._guard:
            for key, (value, _) in found.items():
                self._born.setdefault(key[:2], now if key[1] else 0.0)
                self._peaks[key] = max(self._peaks[key], value)
        return found

    def rest(self) -> None:
        """Take the values as they are at rest: the median of three looks."""
        looks = []
        for number in range(_AT_REST):
            time.sleep(_APART_S if number else 0)
            looks.append(self._held())
        now = self.elapsed()
        for key, (_, cache) in looks[-1].items():
            values = [look[key][0] for look in looks if key in look]
            self._rests[key].append(Rest(now, median(values), cache))

    def elapsed(self) -> float:
        """Seconds since it began to look."""
        return time.monotonic() - self._began

    def verdicts(self, warm_s: float) -> list[Verdict]:
        """What became of each value, of each life of each process, since the warm-up was over."""
        return [
            judge(subject, what, values, born=self._born[subject, pid], warm_s=warm_s, peak=self._peaks[key])
            for key, values in sorted(self._rests.items())
            for subject, pid, what in [key]
        ]
