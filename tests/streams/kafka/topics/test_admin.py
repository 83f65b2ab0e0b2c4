"""Topics are made as the promise needs them, and whatever would break it is refused with what to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from kafka import KafkaProducer
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.kafka.topics import admin as module
from streams.kafka.topics.admin import UnsafeTopics, check, ensure, newest_appends, show
from streams.kafka.topics.policy import (
    NOTE,
    TIMESTAMPS,
    Role,
    Topic,
    as_remembered,
    findings_of,
    settings_for,
    unsafe_replication,
)
from streams.log.block import read_block, write_block
from streams.log.port import DEAD, LogIdentity, LogUnavailable
from tests.feedback.running import until
from tests.services.kafka.broker import Cluster
from tests.services.kafka.fixtures import unique_prefix

BROKERS = 3


@pytest.fixture
def address(kafka: Cluster) -> Address:
    """An address without topics."""
    return Address.parse(kafka.address(unique_prefix()))


@pytest.fixture
def admin(kafka: Cluster) -> Iterator[Any]:
    """A client to do to topics what nobody should."""
    client = KafkaAdminClient(bootstrap_servers=kafka.bootstrap)
    yield client
    client.close()


@pytest.mark.broker
def test_topics_are_made_once(address: Address) -> None:
    """The first run makes three topics without a finding; another run changes nothing."""
    made = ensure(address, 3)
    assert {topic.role: (topic.name, topic.partitions) for topic in made.topics} == {
        Role.LOG: (f"{address.prefix}.log.1", 3),
        Role.INTAKE: (f"{address.prefix}.intake", 3),
        Role.DEAD_LETTERS: (f"{address.prefix}.dead-letters", 1),
    }
    assert ensure(address) == ensure(address, 3) == show(address) == made
    assert check(address) == ()


@pytest.mark.broker
def test_the_newest_append_is_told_by_its_brokers_clock(address: Address) -> None:
    """Nothing of empty partitions, and of others when their broker appended last, by its own clock."""
    ensure(address, 2)
    assert newest_appends(address) == {}
    before = time.time_ns() - 1_000_000
    with closing(KafkaLog(address)) as log:
        log.append([(1, write_block((), (), ()))])
    ((broker, appended),) = newest_appends(address).items()
    assert broker == f"broker 1 ({address.servers[0]})"
    assert before <= appended <= time.time_ns()


@pytest.mark.broker
def test_topics_with_their_senders_time_are_given_the_brokers(address: Address, admin: Any) -> None:
    """In place, and without a change to what is read of records that lie there."""
    made = ensure(address, 2)
    for topic in made.names:
        _alter(admin, topic, {TIMESTAMPS: "CreateTime"})
    assert {finding.setting for finding in check(address)} == {TIMESTAMPS}
    producer = KafkaProducer(bootstrap_servers=address.bootstrap)
    producer.send(address.dead_letters, b"foreign", timestamp_ms=1_000, partition=0)
    producer.flush()
    with pytest.raises(UnsafeTopics, match="--new-epoch"):
        ensure(address, 3)
    assert {finding.setting for finding in check(address)} == {TIMESTAMPS}
    with closing(KafkaLog(address)) as log:
        before = log.read(DEAD, 0, 1)
    assert ensure(address) == made
    producer.send(address.dead_letters, b"foreign", timestamp_ms=1_000, partition=0)
    producer.close()
    with closing(KafkaLog(address)) as log:
        first, second = log.read(DEAD, 0, 2)
    assert [first] == before
    assert list(read_block(first)[0].instants()) == [1_000 * 1_000_000]
    assert max(read_block(second)[0].instants()) > time.time_ns() - 60 * 10**9


@pytest.mark.broker
def test_three_brokers_keep_three_copies(kafka_cluster: Cluster) -> None:
    """With three brokers each partition has three replicas, two of them in sync before an acknowledgement."""
    address = Address.parse(kafka_cluster.address(unique_prefix()))
    made = ensure(address, 2)
    assert made.brokers == BROKERS
    assert {topic.replication for topic in made.topics} == {3}
    assert {topic.settings["min.insync.replicas"] for topic in made.topics} == {"2"}
    with pytest.raises(UnsafeTopics, match="replication is 1 and has to be 3"):
        ensure(Address.parse(kafka_cluster.address(unique_prefix())), 2, replication=1)


@pytest.mark.broker
def test_brokers_that_have_not_heard_of_the_topics_yet_are_asked_again(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made, and not known to the broker that is asked next: it is waited for, as in a cluster of several."""
    look = module._look
    after: list[Exception | Callable[[module.Topics], module.Topics]] = [
        LogUnavailable("not heard of it yet"),
        lambda found: found._replace(topics=()),
    ]

    def lagging(client: Any, at: Address) -> module.Topics:
        found = look(client, at)
        if not found.topics or not after:
            return found
        lag = after.pop()
        if isinstance(lag, Exception):
            raise lag
        return lag(found)

    monkeypatch.setattr(module, "_look", lagging)
    assert len(ensure(address, 2).topics) == 3
    assert not after
    after += [lambda found: found._replace(topics=())] * 9
    with pytest.raises(LogUnavailable, match="do not all know"):
        ensure(address, 2, told_s=0.3)


@pytest.mark.broker
def test_a_topic_whose_settings_are_not_told_is_not_judged(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that does not describe a topic is asked again by `ensure`; where it goes on, that is said."""
    describe = KafkaAdminClient.describe_configs
    silent = 2

    def describing(client: Any, *asked: Any, **how: Any) -> Any:
        nonlocal silent
        said = describe(client, *asked, **how)
        if silent and address.intake in said.get("topic", {}):
            silent -= 1
            said["topic"][address.intake] = {}
        return said

    monkeypatch.setattr(KafkaAdminClient, "describe_configs", describing)
    made = ensure(address, 2)
    assert silent == 0
    assert all(topic.settings for topic in made.topics)
    silent = 1
    with pytest.raises(LogUnavailable, match=f"do not say how {address.intake} is set"):
        show(address)
    assert show(address) == made


@pytest.mark.broker
@pytest.mark.parametrize(
    "asked, said",
    [
        ({"partitions": 0}, "partitions is 0 and has to be 1 to 1024"),
        ({"partitions": 1025}, "partitions is 1025"),
        ({"intake_partitions": 0}, "partitions is 0"),
        ({"replication": 2}, "replication is 2"),
        ({"replication": 3}, "start 3 brokers, or ask for `--replication 1`"),
        ({"new_epoch": True}, "leave `--new-epoch` out"),
    ],
)
def test_what_is_not_safe_is_not_made(address: Address, asked: dict[str, Any], said: str) -> None:
    """An unsafe wish is refused, and nothing is made of it."""
    with pytest.raises(UnsafeTopics) as refusal:
        ensure(address, **asked)
    assert said in str(refusal.value)
    assert all(finding.remedy for finding in refusal.value.findings)
    assert show(address).topics == ()


@pytest.mark.broker
def test_another_number_of_partitions_is_a_new_epoch(address: Address) -> None:
    """A log's partitions are fixed; the refusal names the command, and the command can be repeated."""
    ensure(address, 2)
    with pytest.raises(UnsafeTopics, match="--partitions 3 --new-epoch"):
        ensure(address, 3)
    after = ensure(address, 3, new_epoch=True)
    assert [(topic.partitions, topic.sealed) for topic in after.epochs] == [(2, True), (3, False)]
    assert check(address) == ()
    again = ensure(address, 3, new_epoch=True)
    assert (again.epochs, after.already, again.already) == (after.epochs, False, True)


@pytest.mark.broker
def test_who_did_not_get_its_number_of_partitions_is_told(
    address: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two new epochs at once with different numbers: one is made, and the other command is refused."""
    ensure(address, 2)
    seal = module._seal

    def meanwhile(client: Any, at: Address, topic: Topic) -> None:
        monkeypatch.setattr(module, "_seal", seal)
        ensure(address, 3, new_epoch=True)
        seal(client, at, topic)

    monkeypatch.setattr(module, "_seal", meanwhile)
    with pytest.raises(UnsafeTopics, match="partitions is 3 and has to be 4"):
        ensure(address, 4, new_epoch=True)
    assert [topic.partitions for topic in show(address).epochs] == [2, 3]


@pytest.mark.broker
def test_an_interrupted_epoch_is_found_and_finished(address: Address, admin: Any) -> None:
    """A log that is sealed and has no next epoch is a finding, and another run makes the epoch."""
    ensure(address, 2)
    _alter(admin, address.log_topic(1), {"max.message.bytes": "1"})
    assert [finding.setting for finding in check(address)] == ["sealed"]
    with pytest.raises(UnsafeTopics, match="--new-epoch"):
        ensure(address)
    assert len(ensure(address, 2, new_epoch=True).epochs) == 2


@pytest.mark.broker
@pytest.mark.parametrize("asked, topics", [({"replication": 3}, 3), ({"intake_partitions": 5}, 1)])
def test_topics_that_are_otherwise_than_asked_for_are_told(
    address: Address, asked: dict[str, Any], topics: int
) -> None:
    """What cannot be changed any more is refused, instead of passed over in silence."""
    ensure(address, 2)
    with pytest.raises(UnsafeTopics, match="that is what was requested") as refusal:
        ensure(address, 2, **asked)
    assert len(refusal.value.findings) == topics
    ensure(address, 2, replication=1, intake_partitions=2)


@pytest.mark.broker
@pytest.mark.parametrize("role", [Role.INTAKE, Role.DEAD_LETTERS])
def test_a_topic_that_is_gone_is_found_and_made_again(address: Address, admin: Any, role: Role) -> None:
    """A log without its intake or its dead letters is a finding, which names the command that mends it."""
    name = {Role.INTAKE: address.intake, Role.DEAD_LETTERS: address.dead_letters}[role]
    ensure(address, 2)
    admin.delete_topics([name])
    [finding] = check(address)
    assert (finding.topic, finding.found) == (name, "missing")
    assert "loopline topics ensure" in finding.remedy
    assert ensure(address).findings == check(address) == ()


@pytest.mark.broker
@pytest.mark.timeout(120)
def test_a_new_epoch_never_has_fewer_copies(kafka_cluster: Cluster) -> None:
    """While one of three brokers is away it is refused, before anything is sealed."""
    address = Address.parse(kafka_cluster.address(unique_prefix()))
    ensure(address, 2)
    kafka_cluster.brokers[2].stop()
    try:
        until(lambda: show(address).brokers == BROKERS - 1, "the cluster to miss a broker")
        with pytest.raises(UnsafeTopics, match="start 3 brokers"):
            ensure(address, 3, new_epoch=True)
        found = show(address)
        assert found.unsafe == ()
        assert not found.epochs[-1].sealed
        assert "start broker 3," in str(found.findings[0])
    finally:
        kafka_cluster.brokers[2].start()
    until(lambda: show(address).brokers == BROKERS, "the cluster to have three brokers")
    assert {topic.replication for topic in ensure(address, 3, new_epoch=True).topics} == {BROKERS}


@pytest.mark.broker
def test_partitions_added_to_a_live_topic_are_found(address: Address, admin: Any) -> None:
    """Held against what a store knows, more partitions are a finding with a way out; so is another log."""
    ensure(address, 2)
    log = KafkaLog(address)
    known = log.identity
    log.close()
    assert check(address, known) == ()
    admin.create_partitions({address.log_topic(1): 4})
    [finding] = check(address, known)
    assert (finding.setting, finding.found, finding.wanted) == ("partitions", "4", "2")
    assert "--partitions 4 --new-epoch" in finding.remedy
    assert check(address, LogIdentity(known.id, 1, 4)) == ()
    healed = ensure(address, 4, new_epoch=True, known=known)
    assert [topic.partitions for topic in healed.epochs] == [4, 4]
    assert [finding.level for finding in check(address, known)] == [NOTE]
    with pytest.raises(UnsafeTopics, match="built from another log"):
        ensure(address, 5, new_epoch=True, known=LogIdentity("another", 1, 2))
    assert len(show(address).epochs) == 2


def _named(*partitions: int) -> list[Topic]:
    made = [_topic(Role.LOG, 3)._replace(partitions=count) for count in partitions]
    return [topic._replace(name=_ADDRESS.log_topic(number)) for number, topic in enumerate(made, 1)]


@pytest.mark.parametrize(
    "epochs, known, topic, setting, found",
    [
        ([4], LogIdentity("other", 1, 4), "p.log.1", "id", "id"),
        ([2], LogIdentity("other", 1, 4), "p.log.1", "id", "id"),
        ([], LogIdentity("id", 2, 4, (4,)), "p.log.1", "topic", "missing"),
        ([4], LogIdentity("id", 2, 4, (4,)), "p.log.2", "topic", "missing"),
        ([4, 2], LogIdentity("id", 4, 4, (4, 3, 2)), "p.log.2", "partitions", "2"),
        ([4, 4], LogIdentity("id", 2, 6, (4,)), "p.log.2", "partitions", "4"),
    ],
)
def test_a_log_that_is_not_the_stores_is_never_mended_by_a_new_epoch(
    epochs: list[int], known: LogIdentity, topic: str, setting: str, found: str
) -> None:
    """Another log, or an epoch that is lost: found by what the store knows, and no advice makes it worse."""
    there = _named(*epochs)
    if there:
        there[-1] = there[-1]._replace(settings={**there[-1].settings, "max.message.bytes": "1"})
    [told] = as_remembered(_ADDRESS, findings_of(_ADDRESS, there, 3), there, known)
    assert (told.topic, told.setting, told.found) == (topic, setting, found)
    assert "bring back the brokers' data" in told.remedy
    assert "--new-epoch" not in str(told)


def test_a_sealed_epoch_is_still_to_be_followed_by_one() -> None:
    """Where the store knows no later epoch, the advice to finish the command stays."""
    [topic] = _named(4)
    sealed = [topic._replace(settings={**topic.settings, "max.message.bytes": "1"})]
    found = findings_of(_ADDRESS, sealed, 3)
    assert as_remembered(_ADDRESS, found, sealed, LogIdentity("id", 1, 4)) == found
    assert "--new-epoch" in found[0].remedy


def _alter(admin: Any, topic: str, settings: dict[str, str]) -> None:
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, settings)])


@pytest.mark.broker
def test_a_setting_changed_by_hand_is_found(address: Address, admin: Any) -> None:
    """What an operator changed on a live topic is found, and ensure refuses to go on over it."""
    ensure(address, 1)
    _alter(admin, address.log_topic(1), {"retention.ms": "86400000", "cleanup.policy": "compact"})
    found = check(address)
    assert {finding.setting for finding in found} == {"retention.ms", "cleanup.policy"}
    with pytest.raises(UnsafeTopics, match=r"--add-config retention\.ms=-1"):
        ensure(address)


_ADDRESS = Address(("a:1",), "p")


def _topic(role: Role, copies: int, **settings: str) -> Topic:
    told = {name.replace("_", "."): value for name, value in settings.items()}
    return Topic("p.t", role, "id", 1, copies, {**settings_for(role, copies), **told})


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("copies", [1, 3])
def test_topics_as_they_are_made_are_safe(role: Role, copies: int) -> None:
    """What is made has no finding."""
    assert findings_of(_ADDRESS, [_topic(role, copies)], copies) == ()


@pytest.mark.parametrize(
    "role, copies, setting, value",
    [
        (Role.LOG, 3, "min.insync.replicas", "1"),
        (Role.LOG, 3, "min.insync.replicas", "3"),
        (Role.LOG, 3, "unclean.leader.election.enable", "true"),
        (Role.LOG, 3, "retention.ms", "604800000"),
        (Role.LOG, 3, "retention.bytes", "1073741824"),
        (Role.LOG, 3, "cleanup.policy", "compact,delete"),
        (Role.LOG, 3, "max.message.bytes", "1048588"),
        (Role.LOG, 3, "message.timestamp.type", "CreateTime"),
        (Role.LOG, 1, "flush.messages", "9223372036854775807"),
        (Role.LOG, 1, "min.insync.replicas", "2"),
        (Role.DEAD_LETTERS, 3, "retention.ms", "604800000"),
        (Role.INTAKE, 3, "retention.ms", "3600000"),
        (Role.INTAKE, 3, "retention.bytes", "1"),
        (Role.INTAKE, 3, "unclean.leader.election.enable", "true"),
    ],
)
def test_each_unsafe_setting_is_found(role: Role, copies: int, setting: str, value: str) -> None:
    """Every setting that would break the promise is found by its name, with the command that mends it."""
    topic = _topic(role, copies, **{setting: value})
    [finding] = findings_of(_ADDRESS, [topic], copies)
    assert (finding.setting, finding.found) == (setting, value)
    assert f"--add-config {setting}=" in finding.remedy


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("copies", [1, 3])
def test_a_setting_that_is_not_told_is_not_trusted(role: Role, copies: int) -> None:
    """Brokers that leave out a setting have not said that it is safe: it is found as unknown."""
    whole = _topic(role, copies)
    findings = findings_of(_ADDRESS, [whole._replace(settings={})], copies)
    assert {finding.setting for finding in findings} == set(whole.settings)
    assert {finding.found for finding in findings} == {"unknown"}


@pytest.mark.parametrize("copies, brokers, safe", [(1, 1, True), (1, 2, True), (1, 3, False)])
def test_one_copy_is_for_few_brokers(copies: int, brokers: int, safe: bool) -> None:
    """A single copy is allowed only where there are not enough brokers for three."""
    assert (unsafe_replication("t", copies, brokers) == []) is safe
