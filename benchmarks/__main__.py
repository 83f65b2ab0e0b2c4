"""`python -m benchmarks`: measure every row, and print what was reached against what was promised.

Each row runs in a process of its own, so that none inherits another's memory; with `--only` it runs here.
`trial NAME` sends real data through the real stack instead (`benchmarks.trials`).
"""

from __future__ import annotations

import argparse
import importlib
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks.report import Machine, Row, details, heading, table, this_machine
from benchmarks.scale import Scale, quick

# Where each group of rows is measured, in the order of the table.
GROUPS = {
    "append": ("benchmarks.append", "measure"),
    "http-batches": ("benchmarks.over_http", "measure_batches"),
    "http-single": ("benchmarks.over_http", "measure_singles"),
    "worker": ("benchmarks.worker", "measure"),
    "hot": ("benchmarks.hot", "measure"),
    "growth": ("benchmarks.growth", "measure"),
    "replay": ("benchmarks.replay", "measure"),
    "release": ("benchmarks.release", "measure"),
    "help": ("benchmarks.command_line", "measure"),
    "client": ("benchmarks.client_calls", "measure"),
    "visible": ("benchmarks.visible", "measure"),
    "cluster-faust": ("benchmarks.cluster.workers", "measure"),
    "cluster-collector": ("benchmarks.cluster.collectors", "measure"),
    "cluster-sustained": ("benchmarks.cluster.end_to_end", "measure_sustained"),
    "cluster-scaling": ("benchmarks.cluster.end_to_end", "measure_scaling"),
    "cluster-growth": ("benchmarks.cluster.growth", "measure"),
}


class Report(msgspec.Struct):
    """A whole run."""

    machine: Machine
    quick: bool
    rows: list[Row]


def measure(name: str, scale: Scale) -> list[Row]:
    """The rows of one group, measured in this process."""
    module, function = GROUPS[name]
    measured: Callable[[Scale], list[Row]] = getattr(importlib.import_module(module), function)
    if not name.startswith("cluster-"):
        return measured(scale)
    from tests.services.kafka.broker import KafkaMissing
    from tests.services.postgres import PostgresMissing

    try:
        return measured(scale)
    except (KafkaMissing, PostgresMissing) as missing:
        return [
            Row(
                name=name,
                what="a broker or a PostgreSQL is missing",
                bound=0,
                reached=None,
                note=str(missing),
            )
        ]


def _apart(name: str, scale: Scale) -> list[Row]:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--scale", msgspec.json.encode(scale).decode(), name],
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        return [
            Row(
                name=name,
                what="failed: see above",
                bound=0,
                reached=None,
                note=f"the measurement ended with status {done.returncode}",
            )
        ]
    return msgspec.json.decode(done.stdout, type=list[Row])


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="less than a minute: does everything run?")
    parser.add_argument(
        "--only", action="append", choices=list(GROUPS), metavar="NAME", help=", ".join(GROUPS)
    )
    parser.add_argument(
        "--events", type=int, help="length of the long run of `growth`, 20,000,000 by default"
    )
    parser.add_argument("--cluster-events", type=int, help="length of `cluster-growth`, 1,000,000 by default")
    parser.add_argument("--plot", type=Path, help="where to draw how the cost grows (SVG)")
    parser.add_argument("--labels", type=int, help="labels of `release`, 1,000,000 by default")
    parser.add_argument("--rounds", type=int, help="how often the sides of a ratio take turns")
    parser.add_argument(
        "--dir", type=Path, help="a folder on the disk to measure; the system's own by default"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document on standard output")
    parser.add_argument("--scale", help=argparse.SUPPRESS)
    parser.add_argument("group", nargs="?", help=argparse.SUPPRESS)
    return parser


def _scale(chosen: argparse.Namespace, folder: str) -> Scale:
    scale = quick(folder) if chosen.quick else Scale(folder=folder)
    if chosen.events:
        scale.last_events = chosen.events
        scale.first_events = min(scale.first_events, max(chosen.events // 4, 1))
    if chosen.cluster_events:
        scale.cluster_growth = chosen.cluster_events
    if chosen.plot:
        scale.plot = str(chosen.plot.absolute())
    if chosen.labels:
        scale.labels = chosen.labels
    if chosen.rounds:
        scale.rounds = scale.cluster_rounds = chosen.rounds
    return scale


def main(arguments: list[str]) -> int:
    """Measure. Exit status 0 when every row was measured, whatever the verdicts; 1 when one could not be."""
    if arguments[:1] == ["trial"]:
        from benchmarks.trials import main as try_real_data

        return try_real_data(arguments[1:])
    chosen = _arguments().parse_args(arguments)
    if chosen.scale:
        scale = msgspec.json.decode(chosen.scale, type=Scale)
        sys.stdout.buffer.write(msgspec.json.encode(measure(chosen.group, scale)))
        return 0
    machine = this_machine()
    print(heading(machine), file=sys.stderr if chosen.json else sys.stdout, flush=True)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(dir=chosen.dir, prefix="loopline-bench-") as folder:
        scale = _scale(chosen, folder)
        for name in chosen.only or GROUPS:
            print(f"measuring {name} ...", file=sys.stderr, flush=True)
            rows += _apart(name, scale)
    if chosen.json:
        sys.stdout.buffer.write(msgspec.json.encode(Report(machine, chosen.quick, rows)) + b"\n")
    else:
        print("\n".join(["", *table(rows), "", *details(rows)]))
        if chosen.quick:
            print("\nA quick run says that everything runs; its numbers are too small to hold anybody to.")
    return 0 if all(row.reached is not None for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
