"""What stands in for Docker Compose refuses what Compose, or a container, would refuse."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from tests.deploy import stand_in


@pytest.mark.parametrize(
    "typed",
    [
        "up -d --build --wait",
        "-f docker-compose.brokers.yml up -d kafka-3",
        "ps",
        "build",
        "up -d --no-deps worker-1 worker-2",
        "exec collector-1 loopline verify",
        "run --rm loopline topics show",
        "run --rm -T volumes -c .",
    ],
)
def test_what_is_there_passes(typed: str) -> None:
    """Files, services and commands of this project are fine."""
    stand_in.check(typed.split())


@pytest.mark.parametrize(
    "typed",
    [
        "-f docker-compose.other.yml up -d",
        "up -d worker-9",
        "up -d kafka-2",
        "up worker-1",
        "exec collector-1 bash",
        "exec postgres loopline verify",
        "exec collector-1 loopline nonsense",
        "run --rm loopline verify --nonsense",
        "exec postgres bash",
    ],
)
def test_what_is_not_there_is_refused(typed: str) -> None:
    """A file, a service, a program, a command or an option that does not exist is told."""
    with pytest.raises((LookupError, OSError, click.UsageError)):
        stand_in.check(typed.split())


def test_what_is_no_command_of_compose_is_refused() -> None:
    """A word that Compose does not know ends with the status of wrong usage."""
    with pytest.raises(SystemExit, match="2"):
        stand_in.check(["upp"])


def test_the_folders_own_env_names_the_file(tmp_path: Path) -> None:
    """COMPOSE_FILE in `.env` is what a command without -f means."""
    assert stand_in.environment_of(tmp_path) == {}
    (tmp_path / ".env").write_text("LOOPLINE_PARTITIONS=8\nCOMPOSE_FILE=docker-compose.brokers.yml\n")
    environment = stand_in.environment_of(tmp_path)
    stand_in.check(["up", "-d", "kafka-2"], environment)
    with pytest.raises(LookupError):
        stand_in.check(["up", "-d", "kafka-2"], {})
