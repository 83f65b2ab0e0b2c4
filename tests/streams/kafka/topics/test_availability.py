"""What stops collectors and workers, or would, is found by name, with what to do."""

from __future__ import annotations

from typing import Any

import pytest

from streams.kafka.address import Address
from streams.kafka.topics.availability import (
    OFFSETS,
    BrokerState,
    findings_of_brokers,
    group_findings,
    strays_among,
)
from streams.kafka.topics.policy import (
    NOTE,
    STOPS,
    UNSAFE,
    Copies,
    Role,
    Topic,
    TopicFinding,
    findings_of,
    settings_for,
)

ADDRESS = Address(("a:1",), "p")
WELL = {
    "auto.create.topics.enable": "false",
    "offsets.topic.replication.factor": "3",
    "offsets.retention.minutes": "10080",
}


def topic(*copies: Copies, name: str = "p.log.1", role: Role = Role.LOG, **more: Any) -> Topic:
    """A topic of three copies, as it should be but for what is said."""
    whole = copies or (Copies(0, 1, (1, 2, 3), (1, 2, 3)),)
    made = Topic(name, role, "id", len(whole), len(whole[0].replicas), settings_for(Role.LOG, 3), whole)
    return made._replace(**more)


GROUPS = topic(name=OFFSETS, role=Role.GROUPS, settings={"min.insync.replicas": "1"})
BROKERS = BrokerState(3, WELL, GROUPS, True, ("p.log.1", OFFSETS, "other"))


def found(brokers: BrokerState, *topics: Topic) -> list[TopicFinding]:
    """What is found on three brokers."""
    return list(findings_of_brokers(ADDRESS, topics, brokers, 3))


def test_what_is_well_has_no_finding() -> None:
    """Neither topics nor brokers as they should be."""
    assert found(BROKERS, topic()) == []
    assert found(BROKERS._replace(groups=None), topic()) == []


@pytest.mark.parametrize(
    "brokers, setting, level, said",
    [
        (
            {"groups": None, "number": 2},
            "offsets.topic.replication.factor",
            STOPS,
            "no worker gets partitions",
        ),
        (
            {"groups": None, "settings": WELL | {"offsets.topic.replication.factor": "1"}},
            None,
            STOPS,
            "so few",
        ),
        ({"groups": GROUPS._replace(replication=1)}, "replication", STOPS, "kafka-reassign-partitions"),
        ({"groups": topic(Copies(7, -1, (2,), (2,)), name=OFFSETS)}, "leader", STOPS, "start broker 2,"),
        ({"settings": WELL | {"auto.create.topics.enable": "true"}}, None, NOTE, "only asks for a topic"),
        ({"settings": WELL | {"offsets.retention.minutes": "60"}}, None, NOTE, "read again"),
        ({"settings": {}}, "settings", NOTE, "DescribeConfigs on the cluster"),
        ({"may_see_groups": False, "groups": None}, "settings", NOTE, "secure-kafka.md"),
        ({"names": ("p.log.1", "p.typo")}, "topic", NOTE, "nobody needs it"),
    ],
)
def test_what_ails_the_brokers_is_found(
    brokers: dict[str, Any], setting: str | None, level: str, said: str
) -> None:
    """`__consumer_offsets` that is not made, led or copied; topics made by themselves; what is not told."""
    finding = found(BROKERS._replace(**brokers), topic())[0]
    assert finding.setting == (setting or finding.setting)
    assert finding.level == level
    assert said in str(finding)


@pytest.mark.parametrize(
    "copies, setting, level, said",
    [
        (Copies(0, -1, (1, 2, 3), (3,)), "leader", STOPS, "missing for partition 0"),
        (Copies(0, 1, (1, 2, 3), (1,)), "copies in sync", STOPS, "start brokers 2, 3, and check"),
        (Copies(0, 1, (1, 2, 3), (1, 3)), "copies in sync", NOTE, "start broker 2,"),
    ],
)
def test_partitions_that_take_no_appends_are_found(
    copies: Copies, setting: str, level: str, said: str
) -> None:
    """No leader, or fewer copies in sync than `min.insync.replicas`: with the brokers to start."""
    [finding] = found(BROKERS, topic(copies))
    assert (finding.setting, finding.level) == (setting, level)
    assert said in str(finding)


def test_what_may_not_be_asked_is_said_and_not_judged() -> None:
    """A client without DescribeConfigs reads that nobody looked; no setting is taken for wrong."""
    untold = topic(settings={}, told=False)
    assert findings_of(ADDRESS, [untold], 3) == ()
    [finding] = found(BROKERS, untold)
    assert (finding.level, finding.found) == (NOTE, "not told")


def test_a_topic_that_made_itself_is_named() -> None:
    """Its wrong settings are found as ever; why they are wrong is said beside them."""
    [finding] = found(BROKERS, topic(made_here=False))
    assert "because a client asked for it" in finding.found


def test_a_sealed_epoch_without_a_next_one_stops_and_loses_nothing() -> None:
    """Collectors start on it, to be read and to say so; an unsafe setting keeps them from starting."""
    sealed = topic(settings=settings_for(Role.LOG, 3) | {"max.message.bytes": "1"})
    [finding] = findings_of(ADDRESS, [sealed], 3)
    assert (finding.setting, finding.level) == ("sealed", STOPS)
    assert "topics ensure --partitions N --new-epoch" in finding.remedy
    unsafe = topic(settings=settings_for(Role.LOG, 3) | {"retention.ms": "1"})
    assert [each.level for each in findings_of(ADDRESS, [unsafe], 3)] == [UNSAFE]


def test_only_strays_are_strays() -> None:
    """Topics of other prefixes, and of a log with a longer one, are nobody's mistake."""
    names = [
        "p.log.1",
        "p.intake",
        "p.dead-letters",
        "p.eu.log.1",
        "p.eu.intake",
        "px.log.1",
        "p.log.9",
        "p.x",
    ]
    assert strays_among(ADDRESS, names, {"p.log.1"}) == ["p.log.9", "p.x"]


def test_why_groups_stand_still_is_more_than_few_copies() -> None:
    """Who waits for a coordinator hears of what keeps it away, not of what might once."""
    assert group_findings(BROKERS._replace(groups=GROUPS._replace(replication=1)), 1) == ()
    assert group_findings(BROKERS._replace(groups=None, number=1), 1) != ()
