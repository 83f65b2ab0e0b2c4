"""`loopline --help`: the wall time from the shell's point of view."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.measuring import quantile
from benchmarks.report import Row
from benchmarks.scale import Scale


def _run(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def measure(scale: Scale) -> list[Row]:
    """The row: the median of so many runs; a bare interpreter's is told beside it."""
    beside = Path(sys.executable).with_name("loopline")
    command = (
        [str(beside)]
        if beside.exists()
        else [sys.executable, "-c", "from loopline_platform import main; main()"]
    )
    runs = scale.rounds * 3
    _run([*command, "--help"])
    bare, helped = [], []
    for _ in range(runs):
        bare.append(_run([sys.executable, "-c", "pass"]))
        helped.append(_run([*command, "--help"]))
    return [
        Row(
            name="help",
            what="loopline --help, wall time at the median",
            bound=0.3,
            reached=quantile(helped, 0.5),
            unit="s",
            low=min(helped),
            high=max(helped),
            details={"a bare interpreter (s)": quantile(bare, 0.5), "runs": runs},
        )
    ]
