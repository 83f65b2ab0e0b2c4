"""The command line: `loopline`. This module knows where commands are, and loads the one that is used.

Exit status: 0 done; 1 refused, different, or a gate failed; 2 usage; 3 unreachable.
"""

from __future__ import annotations

import os

import click

from feedback.cli.options import Choices, Group, Lazy
from feedback.settings import adopt_library_secrets

COMMANDS = {
    "up": Lazy("feedback.cli.commands.up", "up", "Run the server on a home: collector and worker."),
    "collector": Lazy(
        "feedback.cli.commands.collector", "collector", "Run a collector on Kafka: one of many."
    ),
    "worker": Lazy(
        "feedback.cli.commands.collector", "worker", "Run a worker from Kafka into PostgreSQL: one of many."
    ),
    "topics": Lazy("feedback.cli.commands.topics", "topics", "Make and check the topics on Kafka."),
    "demo": Lazy("feedback.cli.commands.up", "demo", "Run the whole loop on real handwritten digits."),
    "send": Lazy("feedback.cli.commands.send", "send", "Send events from a file or a pipe."),
    "verify": Lazy("feedback.cli.commands.verify", "verify", "Rebuild every view aside and compare."),
    "replay": Lazy("feedback.cli.commands.verify", "replay", "Build the views anew from the log."),
    "waiting": Lazy("feedback.cli.commands.feedback", "waiting", "Show what waits, and for what."),
    "dead-letters": Lazy(
        "feedback.cli.commands.dead_letters", "dead_letters", "List, show and put back refused items."
    ),
    "model": Lazy(
        "feedback.cli.commands.model",
        "model",
        "List models; declare, evaluate, deploy and roll back versions.",
    ),
    "labels": Lazy("feedback.cli.commands.feedback", "labels", "Show what people say the right labels are."),
    "dataset": Lazy(
        "feedback.cli.commands.dataset", "dataset", "Release, list, show and compare dataset versions."
    ),
    "predictions": Lazy(
        "feedback.cli.commands.predictions", "predictions", "List predictions, and what was said of them."
    ),
    "feedback": Lazy(
        "feedback.cli.commands.feedback", "feedback", "List what people said, and show what became of it."
    ),
    "counts": Lazy(
        "feedback.cli.commands.predictions", "counts", "Count what was said, by whatever is asked for."
    ),
    "backup": Lazy("feedback.cli.commands.backup", "backup", "Copy a home while its server runs."),
    "restore": Lazy("feedback.cli.commands.backup", "restore", "Bring a backup back into a home."),
    "doctor": Lazy(
        "feedback.cli.commands.verify", "doctor", "Check the machine, the home or cluster, and the server."
    ),
}


@click.group(cls=Group, lazy=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="loopline-platform", prog_name="loopline", message="%(prog)s %(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Turn what people say about a model's predictions into data that can be trusted.

    \b
    Begin with:
      loopline up                       run a server on ./.loopline
      loopline send events.ndjson       send events to it
      loopline feedback show EVENT_ID   see what became of one
      loopline dataset release MODEL    cut a dataset from the corrections
    """
    context.ensure_object(Choices)
    adopt_library_secrets(os.environ)


__all__ = ["main"]
