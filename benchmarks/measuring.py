"""How the benchmarks measure: CPU seconds, sides in turns, medians.

Both sides of a ratio are run in turns within one run, so that a busy machine disturbs both, and the ratio
is that of the medians. What is measured is left to the rows.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median

Side = Callable[[], float]
"""One round of one side: runs it, and gives what it cost."""

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu(work: Callable[[], object]) -> float:
    """CPU seconds of this process, all its threads and the kernel on its behalf, while `work` runs."""
    gc.collect()
    started = time.process_time()
    work()
    return time.process_time() - started


def in_turns(sides: Mapping[str, Side], rounds: int, *, warm: bool = True) -> dict[str, list[float]]:
    """Every side's costs: A B, B A, A B and so on; with `warm` after one round that is not counted."""
    costs: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(0 if warm else 1, rounds + 1):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            cost = sides[name]()
            if number:
                costs[name].append(cost)
    return costs


def ratio(over: list[float], under: list[float]) -> float:
    """The ratio of the medians."""
    return median(over) / median(under)


def spread(over: list[float], under: list[float]) -> tuple[float, float]:
    """The lowest and highest ratio of any one round."""
    ratios = [first / second for first, second in zip(over, under, strict=True)]
    return min(ratios), max(ratios)


def cpu_of(pid: int) -> float:
    """CPU seconds that another process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_of_tree(pids: list[int]) -> float:
    """CPU seconds of a process and its children so far, the first of `pids` before the others.

    Children that have ended and were waited for count too: the system adds them to their parent.
    """
    fields = Path(f"/proc/{pids[0]}/stat").read_text().rpartition(")")[2].split()
    total = sum(int(field) for field in fields[11:15]) / _TICKS
    for pid in pids[1:]:
        # One that ends while its line is read is counted with its parent the next time.
        with contextlib.suppress(OSError):
            total += cpu_of(pid)
    return total


def cpu_of_machine() -> float:
    """CPU seconds that were spent on this machine so far, by whomever."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    busy = sum(int(fields[index]) for index in (0, 1, 2, 5, 6))
    return busy / _TICKS


def peak_mib() -> float:
    """The largest resident size of this process so far, in MiB."""
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib / (1024 * 1024 if sys.platform == "darwin" else 1024)


def resident_mib() -> float:
    """The resident size of this process now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of the values lies."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]
