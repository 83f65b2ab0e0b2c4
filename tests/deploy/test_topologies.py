"""No command of the pages, run as it stands, changes which brokers run, whichever topology somebody has."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.deploy.composed import BROKERS, COMPOSE, TOPOLOGIES, project
from tests.deploy.stand_in import Running, brokers_after, is_broker
from tests.docs.pages import Block, blocks, pages

_COMMAND = re.compile(r"docker compose (?P<words>[^|;&)>\n]+)")


def env_of(path: Path) -> dict[str, str]:
    """What `.env` says where somebody has this topology."""
    return {} if path == COMPOSE else {"COMPOSE_FILE": path.name}


def typed(block: Block) -> list[list[str]]:
    """The Compose commands of a block, in order."""
    return [shlex.split(match["words"]) for match in _COMMAND.finditer(block.text)]


def running(path: Path) -> Running:
    """The brokers of a topology that is up."""
    meant = project(path, env_of(path))
    return {meant["name"]: {name: each for name, each in meant["services"].items() if is_broker(name)}}


FOLLOWED = [
    (page, block)
    for page in pages()
    for block in blocks(page.read_text())
    if block.language == "bash" and "docker compose" in block.text
]


@pytest.mark.parametrize("path", TOPOLOGIES, ids=lambda path: path.name)
@pytest.mark.parametrize(
    "page, block", FOLLOWED, ids=[f"{page.stem}:{block.line}" for page, block in FOLLOWED]
)
def test_no_command_of_a_page_changes_the_brokers(page: Path, block: Block, path: Path) -> None:
    """After each block the same brokers run, defined as before; what was stopped within it runs again."""
    before = running(path)
    environment: Mapping[str, str] = env_of(path)
    if "COMPOSE_FILE=" in block.text:
        # The one block that chooses: before it there is nothing.
        environment, before = env_of(BROKERS), running(BROKERS)
    now = before
    for words in typed(block):
        now = brokers_after(words, environment, now)
    assert now == before


def test_a_forgotten_file_touches_nothing() -> None:
    """Without COMPOSE_FILE a command means the other project: three brokers go on, whatever was typed."""
    before = running(BROKERS)
    (name,) = before
    for command in ("up -d", "up -d --no-deps worker-1", "stop", "down", "up -d kafka", "restart kafka"):
        assert brokers_after(command.split(), {}, before)[name] == before[name]


def test_a_change_of_the_brokers_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were both topologies one project, as two files laid over each other, a plain `up` would end the log."""
    before = running(BROKERS)
    (name,) = before
    monkeypatch.setattr(
        "tests.deploy.stand_in.project",
        lambda path, environment: {**project(path, environment), "name": name},
    )
    assert brokers_after(["up", "-d", "worker-1"], {}, before) != before
    assert brokers_after(["up", "-d", "--no-deps", "worker-1"], {}, before) == before
    assert brokers_after(["stop", "kafka"], {}, before) != before
