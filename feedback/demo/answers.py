"""What the people of the demo do, as calls of the client: one list, the same on every run.

Nothing is sent here. An `Act` names the client (by its source), the call and its arguments, and the chapter
of the story in which it reaches the server, which is not always the order in which things happened.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from feedback.demo.exam import ASK_PROBABILITY, AUDIT_PROBABILITY, LABELS, MODEL, Form
from feedback.demo.people import CLERK, COMMENTS, DEVELOPER, EXAMINER, Person, draw, markers_of

SERVICE, APP, TABLET, DESK = "/exam/reader", "/exam/app", "/exam/tablet", "/exam/paper-desk"
SOURCES = (SERVICE, APP, TABLET, DESK)

EARLY, WEEK, BACK_ONLINE, WEEKS_LATER = "early", "week", "back online", "weeks later"
"""Chapters: before the predictions came, the exam week, the offline tablet's return, the appeals."""

FIRST = "1"
PAPER_FORMS = 24
NEVER_READ = 2
YEARS_AHEAD = timedelta(days=9 * 365)
_APPEAL_AFTER = timedelta(days=20)


class Act(NamedTuple):
    """One call of a client: `arguments` as the client takes them; `times` is 2 where a retry repeats it."""

    chapter: str
    source: str
    call: str
    arguments: dict[str, Any]
    times: int = 1


def predictions(forms: Iterable[Form]) -> Iterator[Act]:
    """What the reader says about each form, and what the app really displays.

    Forms from the scanner carry their pixels; those from phones keep them to themselves and send a reference.
    """
    for form in forms:
        reading = form.reading
        picture: dict[str, Any] = {"input": form.picture.pixels}
        if form.segment == "phone":
            picture = {"input_ref": form.picture.ref}
        asking: dict[str, Any] = {"asked": True, "ask_probability": 1.0}
        if not form.uncertain:
            asking = {"asked": form.asked, "ask_probability": ASK_PROBABILITY}
        made = {
            "model": MODEL,
            "model_version": FIRST,
            "output": reading.output,
            "prediction_id": form.prediction_id,
            "confidence": reading.confidence,
            "alternatives": [{"output": reading.second, "confidence": reading.second_confidence}],
            "segment": form.segment,
            "subject": form.student,
            "join_key": form.paper,
            "action": "confirm" if form.uncertain else "show",
            "audit": form.audit,
            "audit_probability": AUDIT_PROBABILITY,
            **picture,
            **asking,
        }
        yield Act(WEEK, SERVICE, "prediction", {**made, "id": f"{form.prediction_id}.made", "time": form.at})
        shown = {"prediction_id": form.prediction_id, "shown": reading.output}
        yield Act(WEEK, APP, "shown", {**shown, "id": f"{form.prediction_id}.shown", "time": form.at})


class _Desk:
    """One person with one form: says things, a few seconds apart."""

    def __init__(self, form: Form, person: Person) -> None:
        self.form = form
        self.person = person
        self.chance = draw(form.number, person.name)
        self._clock = form.at + timedelta(minutes=5)
        self._said = 0

    def perhaps(self, chance: float) -> bool:
        return self.chance.random() < chance

    def say(self, call: str, *, after_s: float = 4, **arguments: Any) -> Act:
        """One call about the form; its id tells the form, the person and the place in what they said."""
        person, form = self.person, self.form
        self._clock += timedelta(seconds=after_s)
        self._said += 1
        time = self._clock + YEARS_AHEAD if person.clock_ahead else self._clock
        given = {
            "prediction_id": form.prediction_id,
            "person": person.name,
            "time": time,
            "id": f"{form.prediction_id}.{person.name}.{self._said}-{call}",
            **arguments,
        }
        chapter = BACK_ONLINE if person.offline else WEEK
        source = TABLET if person.offline or person.clock_ahead else APP
        return Act(chapter, source, call, given, 2 if person.twice else 1)

    def typed_digit(self) -> str:
        """What the person types as the right digit: the truth, unless they lie."""
        truth = self.form.picture.truth
        return _another(truth, self) if self.perhaps(self.person.lies) else truth


def _another(digit: str, desk: _Desk) -> str:
    return desk.chance.choice([label for label in LABELS if label != digit])


def marked(form: Form, person: Person) -> Iterator[Act]:
    """All that one person does about one form."""
    desk = _Desk(form, person)
    said_wrong = yield from (_confirm(desk) if form.uncertain else _look(desk))
    if not said_wrong:
        yield desk.say("action", value="accepted", duration_ms=800 + 40 * (form.number % 50))
        return
    if desk.perhaps(person.corrects):
        yield from _correct(desk)
        yield desk.say("action", value="edited", amount=1.0, duration_ms=2500 + 40 * (form.number % 50))
    if desk.perhaps(person.comments):
        yield desk.say("comment", text=desk.chance.choice(COMMENTS), after_s=20)


def _confirm(desk: _Desk) -> Generator[Act, None, bool]:
    """The answer was proposed: "is this a 7?" Gives whether the person said that it is wrong."""
    prompt = desk.say("prompt_shown", kind="confirm")
    prompt_id = prompt.arguments["id"]
    yield prompt
    if not desk.perhaps(desk.person.answers):
        yield desk.say("prompt_dismissed", prompt_id=prompt_id, kind="confirm")
        return False
    right = desk.form.right and not desk.perhaps(desk.person.lies)
    yield desk.say("confirmation", value="yes" if right else "no", prompt_id=prompt_id)
    return not right


def _look(desk: _Desk) -> Generator[Act, None, bool]:
    """The answer was shown: some are asked for a thumb, some complain unasked. Gives whether they did."""
    form, person = desk.form, desk.person
    prompt_id = None
    if form.asked:
        prompt = desk.say("prompt_shown", kind="thumb")
        prompt_id = prompt.arguments["id"]
        yield prompt
    wrong = not form.right or desk.perhaps(person.lies)
    speaks = desk.perhaps(max(person.answers if form.asked else 0.0, person.complains if wrong else 0.0))
    if not speaks:
        if form.asked:
            yield desk.say("prompt_dismissed", prompt_id=prompt_id, kind="thumb")
        return False
    thumb = desk.say("thumb", value="down" if wrong else "up", prompt_id=prompt_id)
    yield thumb
    if wrong:
        reason = "incorrect" if desk.perhaps(0.8) else "unreadable"
        yield desk.say("reason", reason=reason, explains=thumb.arguments["id"])
    return wrong


def _correct(desk: _Desk) -> Iterator[Act]:
    label = desk.typed_digit()
    if desk.perhaps(desk.person.slips):
        slip = desk.say("correction", label=_another(label, desk))
        yield slip
        yield desk.say("retraction", explains=slip.arguments["id"])
    yield desk.say("correction", label=label)


def paper_desk(forms: list[Form]) -> Iterator[Act]:
    """The clerk types paper forms from their numbers, before the readings reach the server; some never do."""
    for form in forms[:PAPER_FORMS]:
        yield Act(
            EARLY,
            DESK,
            "correction",
            {
                "model": MODEL,
                "join_key": form.paper,
                "label": form.picture.truth,
                "person": CLERK.name,
                "time": form.at + timedelta(minutes=1),
                "id": f"{form.paper}.{CLERK.name}",
            },
        )
    for number in range(NEVER_READ):
        target = {"prediction_id": f"form-lost-{number}", "value": "down", "person": "ben"}
        time = forms[0].at + timedelta(minutes=number)
        yield Act(EARLY, APP, "thumb", {**target, "time": time, "id": f"form-lost-{number}.ben"})


def audit(forms: Iterable[Form]) -> Iterator[Act]:
    """The examiner reads every form of the random sample again. What she says is gold."""
    for form in forms:
        if form.audit:
            yield _gold(form, WEEK, form.at + timedelta(hours=6))


def _gold(form: Form, chapter: str, time: datetime) -> Act:
    said = {"label": form.picture.truth, "gold": True, "person": EXAMINER.name}
    return Act(
        chapter,
        APP,
        "correction",
        {
            "prediction_id": form.prediction_id,
            "id": f"{form.prediction_id}.{EXAMINER.name}",
            "time": time,
            **said,
        },
    )


def developer(forms: Iterable[Form]) -> Iterator[Act]:
    """Somebody tries the app out: all of it with env=test."""
    for form in forms:
        name = f"try-{form.number}"
        made = {"model": MODEL, "model_version": FIRST, "output": "0", "prediction_id": name}
        said = {"prediction_id": name, "value": "down", "person": DEVELOPER.name}
        yield Act(WEEK, SERVICE, "prediction", {**made, "env": "test", "time": form.at, "id": name})
        yield Act(WEEK, APP, "thumb", {**said, "env": "test", "time": form.at, "id": f"{name}.kim"})


def appeals(forms: Iterable[Form], corrected: set[str]) -> Iterator[Act]:
    """Weeks later: students whose digit stayed wrong mostly appeal; the examiner reads every field."""
    by_student: dict[str, list[Form]] = {}
    for form in forms:
        by_student.setdefault(form.student, []).append(form)
    for student, theirs in by_student.items():
        wronged = any(not form.right and form.prediction_id not in corrected for form in theirs)
        appealed = draw("appeal", student).random() < (0.7 if wronged else 0.03)
        time = theirs[-1].at + _APPEAL_AFTER
        said = {"subject": student, "model": MODEL, "outcome": "appealed" if appealed else "accepted"}
        yield Act(WEEKS_LATER, APP, "outcome", {**said, "time": time, "id": f"{student}.outcome"})
        if appealed:
            for form in theirs:
                if not form.right and not form.audit:
                    yield _gold(form, WEEKS_LATER, time + timedelta(days=1))


def week(forms: list[Form]) -> list[Act]:
    """Everything of the exam, the appeals included, chapter by chapter."""
    acts = [*paper_desk(forms), *predictions(forms)]
    for form in forms:
        for person in markers_of(form.number):
            acts += marked(form, person)
    acts += audit(forms)
    acts += developer(forms[:15])
    corrected = {
        act.arguments["prediction_id"]
        for act in acts
        if act.call == "correction" and "prediction_id" in act.arguments
    }
    acts += appeals(forms, corrected | {form.prediction_id for form in forms[:PAPER_FORMS]})
    order = (EARLY, WEEK, BACK_ONLINE, WEEKS_LATER)
    return sorted(acts, key=lambda act: order.index(act.chapter))
