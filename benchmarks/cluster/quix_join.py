"""The peer: Quix Streams, which keeps only the join of predictions and feedback, in RocksDB state.

    python -m benchmarks.cluster.quix_join BOOTSTRAP TOPIC EVENTS FOLDER CHANGELOG

One record per event, the prediction's id as its key; commits every five seconds, its default. Prints what it
used from the first event to the end of the last commit.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any
from uuid import uuid4

from quixstreams import Application


class Join:
    """Feedback meets its prediction, whichever comes first."""

    def __init__(self) -> None:
        self.seen = 0
        self.joined = 0
        self.started = 0.0
        self.clock = 0.0

    def __call__(self, event: dict[str, Any], state: Any) -> int:
        """Keep a prediction, or what was said about it."""
        if not self.seen:
            self.started = time.process_time()
            self.clock = time.perf_counter()
        self.seen += 1
        data = event["data"]
        if event["type"] == "loopline.prediction.made.v1":
            early = state.get("waiting")
            state.set("made", data)
            if early:
                self.joined += len(early)
                state.delete("waiting")
        elif state.get("made") is not None:
            self.joined += 1
        else:
            state.set("waiting", [*(state.get("waiting") or ()), data])
        return self.joined


def main() -> None:
    """Join so many events, and say what it took."""
    bootstrap, topic, events, folder, changelog = sys.argv[1:]
    join = Join()
    app = Application(
        broker_address=bootstrap,
        consumer_group=f"join-{uuid4().hex}",
        auto_offset_reset="earliest",
        state_dir=folder,
        use_changelog_topics=changelog == "1",
        loglevel="ERROR",
    )
    app.dataframe(app.topic(topic, key_deserializer="bytes", value_deserializer="json")).apply(
        join, stateful=True
    )
    app.run(count=int(events), collect=False)
    print(
        json.dumps(
            {
                "cpu": time.process_time() - join.started,
                "seconds": time.perf_counter() - join.clock,
                "events": join.seen,
                "joined": join.joined,
            }
        )
    )


if __name__ == "__main__":
    main()
