"""How much a run does: the full measurement, or a quick look whether everything runs."""

from __future__ import annotations

import msgspec


class Scale(msgspec.Struct, kw_only=True):
    """Sizes of a run. `folder` is on the disk that is measured; everything made there is removed."""

    folder: str
    quick: bool = False
    rounds: int = 7
    append_batches: int = 200
    worker_events: int = 200_000
    http_batches: int = 300
    http_requests: int = 12_000
    first_events: int = 1_000_000
    last_events: int = 20_000_000
    replay_events: int = 1_000_000
    labels: int = 1_000_000
    visible_seconds: float = 20.0
    cluster_rounds: int = 5
    cluster_events: int = 100_000
    cluster_requests: int = 2000
    sustained_seconds: float = 60.0
    cluster_growth: int = 1_000_000
    plot: str = ""
    hot_events: int = 100_000
    hot_rounds: int = 40


def quick(folder: str) -> Scale:
    """A run of less than a minute: its numbers say that it works, not how fast it is."""
    return Scale(
        folder=folder,
        quick=True,
        rounds=1,
        append_batches=10,
        worker_events=2_000,
        http_batches=10,
        http_requests=320,
        first_events=2_000,
        last_events=4_000,
        replay_events=2_000,
        labels=300,
        visible_seconds=1.0,
        cluster_rounds=1,
        cluster_events=2_000,
        cluster_requests=10,
        sustained_seconds=2.0,
        cluster_growth=10_000,
        hot_events=300,
        hot_rounds=3,
    )
