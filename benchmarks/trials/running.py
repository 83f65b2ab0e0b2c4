"""Running a trial: a fresh home, the real server, the real client, and a comparison over HTTP.

What the sources expect is compared with what the server answers: counts, labels, what waits, what was
refused; at the end the views are built anew from the log and compared row by row.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.trials.sources import TIE, Expected, Send
from feedback.installation.home import Home
from feedback.processes.supervisor import Supervisor
from feedback.server_client import OverHttp, path_of
from loopline import Client
from streams.projection.rebuild import verify
from streams.store.memory import MemoryStore

_LONGEST_S = 300.0
_SHOWN = 3


def run(name: str, send: Send, folder: Path) -> int:
    """Run one trial and print what came out; gives the number of differences."""
    refused: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="loopline-trial-") as place:
        home = Home(Path(place) / "home")
        server = Supervisor(home, port=0, log_level="error")
        url = server.start()
        try:
            started = time.perf_counter()
            client = Client(url, f"/trial/{name}", on_refused=lambda *both: refused.append(both))
            expected = send(client, folder)
            client.close(120)
            stats = client.stats()
            sent_s = time.perf_counter() - started
            _caught_up(home)
            seen_s = time.perf_counter() - started
            print(
                f"\n{name}: {stats['accepted']:,} events accepted in {sent_s:.1f} s, in the views after"
                f" {seen_s:.1f} s; {stats['refused']:,} refused, {stats['dropped']:,} dropped"
            )
            for note in expected.notes:
                print(f"  {note}")
            differences = _compared(OverHttp(url), expected)
            differences += len(refused) + stats["dropped"] + stats["invalid"]
            for event, problem in refused[:_SHOWN]:
                print(f"  refused: {problem} {str(event)[:200]}")
        finally:
            home.close()
            server.stop()
        differences += _verified(home)
    print(f"  {'everything is as the data says' if not differences else f'{differences} differences'}")
    return differences


def _caught_up(home: Home) -> None:
    log, deadline = home.open_log(), time.monotonic() + _LONGEST_S
    try:
        while time.monotonic() < deadline:
            ends = log.ends()
            with home.current_store().snapshot() as snapshot:
                positions = snapshot.positions()
            if all(ends[each] == (positions[each].offset if each in positions else 0) for each in ends):
                return
            time.sleep(0.05)
    finally:
        log.close()
    raise RuntimeError("the views did not catch up")


def _pages(service: OverHttp, *parts: str, **query: Any) -> Iterator[Any]:
    following = None
    while True:
        page = service.request("GET", path_of(*parts, **query, limit=1000, next=following)).json()
        yield from page["items"]
        following = page.get("next")
        if following is None:
            return


def _compared(service: OverHttp, expected: Expected) -> int:
    counted = Counter(
        {
            (item["kind"], item["value"] or ""): item["n"]
            for item in _pages(service, "v1", "counts", model=expected.model, by="kind,value")
            if item["n"]
        }
    )
    differences = 0
    for group in sorted({*expected.counts, *counted}):
        same = counted[group] == expected.counts[group]
        differences += not same
        told = "" if same else f", the data says {expected.counts[group]:,}"
        print(f"  {' '.join(group).strip():30s} {counted[group]:>8,}{told}")
    differences += _labels_compared(list(_pages(service, "v1", "labels", expected.model)), expected)
    for what in ("waiting", "dead-letters"):
        found = list(_pages(service, "v1", what))
        differences += len(found)
        print(f"  {what:30s} {len(found):>8,}" + (f": {found[:_SHOWN]}" if found else ""))
    return differences


def _labels_compared(items: list[Any], expected: Expected) -> int:
    found = {item["prediction_id"]: item for item in items}
    wrong = [
        pid
        for pid in sorted({*found, *expected.labels})
        if pid not in found or found[pid]["label"] != _as_label(expected.labels.get(pid, "no label"))
    ]
    agreement = [item["agreement"] for item in items]
    disagreeing = sum(len(item["candidates"]) > 1 for item in items)
    people = sum(item["people"] for item in items)
    print(f"  {'labels':30s} {len(found):>8,} by {people:,} votes; {disagreeing:,} with rivals")
    if agreement:
        print(f"  {'agreement on average':30s} {sum(agreement) / len(agreement):>8.3f}")
    for pid in wrong[:_SHOWN]:
        print(f"  {pid}: {found.get(pid)} but the data says {expected.labels.get(pid)!r}")
    return len(wrong)


def _as_label(label: Any) -> Any:
    return None if label is TIE else label


def _verified(home: Home) -> int:
    log = home.open_log()
    try:
        with home.current_store().snapshot() as live:
            differences = verify(log, live, MemoryStore(log.identity))
    finally:
        home.close()
        log.close()
    print(f"  {'built anew from the log':30s} {'identical' if not differences else differences[:_SHOWN]}")
    return len(differences)
