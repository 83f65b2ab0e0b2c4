"""The first half of the story: a first model, the exam week, what arrived, what joined, what was refused."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

from feedback.demo.answers import (
    BACK_ONLINE,
    EARLY,
    FIRST,
    NEVER_READ,
    PAPER_FORMS,
    SERVICE,
    WEEK,
    WEEKS_LATER,
    Act,
    week,
)
from feedback.demo.exam import LABELS, MODEL, MONDAY
from feedback.demo.mischief import garbage, mistakes
from feedback.demo.people import MARKERS, OTHERS
from feedback.demo.stage import DemoFailed, Stage
from feedback.demo.telling import measured, rate
from schemas import kinds
from schemas.kinds import KINDS


def exam_week(stage: Stage) -> None:
    """Steps 1 to 5."""
    _first_model(stage)
    acts = week(stage.forms)
    by_chapter = {
        chapter: [act for act in acts if act.chapter == chapter]
        for chapter in (EARLY, WEEK, BACK_ONLINE, WEEKS_LATER)
    }
    _early(stage, by_chapter[EARLY])
    _week(stage, by_chapter[WEEK])
    _refused(stage)
    _late(stage, by_chapter[BACK_ONLINE], by_chapter[WEEKS_LATER])


def _first_model(stage: Stage) -> None:
    teller, piles = stage.teller, stage.piles
    teller.step(f"A model learns from {len(piles.known)} labels")
    right = sum(stage.first.right(piles.held_out))
    teller.say(
        f"{len(piles.held_out)} digits are held out: no model learns from them and nobody says anything about"
        " them, so they tell how good a model really is."
    )
    teller.table([[f"{MODEL} {FIRST} on held-out digits", rate(right, len(piles.held_out))]])
    teller.figures["before"] = {"right": right, "n": len(piles.held_out)}
    service = stage.client(SERVICE)
    metrics = [measured("accuracy", right, len(piles.held_out))]
    before = MONDAY - timedelta(days=3)
    service.evaluated(MODEL, FIRST, metrics, time=before, id=f"evaluated.{FIRST}")
    service.deployed(MODEL, FIRST, time=before, id=f"deployed.{FIRST}")
    stage.settle()


def _early(stage: Stage, acts: list[Act]) -> None:
    teller = stage.teller
    teller.step("Feedback comes before its prediction, and waits")
    stage.play("the paper desk", acts)
    waits = stage.waiting()
    teller.say(
        "The paper desk types what stands on paper before the scanner's batch is uploaded. It knows only the"
        " paper's number, the join key. What is missing is never guessed: it is parked, on disk and in sight."
    )
    teller.table([[count, f"wait for a {what.replace('_', ' ')}"] for what, count in sorted(waits.items())])
    teller.figures["early"] = dict(waits)


def _week(stage: Stage, acts: list[Act]) -> None:
    teller = stage.teller
    teller.step("The exam week: the model reads, people answer")
    _introduce(stage, acts)
    stage.play("Monday to Friday", acts)
    waits = stage.waiting()
    teller.say(
        f"The readings came, and {PAPER_FORMS - waits['join_key']} of {PAPER_FORMS} paper forms joined."
        f" {waits['prediction']} thumbs name predictions that never came, and wait on."
        f" {waits['declaration']} labels wait too: nobody has declared what version {FIRST} may answer."
    )
    shape = {"labels": LABELS}
    at = MONDAY + timedelta(hours=3)
    stage.client(SERVICE).declare(MODEL, FIRST, shape, time=at, id=f"declared.{FIRST}")
    stage.settle()
    teller.say(
        f"Now {MODEL} {FIRST} is declared, the labels 0 to 9, and every label is checked against that:"
        f" {stage.waiting()['declaration']} wait. Late is as good as early."
    )
    stage.play("a few mistakes", list(mistakes(stage.forms)))
    teller.figures["waiting"] = dict(stage.waiting())
    if teller.figures["waiting"].get("prediction") != NEVER_READ:
        raise DemoFailed(f"{NEVER_READ} thumbs should wait, and not {teller.figures['waiting']}")


def _introduce(stage: Stage, acts: list[Act]) -> None:
    calls = Counter(act.arguments.get("person") for act in acts)
    people = [(person.name, person.habit) for person in MARKERS if calls[person.name]]
    people += [(person.name, person.habit) for person in MARKERS if not calls[person.name]]
    people += [(person.name, person.habit) for person in OTHERS]
    stage.teller.table(people)


def _refused(stage: Stage) -> None:
    teller = stage.teller
    teller.step("What was refused, and why")
    not_kept = []
    for piece in garbage():
        answer = stage.post(piece.body, piece.media_type)
        if answer.status != piece.status:
            raise DemoFailed(f"{piece.what} should get {piece.status}: {answer.status} {answer.body[:300]!r}")
        if answer.status in (413, 415):
            not_kept.append(f"{piece.what} ({answer.status})")
    letters = stage.dead_letters()
    teller.say(
        "Nothing bad is dropped: each item is a dead letter, kept with its bytes and a typed reason. A batch"
        " with two broken items loses these two and no other."
    )
    rows = [(code, len(items), _shortened(items[-1]["problem"]["detail"])) for code, items in letters.items()]
    teller.table(rows, ("code", "n", "for example"))
    teller.say(f"Not kept, as the answer says: {', '.join(not_kept)}.")
    teller.figures["dead_letters"] = {code: len(items) for code, items in letters.items()}


def _shortened(text: str, most: int = 66) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _late(stage: Stage, offline: list[Act], appeals: list[Act]) -> None:
    teller = stage.teller
    teller.step("Late feedback counts where it belongs")
    monday = MONDAY.date().isoformat()
    spoken = [("by Friday", _of_day(stage, monday))]
    stage.play("the tablet is back online", offline)
    spoken.append(("when elif's tablet was back online", _of_day(stage, monday)))
    stage.play("three weeks later", appeals)
    spoken.append(("three weeks later, after the appeals", _of_day(stage, monday)))
    teller.say(
        "Elif's tablet comes online after the week; appeals come when the day is long taken as complete. Both"
        " restate the numbers of the prediction's day, here Monday's, and not those of the day they arrive."
    )
    shown = (kinds.THUMB, kinds.CONFIRMATION, kinds.CORRECTION)
    rows = [[when, *(counts[kind.name] for kind in shown)] for when, counts in spoken]
    teller.table(rows, ("what is known of Monday", "thumbs", "confirmations", "corrections"))
    teller.figures["monday"] = {when: dict(counts) for when, counts in spoken}
    _arrived(stage)


def _of_day(stage: Stage, day: str) -> Counter[str]:
    items = stage.pages("counts", **{"model": MODEL, "by": "kind", "from": day, "to": day})
    return Counter({item["kind"]: item["n"] for item in items})


def _arrived(stage: Stage) -> None:
    """What was sent against what counts."""
    teller = stage.teller
    teller.step("What arrived, and what counts")
    counted = {item["kind"]: item for item in stage.pages("counts", model=MODEL, by="kind")}
    rows: list[list[Any]] = []
    for call, sent in sorted(stage.sent.items()):
        kind = _KINDS.get(call)
        if kind in counted:
            rows.append([kind, sent, counted[kind]["events"], counted[kind]["n"]])
    teller.table(rows, ("kind", "sent", "kept", "count"))
    tests = sum(item["events"] for item in stage.pages("counts", model=MODEL, env="test"))
    teller.say(
        f"{stage.repeated} events were sent twice with the same id, as a client does on a bad line, and are"
        f" here once. {tests} are from a developer's trial (env=test) and are kept apart. What was taken back"
        " or refused is not counted; of what a person says again, the latest counts."
    )
    ahead = stage.metric("loopline_clock_ahead_total")
    teller.say(
        f"{ahead} events say that they happened years from now: fay's clock. They are placed at the instant"
        " they were received, so they win over nobody."
    )
    teller.figures["clock_ahead"] = ahead
    teller.figures["counts"] = {row[0]: row[1:] for row in rows}
    teller.figures["repeated"] = stage.repeated


_KINDS = {
    "prediction": kinds.PREDICTION_MADE.name,
    "shown": kinds.PREDICTION_SHOWN.name,
    "prompt_shown": kinds.PROMPT_SHOWN.name,
    "prompt_dismissed": kinds.PROMPT_DISMISSED.name,
    **{kind.short: kind.name for kind in KINDS.values() if kind.is_feedback},
}
