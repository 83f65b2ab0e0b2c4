"""Blocks as a collector makes them: a real one, under single-event requests, on a real broker."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from benchmarks import load as generator
from benchmarks.cluster.events import declarations
from benchmarks.cluster.services import Services
from benchmarks.cluster.topics import fill
from benchmarks.load import Load
from benchmarks.measuring import cpu_of
from streams.kafka.address import Address
from streams.kafka.log.reader import KafkaLog
from streams.log.block import read_block
from tests.feedback.running import until
from tests.services.deployment import Deployment, Member

# Requests on their way: with few, a block never fills within the 20 ms that it is held.
_CONNECTIONS = 512


class Collected(NamedTuple):
    """A log that a collector filled: its address, its events, and how many a block has in the mean."""

    log: str
    events: int
    mean: float


@contextmanager
def deployment(run: Services, *, partitions: int = 4) -> Iterator[Deployment]:
    """Topics and a database of its own; no collector or worker yet. The models are declared."""
    prefix = f"bench{secrets.token_hex(4)}"
    log = run.kafka.address(prefix)
    with Deployment(log, run.postgres.fresh_database(), partitions=partitions) as loopline:
        fill(run.bootstrap, f"{prefix}.log.1", declarations())
        yield loopline


def answering(member: Member) -> Member:
    """The same member, once it answers at all: a collector without workers is never ready."""
    member.start()
    until(member.healthy, f"an answering {member.kind}")
    return member


def cpu_of_member(member: Member) -> float:
    """CPU seconds of all processes of a member so far."""
    return sum(cpu_of(pid) for pid in member.pids())


def collect(run: Services, events: int) -> Collected:
    """Have a collector write so many events, one a request over 512 connections, as fast as it answers."""
    with deployment(run) as loopline:
        collector = answering(loopline.member("collector"))
        generator.run(Load(collector.port, events, _CONNECTIONS, seed=7))
        collector.end()
        address = loopline.variables["LOOPLINE_LOG"]
    sizes = block_sizes(address)
    # The declarations' block is not the collector's.
    return Collected(address, sum(sizes), (sum(sizes) - 6) / (len(sizes) - 1))


def block_sizes(address: str) -> list[int]:
    """How many events each block of a log has."""
    log = KafkaLog(Address.parse(address))
    sizes = []
    try:
        for partition, end in log.ends().items():
            offset = 0
            while partition >= 0 and offset < end:
                records = log.read(partition, offset, 100)
                sizes += [sum(times for _, times in read_block(record)[0].received) for record in records]
                offset += len(records)
    finally:
        log.close()
    return sizes
