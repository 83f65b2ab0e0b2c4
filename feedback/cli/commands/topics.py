"""`loopline topics`: the topics on Kafka, made and checked. What they have to be is in `streams.kafka`."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from feedback.cli.answers import answer, table
from feedback.cli.connect import must_be_cluster
from feedback.cli.options import Choices, Group, command
from feedback.cli.output import note
from feedback.settings import BY_NAME, value
from schemas.errors import Refused, Unavailable

if TYPE_CHECKING:
    from feedback.installation.cluster import Cluster
    from streams.kafka.topics.admin import Topics
    from streams.kafka.topics.policy import Topic, TopicFinding
    from streams.log.port import LogIdentity

_ON_ONE = "On one machine the log is a file, and there are no topics."
_SHOWN = ("retention.ms", "min.insync.replicas", "flush.messages")


@click.group(cls=Group, short_help="Make and check the topics on Kafka.")
def topics() -> None:
    """Make the topics of the log, the intake and the dead letters, and look whether they keep the promise."""


@command("ensure", short_help="Make what is missing, and check.")
@click.option("--replication", metavar="N", help=BY_NAME["replication"].help)
@click.option("--intake-partitions", type=click.IntRange(1), metavar="N", help="Default: as the log.")
@click.option("--new-epoch", is_flag=True, help="Go on with another number of --partitions in a new topic.")
def ensure_command(
    choices: Choices, replication: str | None, intake_partitions: int | None, new_epoch: bool
) -> None:
    """Make the topics that are missing, and check all of them. Nothing is changed that is there already.

    Few partitions are better than many: blocks are larger then. 4 unless --partitions says otherwise. To
    change their number, --new-epoch seals the log's topic and goes on in a new one; collectors end and are
    started again, workers finish the old epoch first. A run that was interrupted is finished by the same
    command, and where the number is what it would be, nothing is done. The views are asked first whether they
    are of this log, and of all its epochs. Exit status 1 when something would break the promise; what else
    is amiss is shown.
    """
    from streams.kafka.topics.admin import UnsafeTopics, ensure
    from streams.kafka.topics.policy import SEALED

    cluster = must_be_cluster(choices, _ON_ONE)
    copies = value("replication", replication)
    partitions = choices["partitions"] if choices.was_set("partitions") else None
    try:
        found = ensure(
            cluster.address,
            partitions,
            copies,
            intake_partitions=intake_partitions,
            new_epoch=new_epoch,
            known=_known(cluster) if new_epoch else None,
        )
    except UnsafeTopics as error:
        findings = error.findings
        if any(finding.setting == SEALED for finding in findings):
            findings = _remembered(cluster, findings)
        raise Refused("\n".join(map(str, findings))) from None
    if found.already:
        epoch = found.epochs[-1]
        note(f"{epoch.name} has {epoch.partitions} partitions already, and no new epoch was made.")
    _tell(choices, found)


@command("show", short_help="Show and check them.")
def show_command(choices: Choices) -> None:
    """Show the topics, and what is wrong with them or with Kafka's groups; exit status 1 when something is.

    What is only worth knowing is shown too, and does not change the exit status.
    """
    from streams.kafka.topics.admin import show
    from streams.kafka.topics.policy import NOTE

    cluster = must_be_cluster(choices, _ON_ONE)
    found = show(cluster.address)
    found = found._replace(findings=_remembered(cluster, found.findings, found.epochs))
    if not found.epochs:
        said = [str(finding) for finding in found.findings if finding.setting == "topic"]
        raise Refused(
            said[0]
            if said
            else f"there are no topics at {cluster.address}: make them with `loopline topics ensure`"
        )
    _tell(choices, found)
    if any(finding.level != NOTE for finding in found.findings):
        raise click.exceptions.Exit(1)


def _known(cluster: Cluster) -> LogIdentity | None:
    """The log as the views remember it; None where there are none."""
    with contextlib.closing(cluster):
        return cluster.known_log()


def _remembered(
    cluster: Cluster, findings: tuple[TopicFinding, ...], epochs: Sequence[Topic] | None = None
) -> tuple[TopicFinding, ...]:
    """What is wrong with the topics, also as the views remember them, where there are views."""
    from streams.kafka.topics.admin import show
    from streams.kafka.topics.policy import as_remembered

    try:
        known = _known(cluster)
    except Unavailable as error:
        note(f"The views were not asked which log they know: {error}")
        return findings
    if known is None:
        return findings
    seen = show(cluster.address).epochs if epochs is None else epochs
    return as_remembered(cluster.address, findings, seen, known)


def _tell(choices: Choices, found: Topics) -> None:
    document: dict[str, Any] = {
        "log": str(found.address),
        "brokers": found.brokers,
        "epoch": len(found.epochs),
        "partitions": found.epochs[-1].partitions,
        "topics": [
            {
                "name": topic.name,
                "role": topic.role.value,
                "id": topic.id,
                "partitions": topic.partitions,
                "replication": topic.replication,
                "sealed": topic.sealed,
            }
            for topic in found.topics
        ],
        "findings": [finding._asdict() for finding in found.findings],
    }
    rows = [
        (
            topic.name,
            topic.role.value + (", sealed" if topic.sealed else ""),
            topic.partitions,
            topic.replication,
            *(topic.settings.get(name, "") for name in _SHOWN),
        )
        for topic in found.topics
    ]
    lines = [
        f"{found.address}: epoch {len(found.epochs)}, {found.brokers} brokers",
        *table(("topic", "for", "partitions", "copies", *_SHOWN), rows),
        *map(str, found.findings),
    ]
    answer(choices, document, lines)


topics.add_command(ensure_command)
topics.add_command(show_command)
