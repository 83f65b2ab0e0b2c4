"""What stands in for Docker Compose refuses what Compose, or a container, would refuse."""

from __future__ import annotations

import click
import pytest

from tests.deploy import stand_in


@pytest.mark.parametrize(
    "typed",
    [
        "up -d --build --wait",
        "-f docker-compose.yml -f docker-compose.brokers.yml up -d",
        "ps",
        "build",
        "up -d --no-deps worker-1 worker-2",
        "exec collector-1 loopline verify",
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
        "exec collector-1 bash",
        "exec collector-1 loopline nonsense",
        "exec collector-1 loopline verify --nonsense",
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
