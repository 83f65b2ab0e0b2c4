"""Ports for servers that tests start, and that may come back to theirs after they were away."""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import socket
from collections.abc import Iterable

# Below the range that the system hands out to connections: while a server is away its port stays its own.
_FIRST, _LAST = 20_000, 32_000
_SLICES = 12


def ports_of_process() -> range:
    """The ports of this process: pytest-xdist numbers the ones that run tests side by side."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    size = (_LAST - _FIRST) // _SLICES
    first = _FIRST + size * (int(worker) % _SLICES if worker.isdigit() else _SLICES - 1)
    return range(first, first + size)


def _in_turn() -> itertools.cycle[int]:
    ports = ports_of_process()
    begin = random.randrange(len(ports))
    return itertools.cycle([*ports[begin:], *ports[:begin]])


_PORTS = _in_turn()


def free_port(among: Iterable[int] = _PORTS) -> int:
    """A port that nobody listens on, and that no other test is given: not while this run lasts."""
    for port in among:
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("ports go round")
