"""What a call of the client costs the product that makes it: wall time of each kind of call, at the median.

The client sends in the background to a real collector, as in production, so what its sender takes from the
caller's thread is part of what is measured. Calls come in bursts that fit the queue; the flush between them
is not measured. Waiting for the server is left to `client.flush`, which products call when they end. The row
is a client with a spool that is written in the call (`soon`); what a client without one takes, and what one
takes that waits for the disk (`call`), is told beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.measuring import quantile
from benchmarks.report import Row
from benchmarks.scale import Scale
from benchmarks.serving import collector
from loopline import Client

Call = Callable[[str], str]

_BURST = 200


def calls(client: Client) -> dict[str, Call]:
    """Each kind of call, about a prediction with this id."""
    model, person = "digit-reader", "u-7"
    return {
        "prediction": lambda about: client.prediction(
            model, "2", "label-3", prediction_id=about, confidence=0.93, segment="school-4", person=person
        ),
        "shown": lambda about: client.shown(about, "label-3"),
        "prompt_shown": lambda about: client.prompt_shown(about, person=person),
        "prompt_dismissed": lambda about: client.prompt_dismissed(about, f"q-{about}", person=person),
        "thumb": lambda about: client.thumb(about, "up", person=person),
        "reason": lambda about: client.reason(about, "incorrect", person=person),
        "comment": lambda about: client.comment(about, "it is a seven, not a one", person=person),
        "correction": lambda about: client.correction(about, "label-7", person=person),
        "confirmation": lambda about: client.confirmation(about, "yes", person=person),
        "action": lambda about: client.action(about, "copied", duration_ms=1800, person=person),
        "outcome": lambda about: client.outcome("account-81", "renewed", model=model),
        "retraction": lambda about: client.retraction(about, f"e-{about}", person=person),
        "deployed": lambda about: client.deployed(model, about),
    }


def _burst(call: Call, name: str) -> list[float]:
    """Seconds that each of so many calls took."""
    clock = time.perf_counter_ns
    abouts = [f"{name}-{number}" for number in range(_BURST)]
    taken = []
    for about in abouts:
        started = clock()
        call(about)
        taken.append((clock() - started) / 1e9)
    return taken


def _measured(url: str, rounds: int, **settings: Any) -> dict[str, list[float]]:
    """Seconds that the calls of each kind took a client with these settings."""
    taken: dict[str, list[float]] = {}
    with Client(url, "/shop/reader", linger=0.01, **settings) as client:
        for number in range(rounds + 1):
            for name, call in calls(client).items():
                seconds = _burst(call, f"{name}-{number}")
                if number:
                    taken.setdefault(name, []).extend(seconds)
                client.flush()
        counted = client.stats()
    if counted["refused"] or counted["dropped"] or counted["invalid"]:
        raise RuntimeError(f"not every event arrived: {dict(counted)}")
    return taken


def measure(scale: Scale) -> list[Row]:
    """The row: the slowest kind's median with a spool; every kind's own is told beside it."""
    with collector(scale.folder) as serving:
        url = f"http://127.0.0.1:{serving.port}"
        bare = _measured(url, scale.rounds)
        taken = _measured(url, scale.rounds, spool=f"{scale.folder}/spool-soon")
        synced = _measured(url, 1, spool=f"{scale.folder}/spool-call", spool_sync="call")
    medians = {name: median(seconds) * 1e6 for name, seconds in taken.items()}
    everything = [second for seconds in taken.values() for second in seconds]
    slowest = max(medians, key=lambda name: medians[name])
    details: dict[str, float | int | str] = {f"{name} (us)": value for name, value in medians.items()}
    details["99th percentile of all (us)"] = quantile(everything, 0.99) * 1e6
    details["calls of each"] = len(taken[slowest])
    details["without a spool, the same kind (us)"] = median(bare[slowest]) * 1e6
    details["spool_sync=call, the same kind (us)"] = median(synced[slowest]) * 1e6
    return [
        Row(
            name="client",
            what="a call of the client with a spool in the product's path, median of the slowest kind"
            f" ({slowest})",
            bound=20,
            reached=medians[slowest],
            unit="us",
            low=min(medians.values()),
            high=medians[slowest],
            details=details,
        )
    ]
