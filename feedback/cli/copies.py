"""`loopline backup` and `restore`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from feedback.cli.answers import Stages, answer
from feedback.cli.options import Choices, command
from feedback.home import Home


@command(short_help="Copy a home while its server runs.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def backup(choices: Choices, folder: Path) -> None:
    """Copy log, views and datasets into DIR, which must be new or empty. The server may run meanwhile.

    The copy is of one moment, and has a manifest with checksums. DIR is there whole or not at all.
    """
    from feedback.backup import back_up, sizes

    stages = Stages()
    try:
        manifest = back_up(Home(choices.home), folder, stages)
    finally:
        stages.close()
    lines = [
        f"{choices.home} is backed up to {folder}",
        *(f"  {name:<6} {said}" for name, said in sizes(manifest)),
    ]
    answer(choices, msgspec.to_builtins(manifest), lines)


@command(short_help="Bring a backup back into a home.")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
def restore(choices: Choices, folder: Path) -> None:
    """Bring the backup in DIR back into the home, which must not hold events. Checksums are looked at.

    A home with a running server or with a log that is not empty is refused: nothing that was accepted is
    ever overwritten.
    """
    from feedback.backup import restore as bring_back
    from feedback.backup import sizes

    home = Home(choices.home)
    stages = Stages()
    try:
        manifest = bring_back(home, folder, stages)
    finally:
        stages.close()
    lines = [
        f"{folder} is restored into {home.path}",
        *(f"  {name:<6} {said}" for name, said in sizes(manifest)),
        "Start it with `loopline up`; `loopline verify` compares the views with the log.",
    ]
    answer(choices, msgspec.to_builtins(manifest), lines)
