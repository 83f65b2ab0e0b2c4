"""The entry to the platform: it finds our rooms, whatever else on the path is called `models` or `schemas`.

`loopline` begins here, and so does every process that the platform starts. The rooms have plain names, and
a product's repository may well have a folder of the same name: with `PYTHONPATH=.` Python would take that
one for ours. A finder in front of all others answers for the rooms, and for nothing else.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROOMS = ("schemas", "models", "streams", "feedback")
ROOT = Path(__file__).resolve().parent
"""The folder in which the rooms lie side by side with this module."""


class RoomFinder:
    """Finds each room beside this module, before Python looks along `sys.path`."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where a room is; None for every other module, and for what lies inside a room."""
        if path is None and name in ROOMS:
            return PathFinder.find_spec(name, [str(ROOT)], target)
        return None


def find_own_rooms() -> None:
    """Let every import of a room mean ours, from now on and in this process."""
    if RoomFinder not in sys.meta_path:
        sys.meta_path.insert(0, RoomFinder)


def process_command(module: str) -> list[str]:
    """The command that runs a module of the platform as a process of its own; its arguments come behind.

    It starts without the working folder on the path (`-P`), and begins in this module.
    """
    return [sys.executable, "-P", "-m", __name__, module]


def main() -> None:
    """The command line."""
    find_own_rooms()
    from feedback.cli import main as command

    command()


def _run_module() -> None:
    """Run the module that the first argument names, as if Python had been told to."""
    find_own_rooms()
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _run_module()
