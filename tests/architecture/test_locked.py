"""The lock names no registry and covers what is declared; what is imported is declared."""

from __future__ import annotations

from importlib.metadata import packages_distributions, requires

import pytest
from packaging.requirements import Requirement

from tests.architecture.floors import top
from tests.architecture.locked import check_declared, check_lock, check_runtime, declared, needed, pinned
from tests.architecture.source import CLIENT, ROOMS, ROOT, parse, read

PLATFORM = ROOT / "pyproject.toml"
PYTHON_CLIENT = ROOT / "clients" / "python" / "pyproject.toml"


def test_the_lock_covers_what_is_declared() -> None:
    """Every dependency of platform, tests and client has a pin that fits, and no host is named."""
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert check_lock(lock, [*declared(PLATFORM, "dev"), *declared(PYTHON_CLIENT, "datasets")]) == []


def test_the_image_installs_the_same_versions() -> None:
    """The runtime's lock is part of the tests' lock, and every declared dependency is in it."""
    lock, runtime = (
        (ROOT / name).read_text(encoding="utf-8")
        for name in ("requirements.lock", "requirements-runtime.lock")
    )
    assert check_runtime(runtime, lock, [*declared(PLATFORM), *declared(PYTHON_CLIENT, "datasets")]) == []


def test_the_image_installs_all_that_is_needed_and_nothing_of_the_tests() -> None:
    """What dependencies ask for in turn is in the runtime's lock too: it is installed without resolving."""
    runtime = pinned((ROOT / "requirements-runtime.lock").read_text(encoding="utf-8"))
    reached = needed(declared(PLATFORM), lambda name: [Requirement(each) for each in requires(name) or []])
    assert reached - {CLIENT} <= runtime.keys()
    assert not runtime.keys() & {"pytest", "moto", "hypothesis", "mypy", "check-jsonschema"}


def test_what_the_rooms_import_is_declared() -> None:
    """No room leans on a package that only another package asked for."""
    rooms = {name: module for name, module in read().items() if top(name) in ROOMS}
    needs = [each.name for each in declared(PLATFORM)]
    assert check_declared(rooms, needs, packages_distributions()) == []


def test_what_the_client_imports_is_declared() -> None:
    """The client leans on nothing that its own project file does not name."""
    client = {name: module for name, module in read().items() if top(name) == CLIENT}
    needs = [each.name for each in declared(PYTHON_CLIENT, "datasets")]
    assert check_declared(client, needs, packages_distributions()) == []


HASHES = f" \\\n    --hash=sha256:{'0' * 64} \\\n    --hash=sha256:{'f' * 64}\n"
CLICK = "click==8.5.1" + HASHES
FINE = f"# a comment\n{CLICK}numpy==2.4.6 ; python_full_version < '3.12'{HASHES}numpy==2.5.5{HASHES}"
NEEDS = [Requirement("click>=8.1"), Requirement("numpy>=1.26"), Requirement("loopline")]


def test_a_lock_as_it_should_be_passes() -> None:
    """Pins with and without a condition, each with its hashes, are all that a lock needs."""
    assert check_lock(FINE, NEEDS) == []


@pytest.mark.parametrize(
    "lock",
    [
        "--index-url ht" + "tps://example.org/simple\n" + FINE,
        "-e clients/python\n" + FINE,
        FINE.replace("click==8.5.1", "click @ file:///somewhere"),
        FINE.replace(CLICK, "click==8.5.1\n"),
        FINE.replace(CLICK, "click==8.5.1 \\\n    --hash=md5:00\n"),
        FINE.replace("click==8.5.1", "click>=8"),
        FINE.replace("click==8.5.1", "click==8.*"),
        FINE.replace("click==8.5.1", "click==7.0"),
        FINE.replace(CLICK, ""),
        FINE.replace("numpy==2.5.5", "numpy==1.20"),
    ],
)
def test_a_lock_with_a_fault_is_found(lock: str) -> None:
    """A host, a pin without hashes, an open version and a requirement that is not met are each found."""
    assert check_lock(lock, NEEDS)


def test_an_image_with_a_fault_is_found() -> None:
    """Another version than the tests ran on, a pin of its own, and a missing dependency are each found."""
    runtime = FINE
    assert check_runtime(runtime, FINE, NEEDS) == []
    assert check_runtime(runtime.replace("8.5.1", "8.5.2"), FINE, NEEDS)
    assert check_runtime(runtime + "moto==5" + HASHES, FINE, NEEDS)
    assert check_runtime(CLICK, FINE, NEEDS)


def test_what_is_needed_is_followed_to_the_end() -> None:
    """Asked extras and this machine's conditions lead on, other systems' and unasked ones do not."""
    told = {
        "a": ["b[fast]>=1", "w; sys_platform == 'none'"],
        "b": ["c; extra == 'fast'", "d; extra == 'slow'", "a"],
        "c": ["b"],
    }
    found = needed([Requirement("a")], lambda name: [Requirement(each) for each in told.get(name, [])])
    assert found == {"a", "b", "c"}


def test_an_undeclared_import_is_found() -> None:
    """What is installed only because something else needs it may not be imported."""
    modules = {"streams.a": parse("streams.a", "import json\nimport yaml.nodes\nfrom click import echo")}
    providers = {"yaml": ["PyYAML"], "click": ["click"]}
    assert check_declared(modules, ["click"], providers) == [
        "streams.a:2 imports yaml, which no dependency declares"
    ]
    assert check_declared(modules, ["click", "pyyaml"], providers) == []
