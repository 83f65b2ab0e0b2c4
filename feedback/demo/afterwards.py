"""The second half of the story: labels, honest numbers, a dataset, the next model, the proof."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from feedback.demo.answers import APP, FIRST, SERVICE
from feedback.demo.exam import CONFIRM_BELOW, LABELS, MODEL, MONDAY, Form, Reader
from feedback.demo.people import MARKERS
from feedback.demo.stage import DemoFailed, Stage
from feedback.demo.telling import measured, rate
from loopline import datasets
from schemas import kinds

SECOND = "2"
_NEXT_EXAM = timedelta(days=35)

_MEANING = {
    "received": "on disk before the answer",
    "joined": "with its prediction",
    "in_effect": "it is this person's say, and it counts",
    "in_dataset": "released in {dataset}",
    "in_model": "model version {model_version} learned from it",
    "deployed": "version {model_version} is what answers now",
}


def after_the_exam(stage: Stage) -> None:
    """Steps 7 to 13."""
    _labels(stage)
    _honest_numbers(stage)
    _dataset(stage)
    second = _next_model(stage)
    followed = _one_correction(stage)
    _next_exam(stage, followed, second)
    _proof(stage)


def _labels(stage: Stage) -> None:
    teller = stage.teller
    teller.step("From what people said to labels")
    labels = list(stage.pages("labels", MODEL))
    disputed = [item for item in labels if len(item["candidates"]) > 1]
    ties = [item for item in labels if item["label"] is None]
    given = [item for item in labels if item["label"] is not None]
    wrong = [item for item in given if item["label"] != stage.form_of[item["prediction_id"]].picture.truth]
    alone = [item for item in wrong if item["people"] == 1 and _by_liar(item)]
    teller.table(
        [
            [len(labels), "predictions got labels, one vote a person: a correction, or a yes to the answer"],
            [len(disputed), "of them people disagree on; the majority stands, gold outranks it"],
            [len(ties), "end in a tie: they get no label"],
            [len(wrong), f"labels are wrong, as only a demo can know: {len(alone)} where a liar spoke alone"],
        ]
    )
    outvoted = [item for item in disputed if item["label"] is not None and item["people"] > 2]
    if outvoted:
        item = max(outvoted, key=lambda item: (item["people"], item["prediction_id"]))
        votes = ", ".join(f"{each['label']!r} by {each['people']}" for each in item["candidates"])
        teller.say(
            f"For instance {item['prediction_id']}: {votes}. The label is {item['label']!r},"
            f" with an agreement of {item['agreement']:.2f}."
        )
    teller.figures["labels"] = {
        "labelled": len(labels),
        "disputed": len(disputed),
        "ties": len(ties),
        "wrong": len(wrong),
    }


def _by_liar(item: Any) -> bool:
    """Whether every vote is by somebody who lies; the demo's event ids name the person."""
    liars = {person.name for person in MARKERS if person.lies}
    ids = [event["id"] for candidate in item["candidates"] for event in candidate["events"]]
    return all(event_id.split(".")[1] in liars for event_id in ids)


def _honest_numbers(stage: Stage) -> None:
    teller = stage.teller
    teller.step("How good is the model in use? It depends on whom you ask")
    counts = Counter(
        {
            (item["kind"], item["action"], item["value"]): item["n"]
            for item in stage.pages("counts", model=MODEL, by="kind,action,value")
        }
    )
    said = {
        "show": tuple(counts[kinds.THUMB.name, "show", value] for value in ("up", "down")),
        "confirm": tuple(counts[kinds.CONFIRMATION.name, "confirm", value] for value in ("yes", "no")),
    }
    gold = {item["prediction_id"]: item["label"] for item in stage.pages("labels", MODEL) if _is_gold(item)}
    for action, (title, what) in _ASKED.items():
        forms = [form for form in stage.forms if form.uncertain == (action == "confirm")]
        audited = [form for form in forms if form.audit]
        agreed = sum(form.reading.output == gold[form.prediction_id] for form in audited)
        right, (yes, no) = sum(form.right for form in forms), said[action]
        teller.say(title)
        teller.table(
            [
                [what, rate(yes, yes + no)],
                ["right in the audited sample", rate(agreed, len(audited))],
                ["right in truth, which only a demo knows", rate(right, len(forms))],
            ]
        )
        teller.figures[f"in_use_{action}"] = {
            "said": [yes, no],
            "audited": [agreed, len(audited)],
            "right": right,
        }
    asked = counts[kinds.PROMPT_SHOWN.name, "show", None]
    answered = asked - counts[kinds.PROMPT_DISMISSED.name, "show", None]
    teller.table([["answered when asked for a thumb", rate(answered, asked)]])
    teller.say(
        "Who is annoyed speaks unasked: thumbs make the model look worse than it is. The audited sample was"
        " drawn before anybody looked; it is small, and its interval says so."
    )
    _outcomes(stage)


_ASKED = {
    "show": ("Answers that were shown:", "thumbs that are up"),
    "confirm": (
        f"Answers below {CONFIRM_BELOW:.0%} confidence, proposed and not asserted:",
        "people who said yes",
    ),
}


def _is_gold(item: Any) -> bool:
    return bool(item["channel"] == "gold")


def _outcomes(stage: Stage) -> None:
    items = [item for item in stage.pages("outcomes", MODEL, by="action") if item["outcome"] == "appealed"]
    stage.teller.say("Students who appealed, by what the guardrail did with a field of theirs:")
    named = {"confirm": "a person was asked to confirm", "show": "the answer was just shown"}
    stage.teller.table([[named[item["action"]], rate(item["n"], item["subjects"])] for item in items])
    stage.teller.say(
        f"{_compared(items)}"
        " And an outcome is an association over a group of students, never a label of one answer."
    )
    stage.teller.figures["appealed"] = {item["action"]: [item["n"], item["subjects"]] for item in items}


def _compared(items: Sequence[Mapping[str, Any]]) -> str:
    """What the intervals of some rates allow to conclude."""
    if any(item["rate"] is None for item in items):
        return "There is not enough data yet to compare them."
    apart = max(item["low"] for item in items) > min(item["high"] for item in items)
    return "The intervals lie apart." if apart else "The intervals overlap: nothing to conclude."


_PURPOSES = {
    "train": "to learn from",
    "validation": "to choose with",
    "test": "to judge with",
    "audit": "the random sample: never learned from",
}


def _dataset(stage: Stage) -> None:
    teller = stage.teller
    teller.step("Corrections become a dataset")
    teller.say(f"$ loopline dataset release {MODEL}")
    stage.loopline("dataset", "release", MODEL)
    manifest = stage.ask("datasets", MODEL, "1")
    splits = {split: said["rows"] for split, said in manifest["splits"].items()}
    rows = [[split, count, _PURPOSES[split]] for split, count in splits.items()]
    teller.table(rows)
    channels = ", ".join(f"{count} by {channel}" for channel, count in manifest["channels"].items())
    checks = ", ".join(name.replace("_", " ") for name in manifest["gate"]["checks"])
    teller.say(
        f"{manifest['rows']} rows, {channels}; {manifest['ties']['count']} ties left out. It passed the gate:"
        f" {checks}. Its content hash, {manifest['content_hash'][:19]}…, is that of the rows: whoever cuts"
        " them from this log again gets the same."
    )
    teller.figures["dataset"] = {"content_hash": manifest["content_hash"], "splits": splits}


def _next_model(stage: Stage) -> Reader:
    teller, piles = stage.teller, stage.piles
    teller.step("The next model learns from it")
    teller.say(f'train = loopline.datasets.load("{MODEL}", split="train", inputs=album.get)')
    album = {picture.ref: picture.pixels for picture in piles.exam}
    train = datasets.load(MODEL, split="train", home=stage.folder, inputs=album.get)
    examples = [(picture.pixels, picture.truth) for picture in piles.known]
    examples += [
        (json.loads(pixels), label)
        for pixels, label in zip(train["input"].to_pylist(), train["label"].to_pylist(), strict=True)
    ]
    second = Reader(examples)
    before, after = stage.first.right(piles.held_out), second.right(piles.held_out)
    n = len(piles.held_out)
    mended = sum(now and not then for then, now in zip(before, after, strict=True))
    broken = sum(then and not now for then, now in zip(before, after, strict=True))
    teller.table(
        [
            [f"{MODEL} {FIRST}", f"{len(piles.known)} labels", rate(sum(before), n)],
            [f"{MODEL} {SECOND}", f"{len(examples)} labels", rate(sum(after), n)],
        ],
        ("on held-out digits", "learned from", "right"),
    )
    teller.say(
        f"Of the same {n} digits, {mended} are read right that were not, and {broken} are not that were."
    )
    service = stage.client(SERVICE)
    at = MONDAY + _NEXT_EXAM
    service.declare(MODEL, SECOND, {"labels": LABELS}, time=at, id=f"declared.{SECOND}")
    service.evaluated(MODEL, SECOND, [measured("accuracy", sum(after), n)], time=at, id=f"evaluated.{SECOND}")
    service.deployed(MODEL, SECOND, datasets=[f"{MODEL}@1"], time=at, id=f"deployed.{SECOND}")
    stage.settle()
    teller.say(f"{MODEL} {SECOND} is deployed, and the log says what it was trained on: {MODEL}@1.")
    teller.figures["after"] = {"right": sum(after), "n": n, "mended": mended, "broken": broken}
    return second


def _one_correction(stage: Stage) -> Form:
    """Follow a correction of ada's that found its way into the training rows."""
    teller = stage.teller
    teller.step("One correction, all the way")
    train = datasets.load(MODEL, split="train", home=stage.folder)
    learned = set(train["prediction_id"].to_pylist())
    form, event = next(_hers(stage, learned))
    item = stage.ask("feedback", event["id"], source=APP)["items"][0]
    stage.followed = form.prediction_id
    teller.say(
        f"The model read {form.reading.output!r} on {form.prediction_id}, {form.reading.confidence:.0%} sure;"
        f" ada typed {event['data']['label']!r}. Her app can ask what became of it, and so can she:"
    )
    teller.table(
        [[stage_["stage"], _MEANING.get(stage_["stage"], "").format(**stage_)] for stage_ in item["timeline"]]
    )
    teller.figures["timeline"] = [each["stage"] for each in item["timeline"]]
    if teller.figures["timeline"] != list(_MEANING):
        raise DemoFailed(f"the timeline of {event['id']} is {teller.figures['timeline']}")
    return form


def _hers(stage: Stage, learned: set[str]) -> Iterator[tuple[Form, Any]]:
    for form in stage.forms:
        if form.prediction_id in learned and not form.right:
            about = stage.ask("predictions", form.prediction_id)
            for event in about["feedback"]:
                mine = event["person"] == "ada" and event["type"] == kinds.CORRECTION.type
                if mine and event["effective"] and event["data"]["label"] == form.picture.truth:
                    yield form, event


def _next_exam(stage: Stage, form: Form, second: Reader) -> None:
    teller = stage.teller
    teller.step("The next exam: who corrected it gets the correction")
    client = stage.client(APP)
    for person in ("ada", "ben"):
        own = client.override(MODEL, person, form.picture.ref)
        said = (
            f"gets {own['label']!r}, her own correction, at once" if own else "has none, and gets the model's"
        )
        teller.table([[f"the same digit, {person}", said]])
    reading = second.read([form.picture])[0]
    teller.say(f"Version {SECOND} itself now reads {reading.output!r}, {reading.confidence:.0%} sure.")
    teller.figures["next_exam"] = {"reads": reading.output, "truth": form.picture.truth}


def _proof(stage: Stage) -> None:
    teller = stage.teller
    teller.step("The log is the truth")
    teller.say("$ loopline verify")
    said = stage.loopline("verify")
    if not said["identical"]:
        raise DemoFailed(f"the views differ from the log: {said['differences']}")
    teller.say(
        f"Every view was built anew from {said['events']:,} events and compared with the live ones, row by"
        f" row: {said['rows']:,} rows, identical."
    )
    teller.figures["verified"] = {"events": said["events"], "identical": said["identical"]}
