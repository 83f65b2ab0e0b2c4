"""The topics of a log: made, checked, and given another number of partitions by a new epoch.

Requests and existing topics are compared with what the promise requires; each violation is a `TopicFinding`
with what to do. Existing topics are neither removed nor changed, with two exceptions: an epoch's topic is
sealed (set to refuse every append), so that no collector writes to it and to the next one; and a topic whose
records bear their senders' time is set to have them bear the broker's.

`show` reads, `check` judges, `ensure` makes; the command line prints what they return.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kafka import KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec
from kafka.errors import (
    BrokerResponseError,
    KafkaError,
    MessageSizeTooLargeError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
)

from schemas.errors import Refused
from streams.kafka.address import Address
from streams.kafka.connect import CLIENT, admin, answering, described, epoch_topics
from streams.kafka.topics.availability import (
    BROKER_SETTINGS,
    OFFSETS,
    BrokerState,
    findings_of_brokers,
    group_findings,
)
from streams.kafka.topics.policy import (
    BROKERS_CLOCK,
    REPLICAS,
    SEALED,
    SEALED_BYTES,
    STOPS,
    TIMESTAMPS,
    UNSAFE,
    Copies,
    Role,
    Topic,
    TopicFinding,
    added_partitions,
    as_remembered,
    differing_from_request,
    findings_of,
    made_otherwise,
    missing_topics,
    other_log,
    settings_for,
    too_few_brokers,
    unsafe_partitions,
    unsafe_replication,
)
from streams.log.block import write_block
from streams.log.port import LogIdentity, LogRefused, LogUnavailable

DEFAULT_PARTITIONS = 4

_DESCRIBE, _OWN = "DESCRIBE_CONFIGS", "DYNAMIC_TOPIC_CONFIG"
_SEAL_S = 30.0


class UnsafeTopics(Refused):
    """Requested or existing topics that would break the promise; `findings` say which, and what to do."""

    def __init__(self, findings: tuple[TopicFinding, ...]) -> None:
        super().__init__("; ".join(str(finding) for finding in findings))
        self.findings = findings


class Topics(NamedTuple):
    """The existing topics: those of the log (oldest epoch first), the intake and the dead letters.

    `already`: a new epoch was requested, and the log's last one is as it would be.
    """

    address: Address
    brokers: int
    topics: tuple[Topic, ...]
    findings: tuple[TopicFinding, ...]
    already: bool = False

    @property
    def epochs(self) -> list[Topic]:
        """The log's topics."""
        return [topic for topic in self.topics if topic.role is Role.LOG]

    @property
    def unsafe(self) -> tuple[TopicFinding, ...]:
        """What could lose an acknowledged event."""
        return tuple(finding for finding in self.findings if finding.level == UNSAFE)

    @property
    def names(self) -> set[str]:
        """What they are called."""
        return {topic.name for topic in self.topics}


def show(address: Address) -> Topics:
    """The topics at an address, with what is wrong with them. Raises LogUnavailable or LogRefused."""
    with admin(address) as client:
        found = _look(client, address)
    return found._replace(findings=found.findings + missing_topics(address, found.topics))


def newest_appends(address: Address) -> dict[str, int]:
    """When the newest record was appended, by the clock of each broker that leads partitions (ns since 1970).

    Brokers that lead empty partitions only are left out. Raises LogUnavailable or LogRefused.
    """
    with admin(address) as client:
        topics = epoch_topics(client, address)[-1:] + list(described(client, [address.dead_letters]).values())
        leaders = {
            TopicPartition(topic["name"], each["partition_index"]): each["leader_id"]
            for topic in topics
            for each in topic["partitions"]
        }
        brokers = {
            each["broker_id"]: f"broker {each['broker_id']} ({each['host']}:{each['port']})"
            for each in client.describe_cluster()["brokers"]
        }
        queries = {each: OffsetSpec.MAX_TIMESTAMP for each, leader in leaders.items() if leader in brokers}
        newest: dict[str, int] = {}
        for topic_partition, found in client.list_partition_offsets(queries).items():
            broker = brokers[leaders[topic_partition]]
            if found.timestamp > 0:
                newest[broker] = max(newest.get(broker, 0), found.timestamp * 1_000_000)
    return newest


def check(address: Address, known: LogIdentity | None = None) -> tuple[TopicFinding, ...]:
    """What would break the promise, empty when all is well.

    `known` is the log as a store remembers it: it shows another log, lost epochs and added partitions.
    """
    seen = show(address)
    return seen.findings if known is None else as_remembered(address, seen.findings, seen.epochs, known)


def ensure(
    address: Address,
    partitions: int | None = None,
    replication: int | None = None,
    *,
    intake_partitions: int | None = None,
    new_epoch: bool = False,
    known: LogIdentity | None = None,
    told_s: float = 10.0,
) -> Topics:
    """Make the topics that are missing, and look at all of them.

    Args:
        address: the brokers and the prefix.
        partitions: of the log; 4 when left out. Another number than is there needs `new_epoch`.
        replication: copies of each partition; left out, as many as the topics have that are there, else
            three, or one where there are fewer brokers.
        intake_partitions: of the intake; as many as the log's when left out.
        new_epoch: seal the current epoch's topic, and go on in a new one with that many partitions. Safe to
            repeat: where the current epoch has that many, nothing is done, unless it is sealed or some were
            added to it by hand.
        known: the log as a store remembers it. A new epoch of another log, or in the place of a lost one, is
            refused; None says that there is no store.

    Raises UnsafeTopics, and then nothing was made; LogUnavailable; LogRefused.
    """
    with admin(address) as client:
        before = _look(client, address)
        current = before.epochs[-1] if before.epochs else None
        if new_epoch and known is not None:
            _refuse(other_log(address, before.epochs, known))
        already = new_epoch and _is_already(before.epochs, partitions, known)
        new_epoch = new_epoch and not already
        _refuse(_request_findings(before, partitions, replication, intake_partitions, new_epoch))
        copies = replication or _copies(before)
        count = partitions or (current.partitions if current else DEFAULT_PARTITIONS)
        wanted = {
            address.dead_letters: (Role.DEAD_LETTERS, 1),
            address.intake: (Role.INTAKE, intake_partitions or count),
        }
        if current is None:
            wanted[address.log_topic(1)] = (Role.LOG, count)
        elif new_epoch:
            wanted[address.log_topic(len(before.epochs) + 1)] = (Role.LOG, count)
        missing = {name: each for name, each in wanted.items() if name not in before.names}
        if missing:
            _refuse(tuple(too_few_brokers(next(iter(missing)), copies, before.brokers)))
        _stamp(client, before)
        if current is not None and new_epoch:
            # What the brokers would refuse to make is better known before nothing can be appended any more.
            _create(client, missing, copies, only_try=True)
            _seal(client, address, current)
        _create(client, missing, copies)
        after = _told(client, before, set(wanted) | before.names, told_s)
    _refuse((*after.unsafe, *made_otherwise(after.topics, missing)))
    return after._replace(already=already)


def _is_already(epochs: Sequence[Topic], partitions: int | None, known: LogIdentity | None) -> bool:
    """Whether the last epoch is what a new one would be: open, and made with that many partitions."""
    if not epochs or epochs[-1].sealed or epochs[-1].partitions != partitions:
        return False
    return known is None or not added_partitions(epochs, known)


def _copies(before: Topics) -> int:
    """How many copies a new topic gets: never fewer than the others, also while a broker is unavailable."""
    if before.topics:
        return max(topic.replication for topic in before.topics)
    return REPLICAS if before.brokers >= REPLICAS else 1


def _refuse(findings: tuple[TopicFinding, ...]) -> None:
    if findings:
        raise UnsafeTopics(findings)


def _request_findings(
    before: Topics, partitions: int | None, replication: int | None, intake: int | None, new_epoch: bool
) -> tuple[TopicFinding, ...]:
    """What is wrong with the request, and with the existing topics."""
    address, epochs = before.address, before.epochs
    findings = [
        *unsafe_partitions(address.log_topic(len(epochs) or 1), partitions),
        *unsafe_partitions(address.intake, intake),
        *unsafe_replication(address.log_topic(len(epochs) or 1), replication, before.brokers),
        *differing_from_request(before.topics, replication, intake),
    ]
    if epochs and not new_epoch and partitions not in (None, epochs[-1].partitions):
        findings.append(
            TopicFinding(
                epochs[-1].name,
                "partitions",
                str(epochs[-1].partitions),
                str(partitions),
                "a log's partitions are fixed, or the events of one key would lie in two of them",
                f"leave it, and set `partitions = {epochs[-1].partitions}` in the settings; to change it for"
                f" good, begin a new epoch: `loopline topics ensure --partitions {partitions} --new-epoch`",
            )
        )
    if new_epoch and (not epochs or partitions is None):
        findings.append(
            TopicFinding(
                address.log_topic(1),
                "epoch",
                str(len(epochs)),
                "an existing log and a number of partitions",
                "a new epoch changes the number of partitions of a log that is there",
                "name it with `--partitions`, and leave `--new-epoch` out where there is no log yet",
            )
        )
    # A sealed epoch without a next one is what an interrupted ensure leaves; a new epoch mends it.
    sealed = () if new_epoch else tuple(each for each in before.findings if each.setting == SEALED)
    return (*findings, *(each for each in before.unsafe if each.setting != TIMESTAMPS), *sealed)


def _stamp(client: Any, before: Topics) -> None:
    """Have brokers stamp what they append from now on; records that are there keep what they have."""
    for finding in before.findings:
        if finding.setting == TIMESTAMPS:
            wanted = {TIMESTAMPS: BROKERS_CLOCK}
            client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, finding.topic, wanted)])


def _look(client: Any, address: Address) -> Topics:
    epochs = epoch_topics(client, address)
    others = described(client, [address.intake, address.dead_letters])
    raw = [(Role.LOG, topic) for topic in epochs]
    raw += [
        (role, others[name])
        for role, name in ((Role.INTAKE, address.intake), (Role.DEAD_LETTERS, address.dead_letters))
        if name in others
    ]
    settings = _settings(client, [topic for _, topic in raw])
    topics = tuple(_topic(role, topic, settings[topic["name"]]) for role, topic in raw)
    brokers = _brokers(client)
    copies = max((topic.replication for topic in topics), default=min(brokers.number, REPLICAS))
    found = (
        *findings_of(address, topics, brokers.number),
        *findings_of_brokers(address, topics, brokers, copies),
    )
    return Topics(address, brokers.number, topics, found)


def _topic(role: Role, topic: Mapping[str, Any], settings: Mapping[str, Any] | None) -> Topic:
    copies = tuple(
        Copies(
            each["partition_index"], each["leader_id"], tuple(each["replica_nodes"]), tuple(each["isr_nodes"])
        )
        for each in sorted(topic["partitions"], key=lambda each: int(each["partition_index"]))
    )
    return Topic(
        topic["name"],
        role,
        str(topic["topic_id"]),
        len(copies),
        min(len(each.replicas) for each in copies),
        {key: str(entry["value"]) for key, entry in (settings or {}).items()},
        copies,
        told=settings is not None,
        made_here=any(entry["config_source"] == _OWN for entry in (settings or {}).values()),
    )


def _brokers(client: Any) -> BrokerState:
    """What the brokers say of themselves and of their groups, as far as this client may ask."""
    alive = [each["broker_id"] for each in client.describe_cluster()["brokers"] if not each.get("is_fenced")]
    told: Mapping[str, Any] = {}
    if alive:
        query = ConfigResource(ConfigResourceType.BROKER, str(alive[0]), dict.fromkeys(BROKER_SETTINGS))
        told = client.describe_configs([query], config_filter="all").get("broker", {}).get(str(alive[0]), {})
    try:
        groups = described(client, [OFFSETS]).get(OFFSETS)
        may_see = True
    except TopicAuthorizationFailedError:
        groups, may_see = None, False
    return BrokerState(
        len(alive),
        {name: str(entry["value"]) for name, entry in told.items()},
        None if groups is None else _topic(Role.GROUPS, groups, _settings(client, [groups])[OFFSETS]),
        may_see,
        client.list_topics(),
    )


def groups_stand_still(address: Address) -> str:
    """Why no group gets a coordinator, with what to do; empty when nothing is known that would hinder it.

    Raises LogUnavailable or LogRefused.
    """
    with admin(address) as client:
        brokers = _brokers(client)
    # Whether it has too few copies is another matter: it has those that it has.
    stopped = [each for each in group_findings(brokers, 1) if each.level == STOPS]
    return " ".join(map(str, stopped))


def _settings(client: Any, topics: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any] | None]:
    """The settings of each topic, or None for one whose settings this client may not ask for."""
    names = [
        topic["name"] for topic in topics if _DESCRIBE in (topic.get("authorized_operations") or (_DESCRIBE,))
    ]
    told: dict[str, dict[str, Any] | None] = {topic["name"]: None for topic in topics}
    if not names:
        return told
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    answer = client.describe_configs(resources, config_filter="all")["topic"]
    # The client says nothing of an error here: a topic that a broker does not describe has no settings.
    if silent := [name for name in names if not answer[name]]:
        raise LogUnavailable(
            f"the brokers do not say how {', '.join(silent)} is set. Run this again, for one of them may not"
            " have heard of it yet."
        )
    return told | {name: answer[name] for name in names}


def _create(
    client: Any, wanted: Mapping[str, tuple[Role, int]], copies: int, *, only_try: bool = False
) -> None:
    for name, (role, partitions) in wanted.items():
        topic = {
            "num_partitions": partitions,
            "replication_factor": copies,
            "configs": settings_for(role, copies),
        }
        try:
            client.create_topics({name: topic}, validate_only=only_try)
        except TopicAlreadyExistsError:
            continue  # another command was quicker; its topic is checked afterwards like the others
        except BrokerResponseError as error:
            if error.retriable:
                raise
            # They do answer: to try again would not help.
            raise LogRefused(
                f"the brokers refuse to make {name}: {type(error).__name__}. Look at what they allow"
                " (`create.topic.policy.class.name`, the rights of this client), and run this again."
            ) from error
    if wanted and not only_try:
        client.wait_for_topics(list(wanted))


def _told(client: Any, before: Topics, names: set[str], told_s: float) -> Topics:
    """The existing topics, once the brokers all know which were made and sealed."""
    address = before.address
    deadline = time.monotonic() + told_s
    while time.monotonic() < deadline:
        with contextlib.suppress(LogUnavailable):
            found = _look(client, address)
            if names <= found.names and not _unheard(found, before):
                return found
        time.sleep(0.1)
    found = _look(client, address)
    if not names <= found.names:
        raise LogUnavailable(
            f"the brokers of {address} do not all know the topics that were made yet."
            " Check that all of them run and reach each other, and run this again."
        )
    return found


def _unheard(found: Topics, before: Topics) -> list[TopicFinding]:
    """What is amiss only as long as not all brokers have heard; what only stops, and did before, stays so."""
    return [
        each
        for each in found.findings
        if each.level == UNSAFE
        or each.setting == SEALED
        or (each.level == STOPS and each not in before.findings)
    ]


def _seal(client: Any, address: Address, topic: Topic) -> None:
    """Make the brokers refuse every append to a topic, and wait until each partition's leader does.

    The probe is a block without events, which does no harm where it is still taken.
    """
    limit = {"max.message.bytes": str(SEALED_BYTES)}
    client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic.name, limit)])
    probe = write_block((), (), ())
    servers = answering(address)
    producer = KafkaProducer(**{**address.client_options, "bootstrap_servers": servers, **CLIENT}, acks="all")
    deadline = time.monotonic() + _SEAL_S
    try:
        for partition in range(topic.partitions):
            while not _refused(producer, topic.name, partition, probe):
                if time.monotonic() > deadline:
                    raise LogUnavailable(
                        f"{topic.name} partition {partition} still takes appends: the epoch is not sealed."
                        " Look whether its leader is up, and run this again."
                    )
                time.sleep(0.1)
    finally:
        producer.close(timeout=5)


def _refused(producer: Any, topic: str, partition: int, probe: bytes) -> bool:
    try:
        producer.send(topic, probe, partition=partition).get(timeout=10)
    except MessageSizeTooLargeError:
        return True
    except KafkaError:
        return False
    return False
