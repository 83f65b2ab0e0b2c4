"""What the distribution offers: a list of names, quick to import, light to install, quick to call."""

from __future__ import annotations

import ast
import inspect
import re
import statistics
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import loopline
from loopline import Client, errors
from tests.clients.conftest import Make
from tests.clients.fake_server import FakeServer

PACKAGE = Path(loopline.__file__).parent
PROJECT = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["project"]

CALLS = [
    "action",
    "comment",
    "confirmation",
    "correction",
    "declare",
    "deployed",
    "evaluated",
    "outcome",
    "prediction",
    "prompt_dismissed",
    "prompt_shown",
    "reason",
    "retraction",
    "rolled_back",
    "shown",
    "thumb",
]


def test_the_public_names_are_these() -> None:
    """Adding or losing a public name is a decision, taken here."""
    assert loopline.__all__ == [
        "Client",
        "LooplineError",
        "__version__",
        "canonical_json",
        "datasets",
        "errors",
        "input_ref",
    ]
    assert all(hasattr(loopline, name) for name in loopline.__all__)
    with pytest.raises(AttributeError):
        loopline.nothing  # noqa: B018
    assert loopline.datasets.__all__ == ["load"]


def test_the_client_s_methods_are_these() -> None:
    """Every event type of the contract has its call, and the rest is short."""
    public = [name for name in dir(Client) if not name.startswith("_")]
    assert sorted(public) == sorted([*CALLS, "close", "flush", "override", "stats"])


@pytest.mark.parametrize("call", CALLS)
def test_every_call_takes_id_time_and_env_and_everything_by_keyword(call: str) -> None:
    """The habits that make sixteen calls one thing to learn."""
    parameters = inspect.signature(getattr(Client, call)).parameters
    assert list(parameters)[-3:] == ["env", "time", "id"]
    kinds = [each.kind for each in parameters.values()]
    assert set(kinds[1:3]) == {inspect.Parameter.POSITIONAL_OR_KEYWORD}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    assert inspect.getdoc(getattr(Client, call))


def test_every_error_is_in_one_tree() -> None:
    """Catching LooplineError catches everything this library raises."""
    made = [
        each for _, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__
    ]
    assert len(made) > 10
    assert all(issubclass(each, loopline.LooplineError) for each in made)


def imported(folder: Path) -> Iterator[tuple[str, str, bool]]:
    """What the modules of a folder import: module, top name, and whether that is done on import."""
    for path in folder.glob("*.py"):
        tree = ast.parse(path.read_text())
        top = {id(node) for node in tree.body}
        for node in ast.walk(tree):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                yield path.name, name.partition(".")[0], id(node) in top


def test_the_client_needs_msgspec_alone() -> None:
    """What products install is the standard library and msgspec; the version is told once."""
    assert [re.split(r"[<>=]", each)[0] for each in PROJECT["dependencies"]] == ["msgspec"]
    others = {
        top
        for _, top, on_import in imported(PACKAGE)
        if on_import and top not in sys.stdlib_module_names and top not in ("loopline", "msgspec")
    }
    assert others == set()
    assert PROJECT["version"] == loopline.__version__
    assert (PACKAGE / "py.typed").exists()


def test_importing_brings_nothing_heavy() -> None:
    """A product's start pays for a few modules: no HTTP, no TLS, no pyarrow, no pandas."""
    code = "import sys, loopline; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", _with_path(code)], capture_output=True, text=True, check=True
    )
    heavy = {
        "http.client",
        "ssl",
        "pyarrow",
        "pandas",
        "numpy",
        "asyncio",
        "email.message",
        "loopline.datasets",
    }
    assert not heavy & set(done.stdout.split())


def test_importing_is_quick() -> None:
    """Beyond msgspec itself the import takes less than 50 ms of CPU, at its best of five."""
    code = (
        "import time, msgspec, msgspec.json; began = time.process_time(); import loopline; "
        "print(time.process_time() - began)"
    )
    took = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(5)
    ]
    assert min(took) < 0.05


def _with_path(code: str) -> str:
    return f"import sys; sys.path[:0] = {sys.path!r}; {code}"


@pytest.mark.parametrize("spooled", [False, True], ids=["memory", "spool"])
def test_a_call_takes_less_than_20_microseconds(
    server: FakeServer, make: Make, tmp_path: Path, spooled: bool
) -> None:
    """The promise to the product's path: the median call while the background sends, best of five."""
    client = make(queue_size=100_000, spool=tmp_path / "spool" if spooled else None)
    medians = []
    for _ in range(5):
        took = []
        for number in range(2_000):
            began = time.perf_counter_ns()
            client.prediction(
                "name-matcher",
                "3",
                "smith",
                confidence=0.7,
                segment="forms",
                person="u-7",
                features={"n": number},
            )
            took.append(time.perf_counter_ns() - began)
        medians.append(statistics.median(took))
        assert client.flush(10)
    assert min(medians) < 20_000
    assert client.stats()["accepted"] == 10_000
