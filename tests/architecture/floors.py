"""Which way the rooms lean: schemas < models < streams < feedback, and what may be imported where.

Run by `make lint` (`python -m tests.architecture.floors`) and by the tests; reading is left to `source`.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from tests.architecture.source import CLIENT, ENTRY, ROOMS, Import, Module, read

Modules = Mapping[str, Module]

ADAPTERS = {
    "aiokafka": "streams.kafka",
    "faust": "streams.kafka",
    "kafka": "streams.kafka",
    "psycopg": "streams.store.postgres",
}
"""Libraries of a service, and the one adapter folder that may know each."""

HEAVY = {"great_expectations", "pandas", "sklearn"}
"""Seconds to import, megabytes to hold: never on the ingest path."""

HEAVY_FOR_HELP = HEAVY | {"datasets", "mlcroissant", "numpy", "pyarrow", "scipy"} | ADAPTERS.keys()
"""What the command line may not load before a command needs it."""

FOLDING = ("streams.projection.apply", "streams.projection.rebuild", "feedback.installation.rebuild")
"""What moves views forward, builds them anew and verifies them."""

CLIENT_NEEDS = {"msgspec"}
CLIENT_DATASETS_NEEDS = {"pandas", "pyarrow"}
"""What `loopline[datasets]` adds, for `loopline.datasets` alone and only when it is called."""

OUTSIDE_THE_PRODUCT = {"benchmarks", "tests"}


def top(name: str) -> str:
    """The first part of a dotted name."""
    return name.partition(".")[0]


def within(name: str, package: str) -> bool:
    """Whether a module is that package or lies in it."""
    return name == package or name.startswith(package + ".")


def _every(modules: Modules) -> Iterable[Import]:
    seen: set[tuple[str, int, str]] = set()
    for module in modules.values():
        for each in module.imports:
            # `from pandas import A, B` names pandas three times; one complaint is enough.
            key = (each.module, each.line, top(each.target))
            if key not in seen:
                seen.add(key)
                yield each


def _said(each: Import, rule: str) -> str:
    return f"{each.module}:{each.line} imports {each.target}: {rule}"


def check_floors(modules: Modules) -> list[str]:
    """A room imports only itself, the rooms below it and the client."""
    found = []
    for each in _every(modules):
        room, wanted = top(each.module), top(each.target)
        if wanted in OUTSIDE_THE_PRODUCT:
            found.append(_said(each, "the product does not know its tests and benchmarks"))
        elif room in ROOMS and wanted in ROOMS and ROOMS.index(wanted) > ROOMS.index(room):
            found.append(_said(each, f"{room} is below {wanted}"))
        elif wanted == ENTRY and room != ROOMS[-1]:
            found.append(_said(each, f"only {ROOMS[-1]} starts processes"))
    return found


def check_client(modules: Modules) -> list[str]:
    """The client imports no room, and of other people's packages msgspec only; datasets adds two, late."""
    found = []
    for each in _every(modules):
        wanted = top(each.target)
        if top(each.module) != CLIENT or wanted == CLIENT or wanted in sys.stdlib_module_names:
            continue
        if wanted in ROOMS:
            found.append(_said(each, "the client is a distribution of its own and knows no room"))
        elif wanted in CLIENT_DATASETS_NEEDS and within(each.module, f"{CLIENT}.datasets"):
            continue
        elif wanted not in CLIENT_NEEDS:
            found.append(_said(each, f"the client needs {', '.join(sorted(CLIENT_NEEDS))} only"))
    return found


def check_adapters(modules: Modules) -> list[str]:
    """The library of a broker or a database is known in one adapter folder."""
    return [
        _said(each, f"only {ADAPTERS[top(each.target)]} knows this library")
        for each in _every(modules)
        if not within(each.module, ADAPTERS.get(top(each.target), top(each.module)))
    ]


def loaded_by(modules: Modules, start: str) -> dict[str, list[str]]:
    """All that importing `start` loads, ours and other people's, each with the chain that leads to it."""
    chains: dict[str, list[str]] = {start: [start]}
    queue = deque([start])
    while queue:
        name = queue.popleft()
        targets = _parents(name)
        if name in modules:
            targets += [each.target for each in modules[name].imports if each.on_load]
        for target in [step for one in targets for step in [*_parents(one), one]]:
            # `from schemas import parse` names schemas.parse, which may be a function and no module.
            if target not in chains and (target in modules or top(target) not in {*ROOMS, CLIENT}):
                chains[target] = [*chains[name], target]
                queue.append(target)
    return chains


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _heavy(modules: Modules, starts: Iterable[str], refused: set[str], rule: str) -> list[str]:
    found: dict[tuple[str, str], str] = {}
    for start in starts:
        for name, chain in loaded_by(modules, start).items():
            if name in refused:
                found.setdefault((chain[-2], name), f"{' -> '.join(chain)}: {rule}")
    return list(found.values())


def check_ingest_path(modules: Modules) -> list[str]:
    """Nothing that `streams` loads, or imports later, is heavy."""
    rule = "never on the ingest path"
    starts = [name for name in modules if within(name, "streams")]
    late = [
        _said(each, rule)
        for each in _every(modules)
        if top(each.module) in {"schemas", "streams"} and top(each.target) in HEAVY and not each.on_load
    ]
    return _heavy(modules, starts, HEAVY, rule) + late


def check_folding(modules: Modules) -> list[str]:
    """Folding the log loads nothing that decides, so no replay, rebuild or verification decides anew."""
    deciding = {name for name in modules if within(name, "streams.deciders")}
    starts = [name for name in FOLDING if name in modules]
    return _heavy(modules, starts, deciding, "folding the log again decides nothing")


def check_quick_start(modules: Modules) -> list[str]:
    """`loopline --help` and `import loopline` load nothing heavy."""
    starts = [name for name in ("feedback.cli", CLIENT) if name in modules]
    return _heavy(modules, starts, HEAVY_FOR_HELP, "imported before it is needed")


def check_circles(modules: Modules) -> list[str]:
    """No module needs one that needs it, be it later or for types. A package and what lies in it are one."""
    needs = {
        name: {
            each.target
            for each in module.imports
            if each.target in modules and not within(name, each.target) and not within(each.target, name)
        }
        for name, module in modules.items()
    }
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        return [f"{' <- '.join(error.args[1])}: a circle"]
    return []


CHECKS: tuple[Callable[[Modules], list[str]], ...] = (
    check_floors,
    check_client,
    check_adapters,
    check_ingest_path,
    check_folding,
    check_quick_start,
    check_circles,
)


def violations(modules: Modules) -> list[str]:
    """What any of the checks has found."""
    return [each for check in CHECKS for each in check(modules)]


def main() -> int:
    """Print what is wrong; exit status 1 if anything is."""
    modules = read()
    found = violations(modules)
    for each in found:
        print(each)
    print(f"{len(modules)} modules, {len(found)} imports against the floors")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
