"""Trials: real data through the real stack, and what came out against what the data says.

`python -m benchmarks trial NAME` reads a folder of public data from where LOOPLINE_DATA points; the project
ships none of it. Which data there is, is in `sources`; sending and comparing is in `running`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from benchmarks.trials.sources import TRIALS

VARIABLE = "LOOPLINE_DATA"


def main(arguments: list[str]) -> int:
    """Run the trials of these names, all when there are none. Exit status 1 when something differs."""
    from benchmarks.trials.running import run

    unknown = sorted(set(arguments) - set(TRIALS))
    if unknown:
        print(f"there is no trial {unknown[0]}; there are {', '.join(TRIALS)}", file=sys.stderr)
        return 2
    root = os.environ.get(VARIABLE)
    differences = 0
    for name in arguments or TRIALS:
        folder = Path(root or "") / name
        if not root or not folder.is_dir():
            print(f"{name}: not tried: {VARIABLE} names no folder with {name}/ in it")
            continue
        differences += run(name, TRIALS[name], folder)
    return 1 if differences else 0


__all__ = ["main"]
