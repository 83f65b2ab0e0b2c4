"""The collector over HTTP to Kafka against the embedded one, which writes to SQLite: CPU of the server.

Both are the processes that people run, without a worker beside them; the load is the same.
"""

from __future__ import annotations

from statistics import median

from benchmarks import load as generator
from benchmarks.cluster.collected import answering, cpu_of_member, deployment
from benchmarks.cluster.services import services
from benchmarks.load import Load
from benchmarks.measuring import in_turns, ratio, spread
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.serving import collector
from benchmarks.workload import BATCH

# As many as keep the collector busy while each request waits for its block to be held and acknowledged.
_CONNECTIONS = 16


def measure(scale: Scale) -> list[Row]:
    """The row: CPU an event to Kafka over CPU an event to SQLite."""
    rounds = max(scale.cluster_rounds, 1)
    requests = scale.cluster_requests
    seeds = iter(range(1, 1000))
    broker: list[float] = []

    def load(port: int) -> None:
        generator.run(Load(port, requests, _CONNECTIONS, batch=BATCH, seed=next(seeds)))

    with (
        services(scale) as run,
        deployment(run) as loopline,
        collector(scale.folder) as embedded,
    ):
        member = answering(loopline.member("collector"))

        def to_kafka() -> float:
            before, its = cpu_of_member(member), run.broker_cpu()
            load(member.port)
            broker.append(run.broker_cpu() - its)
            return cpu_of_member(member) - before

        def to_sqlite() -> float:
            before = embedded.cpu()
            load(embedded.port)
            return embedded.cpu() - before

        costs = in_turns({"embedded": to_sqlite, "kafka": to_kafka}, rounds, warm=not scale.quick)
    events = requests * BATCH
    low, high = spread(costs["kafka"], costs["embedded"])
    return [
        Row(
            name="cluster-collector",
            what="collector over HTTP to Kafka, batches of 100, CPU an event / the embedded collector's",
            bound=1.5,
            reached=ratio(costs["kafka"], costs["embedded"]),
            low=low,
            high=high,
            details={
                "us of CPU an event to Kafka": median(costs["kafka"]) / events * 1e6,
                "to SQLite": median(costs["embedded"]) / events * 1e6,
                "the broker's": median(broker[-rounds:]) / events * 1e6,
                "events a round": events,
                "connections": _CONNECTIONS,
                "rounds": rounds,
            },
        )
    ]
