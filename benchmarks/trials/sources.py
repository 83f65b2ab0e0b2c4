"""Public data sets as events: how each one replays, and what its own files say must come out.

Each source sends events through the client and gives what it expects: how many events of each kind and
value, and the label of every prediction, worked out from the file alone. All keep the times of the data
where it has some.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from feedback.shares import share
from loopline import Client

TIE = object()
"""The label that is expected where as many people say one thing as another."""


class Expected(msgspec.Struct):
    """What must come out for one model.

    `counts` is by kind and value; `labels` by prediction id; `notes` are sentences about the data.
    """

    model: str
    counts: Counter[tuple[str, str]] = msgspec.field(default_factory=Counter)
    labels: dict[str, Any] = {}
    notes: list[str] = []


Send = Callable[[Client, Path], Expected]

_FLUSH_EVERY = 5_000


class _Paced:
    """Flushes now and then: a queue has a bound, and reading a file is faster than any network."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._sent = 0

    def __call__(self, *_: str) -> None:
        self._sent += 1
        if self._sent % _FLUSH_EVERY == 0:
            self._client.flush(60)


def confirmations(client: Client, folder: Path) -> Expected:
    """`sgd_confirm`: an assistant proposes slots, a person says yes, or no and the right ones."""
    model, expected, sent = "sgd-confirm", Expected("sgd-confirm"), _Paced(client)
    sent(client.declare(model, "1", {"json_schema": {"type": "object"}}))
    with (folder / "sgd_confirm.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            pid = f"{row['split']}/{row['dialogue_id']}/{row['turn']}"
            person, proposed = f"{row['split']}/{row['dialogue_id']}", json.loads(row["proposed"])
            sent(client.prediction(model, "1", proposed, prediction_id=pid, segment=row["service"]))
            sent(client.confirmation(pid, row["answer"], person=person))
            expected.counts["prediction.made", ""] += 1
            expected.counts["feedback.confirmation", row["answer"]] += 1
            if row["answer"] == "yes":
                expected.labels[pid] = proposed
            else:
                right = {**proposed, **json.loads(row["correction"])}
                sent(client.correction(pid, right, person=person))
                expected.counts["feedback.correction", ""] += 1
                expected.labels[pid] = right
    return expected


def transcripts(client: Client, folder: Path) -> Expected:
    """`crowdspeech`: about seven people write down the same clip; the truth is known."""
    model, expected, sent = "crowdspeech", Expected("crowdspeech"), _Paced(client)
    sent(client.declare(model, "1", {"text": True}))
    votes: dict[str, dict[str, str]] = {}
    truth: dict[str, str] = {}
    for part in ("clean", "other"):
        truth.update(_tab_separated(folder / f"test-{part}-gt.txt"))
        with (folder / f"test-{part}-baselines.tsv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                pid, said = row["audio"], row["rover_result"]
                sent(client.prediction(model, "1", said, prediction_id=pid, segment=part))
                expected.counts["prediction.made", ""] += 1
        with (folder / f"test-{part}-crowd.tsv").open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                pid, person = row["INPUT:audio"], f"{part}-{row['ASSIGNMENT:worker_id']}"
                sent(client.correction(pid, row["OUTPUT:transcription"], person=person))
                # A person's latest word counts; all of it is kept.
                expected.counts["feedback.correction", ""] += person not in votes.setdefault(pid, {})
                votes[pid][person] = row["OUTPUT:transcription"]
    right = 0
    for pid, said in votes.items():
        tally = Counter(said.values()).most_common(2)
        tied = len(tally) == 2 and tally[0][1] == tally[1][1]
        expected.labels[pid] = TIE if tied else tally[0][0]
        right += not tied and tally[0][0] == truth.get(pid)
    ties = sum(label is TIE for label in expected.labels.values())
    expected.notes.append(
        f"of {len(votes):,} clips {ties:,} are ties letter for letter, and the majority of"
        f" {right:,} is the truth letter for letter"
    )
    return expected


def _tab_separated(path: Path) -> list[tuple[str, str]]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return [(clip, text) for clip, _, text in (line.partition("\t") for line in lines)]


def suggestions(client: Client, folder: Path) -> Expected:
    """`copilot_cups`: code suggestions with confidence, shown again, accepted or dismissed."""
    model, expected, sent = "copilot-cups", Expected("copilot-cups"), _Paced(client)
    csv.field_size_limit(sys.maxsize)
    latest: dict[str, str] = {}
    with (folder / "copilot_cups_events.csv").open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            person, when = f"u-{row['user_id']}", row["time"]
            if row["state"] == "Shown":
                pid = latest[person] = f"{person}/{number}"
                confidence = float(row["confidence"]) if row["confidence"] else None
                sent(
                    client.prediction(
                        model,
                        "2022-08",
                        row["suggestion"],
                        prediction_id=pid,
                        confidence=confidence,
                        segment=row["task"],
                        person=person,
                        time=when,
                    )
                )
                expected.counts["prediction.made", ""] += 1
            elif row["state"] == "Replay" and person in latest:
                sent(client.shown(latest[person], row["suggestion"], time=when))
                expected.counts["prediction.shown", ""] += 1
            elif row["state"] in _ACTIONS and person in latest:
                word = _ACTIONS[row["state"]]
                sent(client.action(latest[person], word, person=person, time=when))
                expected.counts["feedback.action", word] += 1
    accepted = share(expected.counts["feedback.action", "accepted"], expected.counts["prediction.made", ""])
    expected.notes.append(f"{len(latest)} people accepted {accepted} of what they were shown")
    return expected


_ACTIONS = {"Accepted": "accepted", "Rejected": "dismissed"}


def translations(client: Client, folder: Path) -> Expected:
    """`mlqe_pe`: machine translations, several raters who disagree, and one post-edit each."""
    import math

    import pyarrow.parquet as pq

    model, expected, sent = "mlqe-pe", Expected("mlqe-pe"), _Paced(client)
    sent(client.declare(model, "1", {"text": True}))
    columns = ["language_pair", "split", "segment_id", "source", "translation", "mean_log_prob"]
    table = pq.read_table(folder / "mlqe_pe.parquet", columns=[*columns, "da_scores_json", "post_edit"])
    divided = 0
    for row in table.to_pylist():
        pid = f"{row['language_pair']}/{row['split']}/{row['segment_id']}"
        sent(
            client.prediction(
                model,
                "1",
                row["translation"],
                prediction_id=pid,
                input=row["source"],
                confidence=min(math.exp(row["mean_log_prob"]), 1.0),
                segment=row["language_pair"],
            )
        )
        expected.counts["prediction.made", ""] += 1
        said = ["up" if score >= _GOOD else "down" for score in json.loads(row["da_scores_json"])]
        for number, thumb in enumerate(said):
            sent(client.thumb(pid, thumb, person=f"rater-{number}"))
            expected.counts["feedback.thumb", thumb] += 1
        divided += len(set(said)) > 1
        if row["post_edit"] is not None:
            sent(client.correction(pid, row["post_edit"], person="post-editor"))
            expected.counts["feedback.correction", ""] += 1
            expected.labels[pid] = row["post_edit"]
    expected.notes.append(f"raters are divided about {divided:,} of {table.num_rows:,} translations")
    return expected


_GOOD = 70

TRIALS: dict[str, Send] = {
    "sgd_confirm": confirmations,
    "crowdspeech": transcripts,
    "copilot_cups": suggestions,
    "mlqe_pe": translations,
}
