"""Taking events in over HTTP: the server's CPU with batches, and requests a second one by one.

The servers are real ones in processes of their own; so is the load generator, the same for both sides.
"""

from __future__ import annotations

from statistics import median

from benchmarks import load as generator
from benchmarks.append import decode
from benchmarks.load import Load
from benchmarks.measuring import cpu, in_turns, ratio, spread
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.serving import Serving, collector, peer
from benchmarks.workload import BATCH, bodies

_BATCH_CONNECTIONS = 4
_CONNECTIONS = 32


def measure_batches(scale: Scale) -> list[Row]:
    """The server's CPU for batches of 100, over that of decoding the same number of events."""
    batches = bodies(scale.http_batches)
    rounds = max(scale.rounds - 2, 1)
    seeds = iter(range(1, 1000))
    with collector(scale.folder) as serving:

        def served() -> float:
            before = serving.cpu()
            generator.run(
                Load(serving.port, scale.http_batches, _BATCH_CONNECTIONS, batch=BATCH, seed=next(seeds))
            )
            return serving.cpu() - before

        costs = in_turns({"decoding": lambda: cpu(lambda: decode(batches)), "server": served}, rounds)
    events = BATCH * scale.http_batches
    low, high = spread(costs["server"], costs["decoding"])
    return [
        Row(
            name="http-batches",
            what="server CPU over HTTP, durable ack, batches of 100 / msgspec decoding alone",
            bound=7,
            reached=ratio(costs["server"], costs["decoding"]),
            low=low,
            high=high,
            details={
                "us of CPU an event": median(costs["server"]) / events * 1e6,
                "decoding": median(costs["decoding"]) / events * 1e6,
                "events a round": events,
                "connections": _BATCH_CONNECTIONS,
                "rounds": rounds,
            },
        )
    ]


def measure_singles(scale: Scale) -> list[Row]:
    """Requests a second, one event each, over the peer's."""
    rounds = max(scale.rounds - 2, 1)
    seeds = iter(range(1, 1000))
    latencies: dict[str, list[float]] = {"ours": [], "peer": []}
    # The peer takes longer over each: fewer requests take about as long.
    counts = {"ours": scale.http_requests, "peer": max(scale.http_requests // 5, 100)}

    def seconds_a_request(name: str, serving: Serving) -> float:
        outcome = generator.run(Load(serving.port, counts[name], _CONNECTIONS, seed=next(seeds)))
        latencies[name].append(outcome.median_s)
        return 1 / outcome.a_second

    with collector(scale.folder) as ours, peer(scale.folder) as theirs:
        costs = in_turns(
            {
                "ours": lambda: seconds_a_request("ours", ours),
                "peer": lambda: seconds_a_request("peer", theirs),
            },
            rounds,
        )
    low, high = spread(costs["peer"], costs["ours"])
    return [
        Row(
            name="http-single",
            what="single events over HTTP, 32 connections, durable ack: requests/s / FastAPI + pydantic",
            bound=5,
            at_least=True,
            reached=ratio(costs["peer"], costs["ours"]),
            low=low,
            high=high,
            details={
                "requests/s": 1 / median(costs["ours"]),
                "the peer's": 1 / median(costs["peer"]),
                "latency at the median (ms)": median(latencies["ours"]) * 1e3,
                "the peer's (ms)": median(latencies["peer"]) * 1e3,
                "requests a round": counts["ours"],
                "the peer's a round": counts["peer"],
                "rounds": rounds,
            },
        )
    ]
