"""Stands in for `docker compose` where pages are followed: checks that what was typed fits the files.

Nothing is started: there is no Docker where the tests run. What the services run, `test_by_hand` runs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import click

from feedback.cli import main as loopline
from feedback.cli.options import Choices
from tests.deploy.composed import ROOT, services


def parsed(words: list[str]) -> argparse.Namespace:
    """What was typed behind `docker compose`. Ends with status 2 where it is no such command."""
    parser = argparse.ArgumentParser(prog="docker compose")
    parser.add_argument("-f", dest="files", action="append", default=[])
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up")
    up.add_argument("-d", action="store_true", required=True)
    for flag in ("--build", "--wait", "--no-deps"):
        up.add_argument(flag, action="store_true")
    run = commands.add_parser("run")
    run.add_argument("--rm", action="store_true")
    for each in (up, commands.add_parser("ps"), commands.add_parser("build")):
        each.add_argument("services", nargs="*", default=[])
    for each in (run, commands.add_parser("exec")):
        each.add_argument("service")
        each.add_argument("words", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def check_command(words: list[str]) -> None:
    """Raises click.UsageError where these are no command of `loopline`."""
    command: click.Command = loopline
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words[0]) if words else None
        if found is None:
            raise click.UsageError(f"there is no `loopline {' '.join(words)}`")
        command, words = found, words[1:]
    command.make_context(command.name, words, obj=Choices())


def check(words: list[str]) -> None:
    """Raises LookupError or click.UsageError where something is named that is not there."""
    typed = parsed(words)
    known = services(*(Path(ROOT / name) for name in typed.files))
    named = [typed.service] if "service" in typed else typed.services
    missing = [name for name in named if name not in known]
    if missing:
        raise LookupError(f"no such service: {missing}")
    if typed.command == "exec":
        if typed.words[:1] != ["loopline"]:
            raise LookupError(f"not in the image: {typed.words[:1]}")
        check_command(typed.words[1:])
    elif typed.command == "run":
        # The image's entry point is `loopline`.
        check_command(typed.words)


if __name__ == "__main__":
    try:
        check(sys.argv[1:])
    except (LookupError, click.UsageError) as error:
        sys.exit(str(error))
