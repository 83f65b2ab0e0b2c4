"""`loopline verify`, `replay` and `doctor`: is what is shown true, and is everything in order."""

from __future__ import annotations

import contextlib
from typing import Any

import click

from feedback.cli.answers import answer, progress
from feedback.cli.connect import place_of, works_here
from feedback.cli.options import Choices, command
from feedback.disk import telling_full_disk
from feedback.installation.home import ON_A_LARGER_DISK, Home
from feedback.plurals import many

_SHOWN = 20


@command(short_help="Rebuild every view aside and compare.")
def verify(choices: Choices) -> None:
    """Rebuild every view from the log into a scratch store, and compare it with the live one row by row.

    Says "identical", or shows the first differences and ends with exit status 1. Works beside a running
    server, on the state at the moment it was started.
    """
    # Loaded late: these open logs and stores.
    from feedback.installation.rebuild import verify_views

    place = works_here(choices)
    with progress("rebuilding aside") as bar:
        result = verify_views(place, bar, _SHOWN)
    document = {
        "identical": not result.differences,
        "events": result.events,
        "rows": result.rows,
        "position": result.position,
        "differences": [
            {"table": each.table, "column": each.column, "said": each.describe()}
            for each in result.differences
        ],
    }
    if not result.differences:
        said = f"identical: {many(result.events, 'event')}, {many(result.rows, 'row')}, at {result.position}"
        answer(choices, document, said)
        return
    lines = [f"different, at {result.position}; left is the live store, right the rebuilt one:"]
    lines += [f"  {each.describe()}" for each in result.differences]
    lines += [f"  (the first {_SHOWN})"] if len(result.differences) >= _SHOWN else []
    lines += ["The log is the truth: `loopline replay` builds the views anew."]
    answer(choices, document, lines)
    raise click.exceptions.Exit(1)


@command(short_help="Build the views anew from the log.")
def replay(choices: Choices) -> None:
    """Build every view anew from the log into a new store, and switch to it when it has caught up.

    Beside a running server or running workers the old views are read until then, and nothing is missed.
    Nothing is sent: no event is added to the log.
    """
    from feedback.installation.rebuild import SWITCH_GRACE_S, rebuild_beside

    place = works_here(choices)
    with (
        contextlib.closing(place),
        contextlib.closing(place.open_log()) as log,
        contextlib.ExitStack() as held,
    ):
        grace_s = SWITCH_GRACE_S
        if isinstance(place, Home) and place.server() is None:
            # Nobody may start to serve the old views in the middle of it.
            held.callback(place.lock("replays", wait_s=5.0).release)
            grace_s = 0.0
        if isinstance(place, Home):
            held.enter_context(telling_full_disk(place.path, ON_A_LARGER_DISK))
        with progress("building views") as bar:
            rebuild_beside(place, log, bar, grace_s=grace_s)
        blocks = sum(log.ends().values())
        name = place.store_name()
    answer(
        choices, {"store": name, "blocks": blocks}, f"the views are built anew from {many(blocks, 'block')}"
    )


@command(short_help="Check the machine, the home or cluster, and the server.")
def doctor(choices: Choices) -> None:
    """Check the machine, the home or the cluster, and the server, and say what to do about what is wrong.

    Each line says ok, warn or fail. Exit status 1 when one fails.
    """
    from feedback.doctor.home import examine

    findings = examine(place_of(choices), choices["url"], choices["host"], choices["port"])
    lines: list[str] = []
    for finding in findings:
        lines.append(f"{finding.state:<5} {finding.subject:<16} {finding.said}")
        if finding.do:
            lines.append(f"{'':<22} -> {finding.do}")
    failed = any(finding.state == "fail" for finding in findings)
    document: dict[str, Any] = {"ok": not failed, "findings": [finding._asdict() for finding in findings]}
    answer(choices, document, lines)
    if failed:
        raise click.exceptions.Exit(1)
