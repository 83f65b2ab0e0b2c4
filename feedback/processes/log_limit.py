"""How often the same warning is written: at once, then once a minute with how many there were.

A client of a broker that is away says so a hundred times a second, each time in the same words: a change of
state stands out only if what repeats does not bury it. Warnings and errors are the same when logger, level,
event and texts are, numbers too, but for durations. Of those that differ in numbers and ids only, five a
minute are written. Whatever else differs is written at once.

Always written: what is no warning; a line with a `count`, which is a sum already; and a change of state,
which its writer marks by `changed=True`.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, MutableMapping
from typing import Any, Generic, TypeVar

import structlog

EVERY_S = 60.0
ALIKE = 5
_MOST = 500
_LIMITED = ("warning", "error", "exception", "critical")
# Whatever holds a digit: addresses in memory, ids, ports, offsets.
_NUMBERED = re.compile(r"[\w-]*\d[\w-]*")

Fields = MutableMapping[str, Any]
T = TypeVar("T")


class LogLimit:
    """A processor of structlog's that leaves out what was said a short while ago.

    The next line that is written says so: `repeated`, how often this very one was left out, and
    `repeated_for_s`, since when it is said; `alike`, how many of its kind were.

    Args:
        clock: monotonic, in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._lines = _Recent(_Line)
        self._kinds = _Recent(_Kind)

    def __call__(self, logger: Any, method: str, fields: Fields) -> Fields:
        """The line, if it is to be written. Raises structlog.DropEvent."""
        changed = fields.pop("changed", False)
        if changed or method not in _LIMITED or "count" in fields:
            return fields
        same, alike = _keys(method, fields)
        with self._guard:
            more = self._look(same, alike, self._clock())
        if more is None:
            raise structlog.DropEvent
        fields.update(more)
        return fields

    def _look(self, same: Hashable, alike: Hashable, now: float) -> dict[str, Any] | None:
        """What a line that is to be written says besides; None when it is left out."""
        line = self._lines.get(same, now)
        if now - line.written < EVERY_S:
            line.left_out += 1
            line.came = now
            return None
        kind = self._kinds.get(alike, now)
        if now - kind.since >= EVERY_S:
            kind.since, kind.written = now, 0
        if kind.written >= ALIKE:
            kind.left_out += 1
            return None
        more: dict[str, Any] = {}
        if line.left_out:
            more = {"repeated": line.left_out, "repeated_for_s": round(now - line.since)}
        if kind.left_out:
            more["alike"] = kind.left_out
        if now - line.came >= EVERY_S:
            # It was over meanwhile: what comes now is said from now on.
            line.since = now
        line.written = line.came = now
        line.left_out = kind.left_out = 0
        kind.written += 1
        return more


class _Line:
    """One line: since when it is said, when it came and was written last, how often it was left out since."""

    def __init__(self, now: float) -> None:
        self.since = self.came = now
        self.written = float("-inf")
        self.left_out = 0


class _Kind:
    """Lines that are alike: how many different ones were written since when, and how many left out."""

    def __init__(self, now: float) -> None:
        self.since = now
        self.written = self.left_out = 0


class _Recent(Generic[T]):
    """What was met lately, and not more of it than memory bears."""

    def __init__(self, make: Callable[[float], T]) -> None:
        self._make = make
        self._known: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, now: float) -> T:
        """What is known by that key, made now when it is new."""
        found = self._known.pop(key, None)
        if found is None:
            found = self._make(now)
            if len(self._known) >= _MOST:
                self._known.popitem(last=False)
        self._known[key] = found
        return found


def _keys(method: str, fields: Fields) -> tuple[Hashable, Hashable]:
    """What is the same of two lines that are the same, and of two that are alike."""
    said = [(name, _text(value)) for name, value in sorted(fields.items()) if not name.endswith("_s")]
    return (method, *said), (method, *((name, _NUMBERED.sub("#", text)) for name, text in said))


def _text(value: Any) -> str:
    """A field as text; of an error what it is and says, not where it came from."""
    if value is True:
        value = sys.exc_info()[1] or value
    elif isinstance(value, tuple) and len(value) == 3:
        value = value[1]
    return f"{type(value).__name__}: {value}" if isinstance(value, BaseException) else str(value)
