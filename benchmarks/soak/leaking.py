"""A process that leaks, so that the soak is seen to find it: `python -m benchmarks.soak.leaking KIND`.

KIND is `descriptors`, `threads`, `memory` or `temporary files`, or `nothing`; it leaks four times a second,
until its standard input ends. Temporary files go where TMPDIR says.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping

_PIECE = 2 * 1024 * 1024
_kept: list[object] = []


def _descriptors() -> None:
    _kept.extend(os.dup(0) for _ in range(4))


def _threads() -> None:
    threading.Thread(target=threading.Event().wait, daemon=True).start()


def _memory() -> None:
    _kept.append(bytearray(os.urandom(1024)) * (_PIECE // 1024))


def _files() -> None:
    descriptor, _ = tempfile.mkstemp()
    os.close(descriptor)


LEAKS: Mapping[str, Callable[[], None]] = {
    "descriptors": _descriptors,
    "threads": _threads,
    "memory": _memory,
    "temporary files": _files,
    "nothing": lambda: None,
}


def main() -> None:
    """Leak until standard input ends."""
    leak = LEAKS[sys.argv[1]]
    over = threading.Event()

    def wait() -> None:
        sys.stdin.read()
        over.set()

    threading.Thread(target=wait, daemon=True).start()
    while not over.is_set():
        leak()
        time.sleep(0.25)


if __name__ == "__main__":
    main()
