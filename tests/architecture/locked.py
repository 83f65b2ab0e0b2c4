"""Whether the lock, the project files and the imports tell the same story.

The lock is written by `make lock`; whether its versions work together is left to the tests that run on them.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.floors import top
from tests.architecture.source import CLIENT, ENTRY, ROOMS, Module

_HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}( \\)?")
HOST = re.compile(r"https?://|--(?:index-url|extra-index-url|find-links|trusted-host)|\bfile:", re.IGNORECASE)


def declared(pyproject: Path, *extras: str) -> list[Requirement]:
    """What a project file says it needs, with these extras."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    listed = [
        *project["dependencies"],
        *(each for extra in extras for each in project["optional-dependencies"][extra]),
    ]
    return [Requirement(each) for each in listed]


def pinned(lock: str) -> dict[str, list[Requirement]]:
    """The lock's pins by name; a package may have several, each for other Pythons or systems."""
    pins: dict[str, list[Requirement]] = {}
    for line in lock.splitlines():
        text = line.partition("#")[0].strip().removesuffix("\\").strip()
        if text and not text.startswith("-"):
            pin = Requirement(text)
            pins.setdefault(canonicalize_name(pin.name), []).append(pin)
    return pins


def unhashed(lock: str) -> list[str]:
    """The lines of a lock that are neither a pin with hashes behind it nor one of its hashes."""
    lines = [line for line in lock.splitlines() if line.strip() and not line.startswith("#")]
    found = []
    for line, behind in zip(lines, [*lines[1:], ""], strict=True):
        good: object
        if line.startswith(" "):
            good = _HASH.fullmatch(line.strip()) and line.endswith("\\") == behind.startswith(" ")
        else:
            good = line.endswith(" \\") and _HASH.fullmatch(behind.strip())
        if not good:
            found.append(f"there is no hash for {line.strip()}")
    return found


def check_lock(lock: str, requirements: Iterable[Requirement]) -> list[str]:
    """No host, everything pinned exactly and with its hashes, and every requirement met."""
    found = [
        f"line {n} names a place: {line}" for n, line in enumerate(lock.splitlines(), 1) if HOST.search(line)
    ]
    found += unhashed(lock)
    pins = pinned(lock)
    found += [
        f"{pin} is not an exact version"
        for several in pins.values()
        for pin in several
        if not re.fullmatch(r"==[^*,]+", str(pin.specifier))
    ]
    for wanted in requirements:
        name = canonicalize_name(wanted.name)
        if name == CLIENT:
            continue
        versions = [spec.version for pin in pins.get(name, []) for spec in pin.specifier]
        if not versions:
            found.append(f"{name} is declared and not locked")
        elif not all(wanted.specifier.contains(version, prereleases=True) for version in versions):
            found.append(f"{name} {versions} does not fit {wanted}")
    return found


def check_runtime(runtime: str, lock: str, requirements: Iterable[Requirement]) -> list[str]:
    """What the image installs is part of the lock, line by line, and has everything that is declared."""
    whole = set(lock.splitlines())
    found = [f"not in the lock: {line}" for line in runtime.splitlines() if line not in whole]
    return found + check_lock(runtime, requirements)


def needed(start: Iterable[Requirement], needs: Callable[[str], Iterable[Requirement]]) -> set[str]:
    """The names of all distributions that these lead to on this machine; `needs` gives what one asks for."""
    asked: set[tuple[str, str]] = set()
    queue = [(each, "") for each in start]
    while queue:
        wanted, extra = queue.pop()
        if wanted.marker and not wanted.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(wanted.name)
        for each in {("", name), *((one, name) for one in wanted.extras)} - asked:
            asked.add(each)
            queue += [(further, each[0]) for further in needs(name)]
    return {name for _, name in asked}


def check_declared(
    modules: Mapping[str, Module], needs: Iterable[str], providers: Mapping[str, Sequence[str]]
) -> list[str]:
    """Every foreign import comes from a declared distribution, not from one that merely came along.

    `providers` maps the name one imports to the distributions that bring it.
    """
    allowed = {canonicalize_name(name) for name in needs}
    found = []
    for module in modules.values():
        for each in module.imports:
            wanted = top(each.target)
            if wanted in sys.stdlib_module_names or wanted in {*ROOMS, CLIENT, ENTRY}:
                continue
            brings = {canonicalize_name(name) for name in providers.get(wanted, [])}
            if not brings & allowed:
                found.append(f"{each.module}:{each.line} imports {wanted}, which no dependency declares")
    return sorted(set(found))
