"""What the distribution offers: a list of names, quick to import, light to install, quick to call."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import loopline
from loopline import Client, errors

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
    """What products install is the standard library and msgspec; the version is read from the package."""
    assert [re.split(r"[<>=]", each)[0] for each in PROJECT["dependencies"]] == ["msgspec"]
    others = {
        top
        for _, top, on_import in imported(PACKAGE)
        if on_import and top not in sys.stdlib_module_names and top not in ("loopline", "msgspec")
    }
    assert others == set()
    assert "version" in PROJECT["dynamic"], "test_release holds both distributions to the one number"
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


def test_importing_brings_little() -> None:
    """Beyond msgspec itself the import loads few modules; `make bench` has the time that a call takes."""
    code = "import sys, msgspec, msgspec.json; before = set(sys.modules); import loopline; "
    code += "print(*set(sys.modules) - before)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    others = {name for name in done.stdout.split() if name.partition(".")[0] != "loopline"}
    assert len(others) < 60, sorted(others)


def _with_path(code: str) -> str:
    return f"import sys; sys.path[:0] = {sys.path!r}; {code}"
