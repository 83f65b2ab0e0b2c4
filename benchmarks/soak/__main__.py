"""`make soak ARGS="--minutes 10"`: the embedded server and a cluster, side by side, for so long.

The exit status is 0 when nothing grew, every accepted event counts once and the views are what the log says,
else 1.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from benchmarks.soak import servers
from benchmarks.soak.leaking import LEAKS
from benchmarks.soak.load import Unanswered
from benchmarks.soak.running import report, soak

ENGINES: Mapping[str, Callable[[], AbstractContextManager[servers.Servers]]] = {
    "embedded": servers.embedded,
    "cluster": servers.cluster,
}


def main(arguments: list[str] | None = None) -> int:
    """Soak; returns the exit status."""
    parser = argparse.ArgumentParser(prog="benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=2.0, help="how long (default: 2)")
    parser.add_argument("--engine", choices=("both", *ENGINES), default="both")
    parser.add_argument("--leak", choices=tuple(LEAKS), default="", help="plant a leak: the soak must fail")
    parser.add_argument("--quiet", action="store_true", help="say nothing on the way")
    chosen = parser.parse_args(arguments)
    # Told to end, it ends what it started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if chosen.minutes <= 0:
        parser.error("--minutes is more than 0")
    if chosen.engine == "both":
        return _both(sys.argv[1:] if arguments is None else arguments)
    run_s = chosen.minutes * 60

    def tell(line: str) -> None:
        if not chosen.quiet:
            print(f"{chosen.engine}: {line}", file=sys.stderr, flush=True)

    try:
        with ENGINES[chosen.engine]() as venue:
            outcome = soak(venue, run_s, chosen.leak, tell)
    except (servers.Failed, Unanswered) as error:
        traceback.print_exc()
        print(f"soak {chosen.engine}: FAILED: {error}")
        return 1
    print(report(chosen.engine, outcome, run_s))
    return 1 if outcome.wrong else 0


def _both(arguments: list[str]) -> int:
    """Each engine in a process of its own, at the same time; their tables one after the other."""
    running = {
        engine: subprocess.Popen(
            [sys.executable, "-m", "benchmarks.soak", *arguments, "--engine", engine],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for engine in ENGINES
    }
    failed = []
    try:
        for engine, process in running.items():
            said, _ = process.communicate()
            print(f"\n{said}", flush=True)
            if process.returncode:
                failed.append(engine)
    finally:
        for process in running.values():
            process.terminate()
            process.wait()
    print(f"soak: FAILED: {' and '.join(failed)}" if failed else "soak: nothing grew")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
