"""Findings that stop collectors and workers: brokers that are unavailable, groups without a coordinator.

None of them loses an acknowledged event; those that would are in `streams.kafka.topics.policy`. Pure: the
descriptions come from `streams.kafka.topics.admin`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from streams.kafka.address import Address
from streams.kafka.topics.policy import IN_SYNC, NOTE, REPLICAS, STOPS, Copies, Topic, TopicFinding

OFFSETS = "__consumer_offsets"
"""Kafka's own topic: without it no group has a coordinator."""
BROKER_SETTINGS = (
    "auto.create.topics.enable",
    "offsets.topic.replication.factor",
    "offsets.retention.minutes",
)
_WEEK_MINUTES = 7 * 24 * 60
_GROUPS = "without it no worker gets partitions, and no collector reads the intake"
_RIGHTS = "see docs/how-to/secure-kafka.md"


class BrokerState(NamedTuple):
    """The brokers, apart from the log's own topics.

    Args:
        number: how many are there.
        settings: those of BROKER_SETTINGS that they told; empty when this client may not ask.
        groups: `__consumer_offsets`, or None while it is not there.
        may_see_groups: whether this client may ask for it.
        names: all topics that this client may see.
    """

    number: int
    settings: Mapping[str, str]
    groups: Topic | None
    may_see_groups: bool
    names: Sequence[str]


def findings_of_brokers(
    address: Address, topics: Sequence[Topic], brokers: BrokerState, copies: int
) -> Iterator[TopicFinding]:
    """What stops, or would; `copies` is how many the log has, or will have."""
    for topic in topics:
        yield from _unavailable(topic)
        yield from _made_by_itself(topic)
        if not topic.told:
            yield _untold(topic.name, "DescribeConfigs on it")
    yield from _groups(brokers, copies)
    yield from _settings(brokers)
    if strays := strays_among(address, brokers.names, {topic.name for topic in topics}):
        yield TopicFinding(
            ", ".join(strays),
            "topic",
            "there",
            "no topic that begins with this log's prefix",
            "nothing of Loopline reads or writes it",
            "find out who made it, and delete it there if nobody needs it",
            NOTE,
        )


def group_findings(brokers: BrokerState, copies: int) -> tuple[TopicFinding, ...]:
    """Why no group has a coordinator, or would have none once a broker stops."""
    return tuple(_groups(brokers, copies))


def strays_among(address: Address, names: Iterable[str], own: set[str]) -> list[str]:
    """The topics under a log's prefix that are neither its own nor those of a log with a longer prefix."""
    prefix = re.escape(address.prefix)
    another_log = re.compile(rf"{prefix}\..+\.(log\.\d+|intake|dead-letters)")
    own_names = {address.intake, address.dead_letters} | own
    return sorted(
        name
        for name in names
        if name.startswith(f"{address.prefix}.") and name not in own_names and not another_log.fullmatch(name)
    )


def _unavailable(topic: Topic, why: str = "nothing can be appended or read there") -> Iterator[TopicFinding]:
    leaderless = [each for each in topic.copies if each.leader < 0]
    if leaderless:
        missing = _named(sorted({broker for each in leaderless for broker in each.replicas}))
        yield TopicFinding(
            topic.name,
            "leader",
            f"missing for {_partitions(leaderless)}",
            "a broker",
            why,
            f"start {missing}, which hold its copies",
            STOPS,
        )
    least = int(topic.settings.get("min.insync.replicas", "1"))
    behind = [each for each in topic.copies if each.leader >= 0 and len(each.in_sync) < len(each.replicas)]
    few = [each for each in behind if len(each.in_sync) < least]
    for found, wanted, level in (
        (few, f"{least} at least", STOPS),
        ([each for each in behind if each not in few], "all", NOTE),
    ):
        if not found:
            continue
        missing = _named(sorted({broker for each in found for broker in {*each.replicas} - {*each.in_sync}}))
        now = min(len(each.in_sync) for each in found)
        yield TopicFinding(
            topic.name,
            "copies in sync",
            f"{now} for {_partitions(found)}",
            wanted,
            "every append is refused until then"
            if level is STOPS
            else "the loss of another broker may stop appends",
            f"start {missing}, and check that they catch up",
            level,
        )


def _made_by_itself(topic: Topic) -> Iterator[TopicFinding]:
    if topic.made_here or not topic.told:
        return
    yield TopicFinding(
        topic.name,
        "made by",
        "a broker, because a client asked for it",
        "`loopline topics ensure`",
        "it has the brokers' own settings and number of partitions",
        "delete it while it is empty, and run `loopline topics ensure`; give nobody but its user the right to"
        " make topics, or set auto.create.topics.enable=false",
        NOTE,
    )


def _groups(brokers: BrokerState, copies: int) -> Iterator[TopicFinding]:
    if not brokers.may_see_groups:
        yield _untold(OFFSETS, "Describe on it")
        return
    if brokers.groups is None:
        yield from _groups_to_come(brokers, copies)
        return
    yield from _unavailable(brokers.groups, _GROUPS)
    if brokers.groups.replication < min(copies, REPLICAS):
        yield TopicFinding(
            OFFSETS,
            "replication",
            str(brokers.groups.replication),
            str(REPLICAS),
            "when the broker with its only copy stops, workers and the intake stop",
            f"move it with kafka-reassign-partitions to {REPLICAS} replicas and set"
            f" min.insync.replicas={IN_SYNC}",
            STOPS,
        )


def _groups_to_come(brokers: BrokerState, copies: int) -> Iterator[TopicFinding]:
    """It is made when the first group joins, as the brokers' setting says, or not at all."""
    factor = brokers.settings.get("offsets.topic.replication.factor")
    if factor is None:
        return
    if int(factor) > brokers.number:
        yield TopicFinding(
            OFFSETS,
            "offsets.topic.replication.factor",
            factor,
            f"{brokers.number} at most",
            f"so few brokers cannot make it, and {_GROUPS}",
            f"start {factor} brokers, or set it in server.properties of each, and start them again",
            STOPS,
        )
    elif int(factor) < min(copies, REPLICAS):
        yield TopicFinding(
            OFFSETS,
            "offsets.topic.replication.factor",
            factor,
            str(REPLICAS),
            "it will be made with so few copies: when their broker stops, workers and the intake stop",
            "set it in server.properties of each broker before the first worker starts",
            STOPS,
        )


def _settings(brokers: BrokerState) -> Iterator[TopicFinding]:
    if not brokers.settings:
        yield _untold("brokers", "DescribeConfigs on the cluster")
        return
    if brokers.settings.get("auto.create.topics.enable") == "true":
        yield TopicFinding(
            "brokers",
            "auto.create.topics.enable",
            "true",
            "false",
            "a client that only asks for a topic makes it, with one copy and the brokers' own settings",
            "set it in server.properties of each broker, or give nobody else the right to make topics",
            NOTE,
        )
    kept = brokers.settings.get("offsets.retention.minutes")
    if kept is not None and int(kept) < _WEEK_MINUTES:
        yield TopicFinding(
            "brokers",
            "offsets.retention.minutes",
            kept,
            f"{_WEEK_MINUTES} at least",
            "an idle group's offsets are forgotten, and the whole intake is read again (events count once)",
            "set it in server.properties of each broker",
            NOTE,
        )


def _untold(topic: str, right: str) -> TopicFinding:
    return TopicFinding(
        topic,
        "settings",
        "not told",
        "told",
        "this client may not read them, so whether they are safe is unknown",
        f"look with a user who may, or grant {right}: {_RIGHTS}",
        NOTE,
    )


def _partitions(copies: Sequence[Copies]) -> str:
    numbers = [str(each.partition) for each in copies]
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"partition{'s' if len(numbers) > 1 else ''} {', '.join(numbers[:5])}{more}"


def _named(brokers: Sequence[int]) -> str:
    return f"broker{'s' if len(brokers) > 1 else ''} {', '.join(map(str, brokers))}"
