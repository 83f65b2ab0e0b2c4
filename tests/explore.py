"""Property tests on examples that nobody has seen: `make explore`, for a bounded time.

`make test` draws the same examples in every run. This draws new ones, round after round, each from a seed
that is printed before it begins; `make explore ARGS="--seed N"` is that round again. Time that runs out in
the middle of a round ends it, without a verdict on what it had not reached.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
_NO_TESTS = 5
_BEGUN = "{seed}: a round with this seed; it is repeated by: make explore ARGS='--seed {seed}'"


def round_command(seed: int, paths: Sequence[str]) -> list[str]:
    """The command of one round: every property test in these paths, on the examples of a seed."""
    words = [sys.executable, "-m", "pytest", "-q", "-x", "-m", "hypothesis"]
    return [*words, "--hypothesis-profile=explore", f"--hypothesis-seed={seed}", *paths]


def _run(command: Sequence[str], most_s: float | None) -> int | None:
    """The exit status of a round; None where the time was over. It is interrupted, to clean up."""
    with subprocess.Popen(command, cwd=ROOT) as process:
        try:
            return process.wait(most_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return None


def explore(seeds: Sequence[int] | None, minutes: float, paths: Sequence[str]) -> int:
    """Run rounds until the time is over, one fails, or the given seeds are done. Returns the exit status."""
    ends = time.monotonic() + 60 * minutes
    done = 0
    while (left := ends - time.monotonic()) > 0 and (seeds is None or done < len(seeds)):
        seed = secrets.randbelow(2**32) if seeds is None else seeds[done]
        print(_BEGUN.format(seed=seed), flush=True)
        # A given seed is tried whole; else the time is a bound on all rounds together.
        status = _run(round_command(seed, paths), left if seeds is None else None)
        if status is None:
            break
        if status:
            word = "found no property test" if status == _NO_TESTS else "failed"
            print(f"{seed}: the round {word}", flush=True)
            return status
        done += 1
    print(f"{done} whole rounds passed in the time given", flush=True)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of `make explore`."""
    parser = argparse.ArgumentParser(prog="make explore", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0, help="how long in all (default: %(default)g)")
    parser.add_argument(
        "--seed", type=int, action="append", dest="seeds", help="repeat the round of this seed"
    )
    parser.add_argument("paths", nargs="*", default=["tests"], help="where to look (default: tests)")
    given = parser.parse_args(arguments)
    return explore(given.seeds, given.minutes, given.paths)


if __name__ == "__main__":
    sys.exit(main())
