"""Stands in for `docker compose` where pages are followed: checks that what was typed fits the files.

Nothing is started: there is no Docker where the tests run. What the services run, `test_by_hand` runs. What a
command would do to the brokers is computed by `brokers_after`, from the file that Compose would take: the one
that `-f` names, else that of COMPOSE_FILE in the folder's `.env`, else `docker-compose.yml`.
"""

from __future__ import annotations

import argparse
import copy
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from feedback.cli import main as loopline
from feedback.cli.options import Choices
from tests.deploy.composed import COMPOSE, ROOT, project

Running = Mapping[str, Mapping[str, Any]]
"""The brokers that run: by project, and in it by service, each as its file has it."""


def parsed(words: list[str]) -> argparse.Namespace:
    """What was typed behind `docker compose`. Ends with status 2 where it is no such command."""
    parser = argparse.ArgumentParser(prog="docker compose")
    parser.add_argument("-f", dest="file", type=Path)
    parser.add_argument("--profile", action="append", default=[])
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up")
    up.add_argument("-d", action="store_true")
    for flag in ("--build", "--wait", "--no-deps"):
        up.add_argument(flag, action="store_true")
    run = commands.add_parser("run")
    for flag in ("--rm", "--no-deps", "-T"):
        run.add_argument(flag, action="store_true")
    rm = commands.add_parser("rm")
    for flag in ("--stop", "--force"):
        rm.add_argument(flag, action="store_true")
    commands.add_parser("config").add_argument("--resolve-image-digests", action="store_true")
    plain = [commands.add_parser(name) for name in ("ps", "build", "stop", "start", "restart", "down")]
    for each in (up, rm, *plain):
        each.add_argument("services", nargs="*", default=[])
    execute = commands.add_parser("exec")
    for each in (run, execute):
        each.add_argument("service")
        each.add_argument("words", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def file_of(typed: argparse.Namespace, environment: Mapping[str, str]) -> Path:
    """The file that Compose takes."""
    return ROOT / (typed.file or environment.get("COMPOSE_FILE") or COMPOSE.name)


def environment_of(folder: Path) -> dict[str, str]:
    """What the `.env` of a folder says."""
    path = folder / ".env"
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if line)


def check_command(words: list[str]) -> None:
    """Raises click.UsageError where these are no command of `loopline`."""
    command: click.Command = loopline
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0]) if words else None
        if found is None:
            raise click.UsageError(f"there is no `loopline {' '.join(words)}`")
        command, words = found, words[1:]
    command.make_context(command.name, words, obj=Choices())


def check(words: list[str], environment: Mapping[str, str] | None = None) -> None:
    """Raises LookupError or click.UsageError where something is named that is not there."""
    typed = parsed(words)
    services = project(file_of(typed, environment or {}), environment)["services"]
    named = _named(typed)
    missing = [name for name in named if name not in services]
    if missing:
        raise LookupError(f"no such service: {missing}")
    if typed.command == "exec":
        if typed.words[:1] != ["loopline"] or not _is_ours(services[typed.service]):
            raise LookupError(f"not in the image: {typed.words[:1]}")
        check_command(typed.words[1:])
    elif typed.command == "run" and _is_ours(services[typed.service]):
        # The image's entry point is `loopline`.
        check_command(typed.words)
    elif typed.command == "up" and not typed.d:
        raise click.UsageError("a page that stays in the foreground cannot be followed")


def _is_ours(service: Mapping[str, Any]) -> bool:
    return str(service["image"]).startswith("loopline")


def _named(typed: argparse.Namespace) -> list[str]:
    """The services that a command names."""
    return [typed.service] if "service" in typed else list(getattr(typed, "services", []))


def is_broker(service: str) -> bool:
    """Whether a service of our files is a broker."""
    return service.startswith("kafka")


def brokers_after(words: list[str], environment: Mapping[str, str], running: Running) -> Running:
    """The brokers that run once Compose has done this, where these ran before."""
    typed = parsed(words)
    meant = project(file_of(typed, environment), environment)
    services = meant["services"]
    after: dict[str, dict[str, Any]] = {name: dict(there) for name, there in running.items()}
    there = after.setdefault(meant["name"], {})
    named = _named(typed)
    chosen = named or [name for name, service in services.items() if "profiles" not in service]
    if typed.command in ("up", "run"):
        started = set(chosen) if typed.no_deps else _with_dependencies(chosen, services)
        # What runs already and is defined otherwise is made anew, as it is defined now.
        there.update({name: copy.deepcopy(services[name]) for name in started if is_broker(name)})
    elif typed.command in ("start", "restart"):
        there.update({name: copy.deepcopy(services[name]) for name in chosen if is_broker(name)})
    elif typed.command in ("stop", "rm"):
        for name in chosen:
            there.pop(name, None)
    elif typed.command == "down":
        # The services of the file, and with the last of them the network; orphans stay and hang.
        for name in services:
            there.pop(name, None)
    return {name: brokers for name, brokers in after.items() if brokers}


def _with_dependencies(names: list[str], services: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += services[name].get("depends_on", {})
    return found


if __name__ == "__main__":
    try:
        check(sys.argv[1:], environment_of(Path(os.environ.get("READER", "."))))
    except (LookupError, click.UsageError) as error:
        sys.exit(str(error))
