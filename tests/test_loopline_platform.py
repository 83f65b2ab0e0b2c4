"""The entry to the platform: our rooms are found whatever else on the path has their names."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import loopline_platform
from feedback.installation.home import Home
from tests.architecture.source import ROOMS as ROOMS_OF_THE_HOUSE
from tests.feedback.running import lines, prediction, server_on

ROOT = Path(__file__).resolve().parents[1]
COMMAND = Path(sys.executable).with_name("loopline")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A product's repository with packages of its own under our rooms' names, none importable."""
    folder = tmp_path / "product"
    for room in loopline_platform.ROOMS:
        (folder / room).mkdir(parents=True)
        (folder / room / "__init__.py").write_text(
            "raise RuntimeError('this is the product\\'s own package')"
        )
    return folder


@pytest.fixture
def environment() -> dict[str, str]:
    """What a shell has in which somebody works on that repository."""
    return {**os.environ, "PYTHONPATH": "."}


def run(
    repository: Path, environment: dict[str, str], *words: object, stdin: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    """Run a command as a person does in that folder."""
    command = [str(word) for word in words]
    return subprocess.run(
        command, cwd=repository, env=environment, input=stdin, capture_output=True, check=False, timeout=60
    )


def test_the_entry_knows_every_room() -> None:
    """The rooms that it finds are those of the house, in their order."""
    assert tuple(ROOMS_OF_THE_HOUSE) == loopline_platform.ROOMS


def test_commands_work_in_a_repository_with_such_packages(
    repository: Path, environment: dict[str, str]
) -> None:
    """A server and every kind of command run with PYTHONPATH=. as they do without."""
    home = Home(repository / "home")
    words = (COMMAND, "--home", home.path)
    with server_on(home.path, cwd=repository, PYTHONPATH=".") as server:
        sent = run(repository, environment, *words, "send", "-", stdin=lines(prediction(1)))
        assert sent.returncode == 0, sent.stderr
        verified = run(repository, environment, *words, "verify", "--json")
        assert verified.returncode == 0, verified.stderr
        assert json.loads(verified.stdout)["identical"]
        assert server.url in run(repository, environment, *words, "doctor").stdout.decode()


@pytest.mark.parametrize(
    "words",
    [
        [sys.executable, "-m", "loopline_platform", "feedback.processes.home_server", "--help"],
        [*loopline_platform.process_command("feedback.processes.home_server"), "--help"],
        [*loopline_platform.process_command("feedback.processes.cluster_worker"), "--help"],
    ],
    ids=["by hand", "collector or worker", "worker of a cluster"],
)
def test_processes_begin_at_the_entry(
    words: list[str], repository: Path, environment: dict[str, str]
) -> None:
    """What the platform starts finds its rooms as well."""
    done = run(repository, {**environment, "PYTHONPATH": f".{os.pathsep}{ROOT}"}, *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"usage:")


def test_no_process_begins_elsewhere() -> None:
    """Nothing in the product starts Python with a room as its module."""
    beside = re.compile(rf"""["']-m["'],\s*["'](?:{"|".join(loopline_platform.ROOMS)})\b""")
    found = [
        str(path.relative_to(ROOT))
        for room in loopline_platform.ROOMS
        for path in (ROOT / room).rglob("*.py")
        if beside.search(path.read_text())
    ]
    assert found == []


def test_other_modules_are_left_to_python() -> None:
    """The finder answers for the rooms only, and not for what lies inside them."""
    find = loopline_platform.RoomFinder.find_spec
    assert find("json") is None
    assert find("models", ["elsewhere"]) is None
    spec = find("models")
    assert spec is not None
    assert spec.origin == str(ROOT / "models" / "__init__.py")
    assert importlib.import_module("models").__file__ == spec.origin
