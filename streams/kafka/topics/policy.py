"""What the promise requires of each topic, and what to do where a topic does not meet it.

Pure: the descriptions come from `streams.kafka.topics.admin`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from streams.kafka.address import Address
from streams.log.port import LogIdentity

MAX_PARTITIONS = 1024
REPLICAS = 3
IN_SYNC = 2
RECORD_BYTES = 4 * 1024 * 1024
"""A block has at most 512 KiB, a refused body at most 1 MiB, and a request several of them."""
SEALED_BYTES = 1
TIMESTAMPS, BROKERS_CLOCK = "message.timestamp.type", "LogAppendTime"
"""Whose clock stamps a topic's records."""

UNSAFE, STOPS, NOTE = "unsafe", "stops", "note"
"""What a finding means: an acknowledged event could be lost; work stops, or will; it is worth knowing."""

_LEAST_RECORD_BYTES = 2 * 1024 * 1024
SEALED = "sealed"
NO_NEXT_EPOCH = (
    "the log's last epoch is sealed and there is no next one: `loopline topics ensure --new-epoch` did not"
    " come to make it, or its topic was deleted. Collectors answer 503"
)
_WEEK_MS = 7 * 24 * 3600 * 1000


class Role(StrEnum):
    """What a topic is for."""

    LOG = "log"
    INTAKE = "intake"
    DEAD_LETTERS = "dead-letters"
    GROUPS = "groups"


class Copies(NamedTuple):
    """A partition: the broker that leads it (-1: none), those that have a copy, those whose copy is whole."""

    partition: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class Topic(NamedTuple):
    """A topic as the brokers describe it.

    Args:
        replication: that of its least copied partition.
        settings: all of them; empty when they were not `told`.
        told: whether this client may ask for the settings.
        made_here: whether it has any setting of its own, as those have that `topics ensure` makes.
    """

    name: str
    role: Role
    id: str
    partitions: int
    replication: int
    settings: Mapping[str, str]
    copies: tuple[Copies, ...] = ()
    told: bool = True
    made_here: bool = True

    @property
    def sealed(self) -> bool:
        """Whether it was told to refuse every append: its epoch is over."""
        return int(self.settings.get("max.message.bytes", RECORD_BYTES)) <= SEALED_BYTES


class TopicFinding(NamedTuple):
    """Something that is not as it should be. `level` is UNSAFE, STOPS or NOTE."""

    topic: str
    setting: str
    found: str
    wanted: str
    why: str
    remedy: str
    level: str = UNSAFE

    def __str__(self) -> str:
        return (
            f"{self.topic}: {self.setting} is {self.found} and has to be {self.wanted}: {self.why}."
            f" What to do: {self.remedy}."
        )


def settings_for(role: Role, copies: int) -> dict[str, str]:
    """The settings with which a topic is made."""
    settings = {
        "cleanup.policy": "delete",
        "retention.ms": str(_WEEK_MS) if role is Role.INTAKE else "-1",
        "retention.bytes": "-1",
        "min.insync.replicas": str(IN_SYNC) if copies >= REPLICAS else "1",
        "unclean.leader.election.enable": "false",
        "max.message.bytes": str(RECORD_BYTES),
        # By the producers' one, a wrong clock would have records refused, and nobody would hear of it.
        TIMESTAMPS: BROKERS_CLOCK,
    }
    if copies < REPLICAS:
        settings["flush.messages"] = "1"
    return settings


class _Requirement(NamedTuple):
    setting: str
    wanted: str
    holds: Callable[[str], bool]
    why: str
    value: str


def _requirements(role: Role, copies: int) -> Iterator[_Requirement]:
    kept = "what is deleted is gone from the log, and with it from every view that is rebuilt"
    yield _Requirement(
        "cleanup.policy", "delete", "delete".__eq__, "compaction makes holes in the log", "delete"
    )
    if role is Role.INTAKE:
        late = "events that no collector has read yet would be deleted"
        yield _Requirement("retention.ms", "-1 or a week at least", _long_enough, late, str(_WEEK_MS))
        yield _Requirement("retention.bytes", "-1", "-1".__eq__, late, "-1")
    else:
        yield _Requirement("retention.ms", "-1", "-1".__eq__, kept, "-1")
        yield _Requirement("retention.bytes", "-1", "-1".__eq__, kept, "-1")
    unclean = "a replica that lags could become leader, and drop what was acknowledged"
    yield _Requirement("unclean.leader.election.enable", "false", "false".__eq__, unclean, "false")
    room = "a block or a refused body would not fit"
    yield _Requirement(
        "max.message.bytes",
        f"{_LEAST_RECORD_BYTES} at least",
        lambda found: int(found) >= _LEAST_RECORD_BYTES,
        room,
        str(RECORD_BYTES),
    )
    clock = (
        "a record that a producer with a wrong clock sends would be refused, and no acknowledgement would"
        " tell the broker's time, by which a wrong clock is found"
    )
    yield _Requirement(TIMESTAMPS, BROKERS_CLOCK, BROKERS_CLOCK.__eq__, clock, BROKERS_CLOCK)
    if copies >= REPLICAS:
        alone = "an acknowledged block could lie on one disk only"
        yield _Requirement(
            "min.insync.replicas", "2", lambda found: 2 <= int(found) < copies, alone, str(IN_SYNC)
        )
    else:
        many = "with fewer copies than that the brokers refuse every append"
        yield _Requirement("min.insync.replicas", "1", "1".__eq__, many, "1")
        memory = "a single broker acknowledges from memory, and a loss of power would take it back"
        yield _Requirement("flush.messages", "1", "1".__eq__, memory, "1")


def _long_enough(found: str) -> bool:
    return found == "-1" or int(found) >= _WEEK_MS


def findings_of(address: Address, topics: Sequence[Topic], brokers: int) -> tuple[TopicFinding, ...]:
    """What is wrong with topics that are there."""
    found: list[TopicFinding] = []
    epochs = [topic for topic in topics if topic.role is Role.LOG]
    for topic in topics:
        found += unsafe_partitions(topic.name, topic.partitions)
        found += unsafe_replication(topic.name, topic.replication, brokers)
        found += _unmet(topic, past=topic in epochs[:-1])
        if topic.role is Role.DEAD_LETTERS and topic.partitions != 1:
            found.append(_several_dead_letters(topic))
    if epochs and epochs[-1].sealed:
        found.append(
            TopicFinding(
                epochs[-1].name,
                SEALED,
                "true",
                "false",
                NO_NEXT_EPOCH,
                "if there was a next epoch, bring its topic back; else run `loopline topics ensure"
                " --partitions N --new-epoch` again",
                STOPS,
            )
        )
    return tuple(found)


def _unmet(topic: Topic, *, past: bool) -> Iterator[TopicFinding]:
    if not topic.told:
        return
    for requirement in _requirements(topic.role, topic.replication):
        if requirement.setting == "max.message.bytes" and (past or topic.sealed):
            continue
        found = topic.settings.get(requirement.setting)
        if found is None or not requirement.holds(found):
            yield TopicFinding(
                topic.name,
                requirement.setting,
                found or "unknown",
                requirement.wanted,
                requirement.why,
                ("`loopline topics ensure`, or " if requirement.setting == TIMESTAMPS else "")
                + f"kafka-configs --alter --entity-type topics --entity-name {topic.name}"
                f" --add-config {requirement.setting}={requirement.value}",
            )


def unsafe_partitions(topic: str, partitions: int | None) -> list[TopicFinding]:
    """The finding that a number of partitions is out of bounds, if it is."""
    if partitions is None or 1 <= partitions <= MAX_PARTITIONS:
        return []
    why = "each block is of one partition, so that many partitions make small blocks, and cost per event"
    remedy = "ask for few: one for each worker that you expect to need"
    return [TopicFinding(topic, "partitions", str(partitions), f"1 to {MAX_PARTITIONS}", why, remedy)]


def unsafe_replication(topic: str, replication: int | None, brokers: int) -> list[TopicFinding]:
    """The finding that a number of copies is not safe on that many brokers, if it is not."""
    if replication is None or REPLICAS <= replication <= max(brokers, REPLICAS):
        return []
    if replication == 1 and brokers < REPLICAS:
        return []
    wanted = str(REPLICAS) if brokers >= REPLICAS else f"1, or {REPLICAS} with as many brokers"
    why = "fewer copies lose acknowledged events with a broker, or cannot go on without one"
    remedy = (
        f"for a new topic, leave `--replication` out; for one that is there, move it with"
        f" kafka-reassign-partitions to {REPLICAS} replicas and set min.insync.replicas={IN_SYNC}"
    )
    return [TopicFinding(topic, "replication", str(replication), wanted, why, remedy)]


def too_few_brokers(topic: str, replication: int, brokers: int) -> list[TopicFinding]:
    """The finding that a topic cannot be made with so many copies, if it cannot."""
    if replication <= brokers:
        return []
    why = f"each copy lies on a broker of its own, and {_count(brokers, 'broker')} can be reached"
    remedy = f"start {replication} brokers" + (", or ask for `--replication 1`" if brokers < REPLICAS else "")
    return [TopicFinding(topic, "replication", str(replication), f"{brokers} at most", why, remedy)]


def differing_from_request(
    topics: Sequence[Topic], replication: int | None, intake_partitions: int | None
) -> Iterator[TopicFinding]:
    """The finding of each topic that exists and differs from the request."""
    for topic in topics:
        if replication not in (None, topic.replication):
            yield TopicFinding(
                topic.name,
                "replication",
                str(topic.replication),
                str(replication),
                "that is what was requested, and copies of an existing topic are not changed here",
                f"move it with kafka-reassign-partitions, or ask for `--replication {topic.replication}`",
            )
        if topic.role is Role.INTAKE and intake_partitions not in (None, topic.partitions):
            yield TopicFinding(
                topic.name,
                "partitions",
                str(topic.partitions),
                str(intake_partitions),
                "that is what was requested, and an existing topic is not changed here",
                f"add some with kafka-topics --alter --topic {topic.name} --partitions {intake_partitions};"
                " fewer are not possible",
            )


def missing_topics(address: Address, topics: Sequence[Topic]) -> tuple[TopicFinding, ...]:
    """The findings that the intake or dead-letter topic is missing while the log's topics exist."""
    there = {topic.role for topic in topics}
    if Role.LOG not in there:
        return ()
    names = {Role.INTAKE: address.intake, Role.DEAD_LETTERS: address.dead_letters}
    why = {
        Role.INTAKE: "products produce to it, and collectors read it",
        Role.DEAD_LETTERS: "what is refused is kept there",
    }
    return tuple(
        TopicFinding(
            names[role], "topic", "missing", "there", why[role], "make it with `loopline topics ensure`"
        )
        for role in names
        if role not in there
    )


def as_remembered(
    address: Address, findings: Sequence[TopicFinding], epochs: Sequence[Topic], known: LogIdentity
) -> tuple[TopicFinding, ...]:
    """These findings, and what is otherwise in the log's topics than a store remembers.

    Where that is another log or a lost epoch, nothing is left of them that advises to make a new epoch.
    """
    if other := other_log(address, epochs, known):
        return (*other, *(finding for finding in findings if finding.setting != SEALED))
    return (*findings, *added_partitions(epochs, known))


def other_log(address: Address, epochs: Sequence[Topic], known: LogIdentity) -> tuple[TopicFinding, ...]:
    """The finding that a store was built from another log, or from epochs that are not there any more."""
    topic_name = address.log_topic(1)
    if not epochs:
        why = f"the store was built from the log {known.id}, and there is none at this address"
        return (TopicFinding(topic_name, "topic", "missing", "there", why, _BRING_BACK),)
    if epochs[0].id != known.id:
        why = "the store was built from another log"
        remedy = f"{_BRING_BACK}; if this is the right log, rebuild its views with `loopline replay`"
        return (TopicFinding(topic_name, "id", epochs[0].id, known.id, why, remedy),)
    for number, partitions in enumerate((*known.before, known.partitions), 1):
        if number > len(epochs):
            found = "topic", "missing", "there"
        elif (has := epochs[number - 1].partitions) < partitions:
            found = "partitions", str(has), str(partitions)
        else:
            continue
        return (TopicFinding(address.log_topic(number), *found, _LOST, _ACCEPT),)
    return ()


_BRING_BACK = (
    "correct the address of the log or of the store in the settings, or bring back the brokers' data"
)
_LOST = (
    "the store was built from it: it was deleted, and the acknowledged events that were in it are not in the"
    " log any more"
)
_ACCEPT = (
    "bring back the brokers' data, and make no new epoch before; if it is gone for good, accept the loss by"
    " rebuilding the views with `loopline replay`"
)


def added_partitions(epochs: Sequence[Topic], known: LogIdentity) -> tuple[TopicFinding, ...]:
    """The finding that a topic has more partitions than a store remembers of it."""
    if len(epochs) < known.epoch or epochs[known.epoch - 1].partitions <= known.partitions:
        return ()
    topic = epochs[known.epoch - 1]
    why = "partitions were added to a live topic, and the events of one key would lie in two of them"
    found = TopicFinding(
        topic.name, "partitions", str(topic.partitions), str(known.partitions), why, "", UNSAFE
    )
    if len(epochs) > known.epoch:
        remedy = "nothing, if they are empty: it is sealed, and workers look at them; `loopline doctor` tells"
        return (found._replace(remedy=remedy, level=NOTE),)
    remedy = f"begin a new epoch: `loopline topics ensure --partitions {topic.partitions} --new-epoch`"
    return (found._replace(remedy=remedy),)


def made_otherwise(topics: Sequence[Topic], wanted: Mapping[str, tuple[Role, int]]) -> Iterator[TopicFinding]:
    """The finding of each topic that somebody else made meanwhile, with another number of partitions."""
    for topic in topics:
        _, partitions = wanted.get(topic.name, (topic.role, topic.partitions))
        if topic.partitions != partitions:
            yield TopicFinding(
                topic.name,
                "partitions",
                str(topic.partitions),
                str(partitions),
                "that is what was requested, and another command made it at the same time",
                "agree on a number; `loopline topics show` tells what is there",
            )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _several_dead_letters(topic: Topic) -> TopicFinding:
    why = "refused items are one sequence"
    remedy = "delete the topic if it is empty, and run `loopline topics ensure`; else restore a backup"
    return TopicFinding(topic.name, "partitions", str(topic.partitions), "1", why, remedy)
