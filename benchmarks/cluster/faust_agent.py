"""The peer: a Faust agent on one record per event, which only updates a Faust table.

    python -m benchmarks.cluster.faust_agent BOOTSTRAP TOPIC EVENTS FOLDER CHANGELOG

Written as its documentation shows it, and with what makes it fast: orjson for the values, a table in memory,
no web server, no leader, no waiting for an empty buffer. It counts what was said about each prediction: one
read and one write of the table an event. A Faust table writes its changes to a changelog, and has no setting
for leaving that out; this is the side that we are compared with (CHANGELOG 1). Beside it stands one with the
sending cut out of the class (CHANGELOG 0): a dict that dies with its process, which nobody could use, and the
floor of an agent. Prints what it used from the first event to the last.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any
from uuid import uuid4

import faust
from faust.tables.table import Table


class Unlogged(Table[str, Any]):
    """A table that tells no changelog what changed."""

    def on_key_set(self, *_: Any) -> None:
        """Nothing is sent."""


def build(
    bootstrap: str, topic: str, events: int, folder: str, changelog: bool
) -> tuple[Any, asyncio.Event, dict[str, float]]:
    """The application, what is set at the last event, and what it used."""
    app = faust.App(
        f"agent-{uuid4().hex}",
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=folder,
        web_enabled=False,
        topic_disable_leader=True,
        topic_partitions=1,
        consumer_auto_offset_reset="earliest",
        stream_wait_empty=False,
        stream_buffer_maxsize=65_536,
        Table=Table if changelog else Unlogged,
    )
    done = asyncio.Event()
    used: dict[str, float] = {}
    table = app.Table("said", default=int, partitions=1)
    seen = 0

    @app.agent(app.topic(topic, key_type=bytes, value_serializer="json"))
    async def count(stream: Any) -> None:
        nonlocal seen
        started = 0.0
        clock = time.perf_counter()
        async for event in stream:
            if not seen:
                started = time.process_time()
                clock = time.perf_counter()
            table[event["data"]["prediction_id"]] += 1
            seen += 1
            if seen == events:
                used.update(
                    cpu=time.process_time() - started, seconds=time.perf_counter() - clock, events=seen
                )
                done.set()

    return app, done, used


async def _run(bootstrap: str, topic: str, events: int, folder: str, changelog: bool) -> dict[str, float]:
    app, done, used = build(bootstrap, topic, events, folder, changelog)
    async with app:
        await done.wait()
    return used


def main() -> None:
    """Count so many events, and say what it took."""
    bootstrap, topic, events, folder, changelog = sys.argv[1:]
    used = asyncio.run(_run(bootstrap, topic, int(events), folder, changelog == "1"))
    print(json.dumps(used))


if __name__ == "__main__":
    main()
