"""When some partitions do not acknowledge, their items are to be sent again, and only those."""

from __future__ import annotations

import asyncio
import json

import pytest

from streams.ingest.http import Collector
from streams.log.port import DEAD, Batch, NotDurable, PartlyDurable
from streams.metrics import Metrics
from tests.streams.asking import BATCH, SINGLE, ask_now, encoded, thumb
from tests.streams.log.writer_contract import StubWriter

PARTITIONS = 4


class PartlyAway(StubWriter):
    """A writer that some partitions do not acknowledge to."""

    position = "0:5"

    def __init__(self, away: set[int], kept: bool | None) -> None:
        self.away = away
        self.kept = kept

    def write(self, batch: Batch) -> asyncio.Future[str]:
        """Answer as the Kafka appender does."""
        answer = asyncio.get_running_loop().create_future()
        missing = frozenset(part.partition for part in batch.parts) & self.away
        if missing == {part.partition for part in batch.parts}:
            refusal = NotDurable("away")
            refusal.kept = self.kept
            answer.set_exception(refusal)
        elif missing:
            answer.set_exception(PartlyDurable("away", "0:6", missing, self.kept))
        else:
            answer.set_result("0:7")
        return answer


def _served(away: set[int], kept: bool | None = None) -> tuple[Collector, Metrics]:
    metrics = Metrics()
    return Collector(PartlyAway(away, kept), PARTITIONS, metrics=metrics), metrics


def _batch() -> bytes:
    events = [thumb(f"t-{n}", f"p-{n}") for n in range(40)]
    return b"[" + b",".join([*map(encoded, events), b'{"no": "event"}']) + b"]"


@pytest.mark.parametrize("away", [{1}, {0, 2, 3}, {DEAD}, {0, 1, 2, 3}])
def test_items_of_missing_partitions_are_to_be_sent_again(away: set[int]) -> None:
    """Accepted, refused and retry add up, each by its partition; only what is durable is counted."""
    app, metrics = _served(away)
    answer = ask_now(app, _batch(), BATCH)
    said = json.loads(answer.body)
    assert answer.status == 200
    statuses = [item["status"] for item in said["items"]]
    assert statuses[40] == ("retry" if DEAD in away else "refused")
    assert (statuses.count("accepted"), statuses.count("refused")) == (said["accepted"], said["refused"])
    assert statuses.count("retry") == 41 - said["accepted"] - said["refused"] > 0
    assert said["position"] == "0:6"
    assert {item["problem"]["code"] for item in said["items"] if item["status"] == "retry"} == {"not_durable"}
    counted = metrics.registry.get_sample_value("loopline_events_accepted_total")
    assert counted == said["accepted"]


@pytest.mark.parametrize("kept, text", [(None, "cannot be known"), (False, "Nothing was kept")])
def test_a_single_event_is_503(kept: bool | None, text: str) -> None:
    """One event is durable or it is not; the answer says what is known, and when to come again."""
    app, metrics = _served({0, 1, 2, 3}, kept)
    answer = ask_now(app, encoded(thumb()), SINGLE)
    assert answer.status == 503
    assert answer.headers["retry-after"] == "1"
    assert text in json.loads(answer.body)["detail"]
    assert metrics.registry.get_sample_value("loopline_events_accepted_total") == 0
