"""What a benchmark answers, and the table that people read.

A row says what was promised, what was reached and on how much; whether it was met follows from the numbers.
"""

from __future__ import annotations

import datetime
import os
import platform
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec


class Row(msgspec.Struct, kw_only=True):
    """One line of the table.

    `bound` is the promise and `reached` what was measured, in `unit`; with `at_least` more is better.
    `reached` is None where it could not be measured, and `note` says why. `details` are the sides of the
    ratio and how much was run.
    """

    name: str
    what: str
    bound: float
    reached: float | None
    unit: str = "x"
    at_least: bool = False
    low: float | None = None
    high: float | None = None
    details: dict[str, float | int | str] = {}
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the promise holds; None when it was not measured."""
        if self.reached is None:
            return None
        return self.reached >= self.bound if self.at_least else self.reached <= self.bound

    @property
    def verdict(self) -> str:
        """The same as a word."""
        return {True: "met", False: "NOT MET", None: "not measured"}[self.met]


class Machine(msgspec.Struct):
    """Where and when it was measured."""

    date: str
    cores: int
    processor: str
    memory_gib: float
    python: str
    sqlite: str
    system: str
    load: float


def this_machine() -> Machine:
    """The machine that this runs on, now."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Machine(
        date=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        cores=os.cpu_count() or 0,
        processor=_processor(),
        memory_gib=round(memory, 1),
        python=platform.python_version(),
        sqlite=sqlite3.sqlite_version,
        system=platform.system(),
        load=round(os.getloadavg()[0], 2),
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def heading(machine: Machine) -> str:
    """The machine in a line."""
    return (
        f"{machine.date}, {machine.cores} cores ({machine.processor}), {machine.memory_gib:g} GiB,"
        f" {machine.system}, Python {machine.python}, SQLite {machine.sqlite}, load {machine.load:g}"
    )


def _number(value: float, unit: str) -> str:
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    text = f"{value:.{digits}f}"
    return f"{text}x" if unit == "x" else f"{text} {unit}"


def table(rows: Sequence[Row]) -> list[str]:
    """The rows as aligned lines: name, promise, what was reached, verdict, and the details below."""
    cells = [("row", "what", "target", "reached", "rounds", "verdict")]
    for row in rows:
        sign = "≥" if row.at_least else "≤"
        reached = "-" if row.reached is None else _number(row.reached, row.unit)
        rounds = "" if row.low is None or row.high is None else f"{row.low:.2f}–{row.high:.2f}"
        target = f"{sign} {_number(row.bound, row.unit)}"
        cells.append((row.name, row.what, target, reached, rounds, row.verdict))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return lines


def details(rows: Sequence[Row]) -> list[str]:
    """What lies behind each row."""
    lines = []
    for row in rows:
        told = ", ".join(f"{name} {_detail(value)}" for name, value in row.details.items())
        lines.append(f"{row.name}: {told}" + (f". {row.note}" if row.note else ""))
    return lines


def _detail(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
