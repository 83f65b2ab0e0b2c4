"""`loopline backup` and `restore`, of a home: what a cluster consists of has tools of its own."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from feedback.cli.answers import Stages, answer
from feedback.cli.connect import cluster_of, works_here
from feedback.cli.options import Choices, command
from feedback.cli.output import note
from feedback.installation.home import Home
from schemas.errors import Refused


def _only_at_home(choices: Choices) -> None:
    """Raises Refused on a cluster, and says what to do there; a usage error for the `--url` of a server."""
    if cluster_of(choices) is not None:
        raise Refused(
            "the log is on Kafka and the views are in PostgreSQL, and each is copied by tools of its own:"
            " docs/how-to/backup.md says which, and in which order. For a home on this machine name --home."
        )
    works_here(choices)


def _elsewhere(choices: Choices) -> str | None:
    """Where datasets lie, when that is not the home."""
    from feedback.datasets.shelf.address import shelf_of

    return shelf_of(choices["datasets"]).name if choices["datasets"] else None


@command(short_help="Copy a home while its server runs.")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def backup(choices: Choices, folder: Path) -> None:
    """Copy log, views and datasets into DIR, which must be new or empty. The server may run meanwhile.

    The copy is of one moment, and has a manifest with checksums. DIR is there whole or not at all.
    """
    from feedback.installation.backup import back_up, sizes

    _only_at_home(choices)
    elsewhere, stages = _elsewhere(choices), Stages()
    try:
        manifest = back_up(Home(choices.home), folder, stages)
    finally:
        stages.close()
    if elsewhere:
        note(f"the datasets at {elsewhere} are not in this backup: let their store keep copies of them")
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
    from feedback.installation.backup import restore as bring_back
    from feedback.installation.backup import sizes

    _only_at_home(choices)
    home, elsewhere = Home(choices.home), _elsewhere(choices)
    stages = Stages()
    try:
        manifest = bring_back(home, folder, stages)
    finally:
        stages.close()
    if elsewhere and home.datasets.is_dir():
        note(f"the backup's datasets are in {home.datasets}, not at {elsewhere}: copy there what it lacks")
    lines = [
        f"{folder} is restored into {home.path}",
        *(f"  {name:<6} {said}" for name, said in sizes(manifest)),
        "Start it with `loopline up`; `loopline verify` compares the views with the log.",
    ]
    answer(choices, msgspec.to_builtins(manifest), lines)
