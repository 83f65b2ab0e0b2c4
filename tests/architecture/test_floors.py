"""The import floors hold, and each check finds what it is there for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import floors
from tests.architecture.source import CLIENT, ROOMS, Module, parse, read


def made_up(**sources: str) -> dict[str, Module]:
    """Modules that exist only in a test; `__` in a name stands for a dot, `_init` for a package."""
    modules = {}
    for key, text in sources.items():
        name = key.replace("__", ".")
        package = name.endswith("._init")
        name = name.removesuffix("._init")
        path = Path(*name.split("."), "__init__.py") if package else None
        modules[name] = parse(name, text, path)
    return modules


def test_no_room_imports_against_the_floors() -> None:
    """The code as it is passes every check, and every room is among what was checked."""
    modules = read()
    assert {floors.top(name) for name in modules} == {*ROOMS, CLIENT}
    assert floors.violations(modules) == []


@pytest.mark.parametrize(
    "lower,upper",
    [("schemas", "models"), ("models", "streams"), ("streams", "feedback"), ("schemas", "feedback")],
)
@pytest.mark.parametrize(
    "how", ["import {0}.x", "from {0} import x", "from {0}.x import y", "def f():\n    import {0}"]
)
def test_a_lower_room_may_not_import_a_higher_one(lower: str, upper: str, how: str) -> None:
    """Every spelling of an import that leans the wrong way is found, also late; the other way is fine."""
    assert floors.check_floors(made_up(**{f"{lower}__a": how.format(upper)}))
    assert not floors.check_floors(made_up(**{f"{upper}__a": how.format(lower)}))


@pytest.mark.parametrize(
    "text",
    [
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from feedback.cli import main",
        "import importlib\nimportlib.import_module('feedback.cli')",
        "class A:\n    from feedback import cli",
        "try:\n    import feedback\nexcept ImportError:\n    pass",
    ],
)
def test_hidden_imports_count(text: str) -> None:
    """Imports for types only, by name, in a class body or under try lean as much as any other."""
    assert floors.check_floors(made_up(streams__a=text))


def test_relative_imports_are_resolved() -> None:
    """A relative import is judged by what it means."""
    modules = made_up(streams__log__sqlite="from ..store import ports\nfrom . import blocks")
    targets = [each.target for each in modules["streams.log.sqlite"].imports]
    assert targets == ["streams.store", "streams.store.ports", "streams.log", "streams.log.blocks"]
    package = made_up(streams__log___init="from .sqlite import Log\nfrom .. import worker")
    targets = [each.target for each in package["streams.log"].imports]
    assert targets == ["streams.log.sqlite", "streams.log.sqlite.Log", "streams", "streams.worker"]


def test_only_the_upper_room_starts_processes() -> None:
    """The module in which processes begin is known to feedback, and to no room below."""
    assert floors.check_floors(made_up(streams__a="from loopline_platform import process_command"))
    assert not floors.check_floors(made_up(feedback__a="from loopline_platform import process_command"))


def test_the_product_does_not_import_its_tests() -> None:
    """Neither tests nor benchmarks are imported by a room."""
    assert floors.check_floors(made_up(schemas__a="from tests.architecture import source"))
    assert floors.check_floors(made_up(feedback__a="import benchmarks"))


@pytest.mark.parametrize(
    "module,text",
    [
        ("loopline__client", "from schemas import events"),
        ("loopline__client", "import requests"),
        ("loopline__client", "import pandas"),
        ("loopline__datasets", "def f():\n    import streams.log"),
    ],
)
def test_the_client_stands_alone(module: str, text: str) -> None:
    """The client may import no room and nothing but msgspec."""
    assert floors.check_client(made_up(**{module: text}))


def test_the_client_may_use_what_its_extra_brings() -> None:
    """msgspec everywhere, and what `loopline[datasets]` adds in `loopline.datasets`."""
    fine = made_up(
        loopline__client="import json\nimport msgspec\nfrom loopline import queue",
        loopline__datasets="import pandas",
    )
    assert floors.check_client(fine) == []


@pytest.mark.parametrize("library,room", sorted(floors.ADAPTERS.items()))
def test_a_services_library_stays_in_its_adapter(library: str, room: str) -> None:
    """The library of a broker or a database is known in one folder, not beside it or above it."""
    name = room.replace(".", "__")
    assert floors.check_adapters(made_up(streams__worker=f"from {library} import x"))
    assert floors.check_adapters(made_up(feedback__a=f"def f():\n    import {library}"))
    assert floors.check_adapters(made_up(**{f"{name}esque": f"import {library}"}))
    assert not floors.check_adapters(made_up(**{f"{name}__log": f"import {library}.errors"}))


@pytest.mark.parametrize("library", sorted(floors.HEAVY))
def test_the_ingest_path_is_light(library: str) -> None:
    """A heavy library is found however far away from `streams` it is loaded, and the chain is told."""
    far = made_up(
        streams__ingest__http="from models import labels",
        models__labels="from models.deep.down import f",
        models__deep___init=f"import {library}.core",
        models__deep__down="def f(): ...",
    )
    assert floors.check_ingest_path(far) == [
        f"streams.ingest.http -> models.labels -> models.deep -> {library}: never on the ingest path"
    ]
    assert floors.check_ingest_path(made_up(streams__a=f"def f():\n    import {library}"))


def test_what_is_loaded_late_or_for_types_is_not_on_the_path() -> None:
    """A function of another room may import what is heavy when it is called, and types cost nothing."""
    fine = made_up(
        streams__ingest__http="import models.fit",
        models__fit="if typing.TYPE_CHECKING:\n    import pandas\ndef f():\n    import sklearn",
        feedback__gate="import great_expectations",
    )
    assert floors.check_ingest_path(fine) == []


@pytest.mark.parametrize("start", floors.FOLDING)
def test_what_folds_the_log_knows_no_decider(start: str) -> None:
    """However far away it is loaded: folding the log again cannot decide again."""
    named = start.replace(".", "__")
    far = {named: "import streams.fold.fold", "streams__fold": "from streams.deciders.runner import Runner"}
    deciders = {"streams__deciders___init": "", "streams__deciders__runner": "class Runner: ..."}
    assert floors.check_folding(made_up(**far, **deciders))
    assert not floors.check_folding(made_up(**{named: "import streams.fold.fold"}, **deciders))


def test_help_loads_nothing_heavy() -> None:
    """The command line loads no heavy library, itself or through others, before a command needs it."""
    slow = made_up(
        feedback__cli___init="from feedback import releases", feedback__releases="import pyarrow.parquet"
    )
    assert floors.check_quick_start(slow)
    quick = made_up(
        feedback__cli="def release():\n    from feedback import releases", feedback__releases="import pyarrow"
    )
    assert floors.check_quick_start(quick) == []


@pytest.mark.parametrize(
    "back",
    [
        "import streams.a",
        "from streams.a import f",
        "def f():\n    from streams import a",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from streams.a import A",
    ],
)
def test_a_circle_is_found(back: str) -> None:
    """Modules that need each other over any way are told; without the way back there is no circle."""
    there = {"streams__a": "from streams.b import g", "streams__b": "import streams.c"}
    assert len(floors.check_circles(made_up(**there, streams__c=back))) == 1
    assert floors.check_circles(made_up(**there, streams__c="import json")) == []


def test_main_tells_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """What `make lint` runs prints each violation and ends with status 1; without one it ends with 0."""
    monkeypatch.setattr(floors, "read", lambda: made_up(schemas__a="import models"))
    assert floors.main() == 1
    assert "schemas.a:1 imports models: schemas is below models" in capsys.readouterr().out
    monkeypatch.setattr(floors, "read", lambda: made_up(models__a="import schemas"))
    assert floors.main() == 0
