"""The second half of the story: labels, honest numbers, a dataset, the next model, one correction's way, the proof."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

from feedback.demo.answers import APP, FIRST, SERVICE
from feedback.demo.exam import LABELS, MODEL, MONDAY, Form, Reader
from feedback.demo.stage import DemoFailed, Stage
from feedback.demo.telling import measured, rate
from loopline import datasets

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
    teller.table(
        [
            [len(labels), "predictions got labels, one vote a person: a correction, or a yes to the answer"],
            [len(disputed), "of them people disagree on; the majority stands, gold outranks it"],
            [len(ties), "end in a tie: they get no label"],
            [len(wrong), "labels are wrong, as the demo knows: one person spoke alone, and lied"],
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


def _honest_numbers(stage: Stage) -> None:
    teller = stage.teller
    teller.step("How good is the model in use? It depends on whom you ask")
    counts = Counter(
        {
            (item["kind"], item["value"]): item["n"]
            for item in stage.pages("counts", model=MODEL, by="kind,value")
        }
    )
    up, down = counts["feedback.thumb", "up"], counts["feedback.thumb", "down"]
    asked, waved = counts["prompt.shown", "thumb"], counts["prompt.dismissed", "thumb"]
    gold = {
        item["prediction_id"]: item["label"]
        for item in stage.pages("labels", MODEL)
        if stage.form_of[item["prediction_id"]].audit and item["channel"] == "gold"
    }
    agreed = sum(stage.form_of[name].reading.output == label for name, label in gold.items())
    right = sum(form.right for form in stage.forms)
    teller.table(
        [
            ["thumbs that are up", rate(up, up + down)],
            ["right in the audited sample", rate(agreed, len(gold))],
            ["right in truth, which only a demo knows", f"{right / len(stage.forms):6.1%}"],
            ["asked for a thumb and answered", rate(asked - waved, asked)],
        ]
    )
    teller.say(
        "Thumbs come from those who are annoyed. The audited sample was drawn before anybody looked: small, so its"
        " interval is wide, but the truth lies in it."
    )
    teller.figures["in_use"] = {"thumbs_up": [up, up + down], "audited": [agreed, len(gold)], "right": right}
    _outcomes(stage)


def _outcomes(stage: Stage) -> None:
    items = [item for item in stage.pages("outcomes", MODEL, by="action") if item["outcome"] == "appealed"]
    stage.teller.say("Students who appealed, by what the guardrail did with a field of theirs:")
    named = {"confirm": "a person was asked to confirm", "show": "the answer was just shown"}
    stage.teller.table([[named[item["action"]], rate(item["n"], item["subjects"])] for item in items])
    stage.teller.say("An association over a group of students, and never a label of one answer.")
    stage.teller.figures["appealed"] = {item["action"]: [item["n"], item["subjects"]] for item in items}


def _dataset(stage: Stage) -> None:
    teller = stage.teller
    teller.step("Corrections become a dataset")
    teller.say(f"$ loopline dataset release {MODEL}")
    stage.loopline("dataset", "release", MODEL)
    manifest = stage.ask("datasets", MODEL, "1")
    rows = manifest["splits"]
    teller.table([[split, count] for split, count in rows.items()], ("split", "rows"))
    teller.say(
        f"{MODEL}@1, {manifest['content_hash'][:19]}…: the same rows give the same hash on any machine."
    )
    teller.figures["dataset"] = {"content_hash": manifest["content_hash"], "splits": rows}


def _next_model(stage: Stage) -> Reader:
    teller, piles = stage.teller, stage.piles
    teller.step("The next model learns from it")
    teller.say(f'train = loopline.datasets.load("{MODEL}", split="train", inputs=album.get)')
    album = {picture.ref: picture.pixels for picture in piles.exam}
    train = datasets.load(MODEL, split="train", home=stage.home.path, inputs=album.get)
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
    train = datasets.load(MODEL, split="train", home=stage.home.path, check="files")
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


def _hers(stage: Stage, learned: set[str]) -> Any:
    for form in stage.forms:
        if form.prediction_id in learned and not form.right:
            about = stage.ask("predictions", form.prediction_id)
            for event in about["feedback"]:
                mine = event["person"] == "ada" and event["type"] == "loopline.feedback.correction.v1"
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
        f"Every view was built anew from {said['events']:,} events and compared with the live ones: identical,"
        f" {said['rows']:,} rows."
    )
    teller.figures["verified"] = {"events": said["events"], "identical": said["identical"]}
