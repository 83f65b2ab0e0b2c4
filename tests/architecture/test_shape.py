"""Modules and functions stay small, well named and documented, and each check finds what it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.architecture import shape
from tests.architecture.source import ROOT, Module, parse, read

Check = Callable[[Mapping[str, Module]], list[str]]

CHECKS: tuple[Check, ...] = (
    shape.check_module_sizes,
    shape.check_function_sizes,
    shape.check_docstrings,
    shape.check_names,
    shape.check_finished,
    shape.check_pauses,
    shape.check_threads,
)


@pytest.mark.parametrize("check", CHECKS)
def test_the_code_keeps_its_shape(check: Check) -> None:
    """Every module of the rooms, the client and the benchmarks passes every check."""
    modules = read(rooms=("schemas", "models", "streams", "feedback", "benchmarks"))
    assert len(modules) > 5
    assert check(modules) == []


def lines(count: int, indent: str = "    ") -> str:
    """So many lines of a body."""
    return "\n".join(f"{indent}x = {n}" for n in range(count))


@pytest.mark.parametrize(
    "check,name,fine,wrong",
    [
        (shape.check_module_sizes, "streams.log", lines(450, ""), lines(451, "")),
        (shape.check_function_sizes, "streams.log", f"def f():\n{lines(59)}", f"def f():\n{lines(60)}"),
        (
            shape.check_function_sizes,
            "streams.log",
            f"@command\n@option\nasync def f():\n{lines(59)}",
            f"class A:\n  async def f():\n{lines(60)}",
        ),
        (shape.check_docstrings, "streams.log", '"""What it is for."""', "# What it is for."),
        (shape.check_docstrings, "streams.log", '"""What it is for."""\nx = 1', 'x = 1\n"""Too late."""'),
        (shape.check_finished, "streams.log", "x = 1", "x = 1  # " + shape.LEFT_FOR_LATER[0]),
        (shape.check_finished, "streams.log", "def f(): ...", "def f():\n    raise NotImplementedError"),
        (
            shape.check_pauses,
            "streams.log",
            "pause_s = backoff.next_pause_s()",
            "sleep(pause_s)\npause_s = min(2 * pause_s, LONGEST_S)",
        ),
        (shape.check_threads, "streams.log", "start_daemon(name, work)", "threading.Thread(target=work)"),
        (shape.check_pauses, "streams.log", "size *= 2", "self._delay *= 2"),
        (shape.check_pauses, "streams.log", "return 10**3", "return min(FIRST_PAUSE_S * 2.0**failures, 9)"),
        (
            shape.check_pauses,
            "streams.log",
            "wait_s = 2 * patience_s",
            "a, b.wait_s = c, b.wait_s * 1.5",
        ),
    ],
)
def test_each_check_finds_what_it_is_for(check: Check, name: str, fine: str, wrong: str) -> None:
    """A made-up violation is found, and what is just within the rule is not."""
    assert check({name: parse(name, fine)}) == []
    assert len(check({name: parse(name, wrong)})) == 1


@pytest.mark.parametrize(
    "name", ["streams.utils", "feedback.page_helpers", "schemas.common", "feedback.log_manager"]
)
def test_a_name_that_fits_anything_is_refused(name: str) -> None:
    """A module is named for what it does."""
    assert shape.check_names({name: parse(name, "")})
    assert not shape.check_names({"streams.commons_log": parse("streams.commons_log", "")})


def test_reading_finds_every_source_file(tmp_path: Path) -> None:
    """Packages, modules in them and the client are found under their import names, wherever they lie."""
    for path in ("schemas/__init__.py", "schemas/a/b.py", "clients/python/loopline/__init__.py"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text('"""Doc."""\n')
    assert set(read(tmp_path)) == {"schemas", "schemas.a.b", "loopline"}
    assert (ROOT / "pyproject.toml").is_file()
