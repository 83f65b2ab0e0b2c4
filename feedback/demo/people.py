"""The people of the demo: who they are and how they behave, as data.

Numbers are chances from 0 to 1. What a person does about one form follows from these, from the truth and from
a fixed draw; it is worked out in `answers`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple


class Person(NamedTuple):
    """How somebody behaves.

    - `share`: how many forms they mark, as a weight; `habit`: the same in words.
    - `answers`: the chance to answer a question that is put to them.
    - `complains`: the chance to put a thumb down, unasked, on a wrong answer.
    - `corrects`: the chance to type the right digit once they have said that the answer is wrong.
    - `comments`: the chance to write a sentence about it.
    - `slips`: the chance to mistype a correction, take it back and type it again.
    - `lies`: the chance to say a wrong digit on purpose.
    - `twice`: a bad line: everything is sent again with the same id.
    - `offline`: nothing arrives before the week is over; `clock_ahead`: the device lives in another year.
    """

    name: str
    habit: str
    share: int = 0
    answers: float = 0.0
    complains: float = 0.0
    corrects: float = 0.0
    comments: float = 0.0
    slips: float = 0.0
    lies: float = 0.0
    twice: bool = False
    offline: bool = False
    clock_ahead: bool = False


MARKERS = (
    Person("ada", "answers every question and corrects what she sees", 6, 0.98, 0.6, 0.98, 0.05, slips=0.2),
    Person("ben", "complains: thumbs down at once, seldom a word of praise", 5, 0.6, 0.97, 0.8, 0.6),
    Person("chloe", "says little: the app sees what she does with the answer", 6, 0.35, 0.1, 0.7),
    Person(
        "emil",
        "is on a bad line: his app sends everything twice",
        4,
        0.8,
        0.5,
        0.9,
        0.1,
        slips=0.1,
        twice=True,
    ),
    Person("elif", "marks on a train: her tablet is offline all week", 4, 0.9, 0.5, 0.95, offline=True),
    Person("fay", "has a tablet whose clock is years ahead", 2, 0.9, 0.5, 0.95, clock_ahead=True),
    Person("gus", "lies: he types a wrong digit on purpose", 1, 0.9, 0.3, 0.9, lies=0.7),
)

EXAMINER = Person("hana", "reads the audited sample again in full; what she says is gold")
CLERK = Person("ivan", "types paper forms; he knows the paper's number, not the prediction's id")
DEVELOPER = Person("kim", "tries the app out: her events say env=test and may not count")
SCRIPT = Person("jo", "wrote a script of his own that sends garbage")

OTHERS = (EXAMINER, CLERK, DEVELOPER, SCRIPT)

COMMENTS = (
    "this is clearly not what the student wrote",
    "again! a one with a foot is still a one",
    "please look at closed fours, it gets them wrong all day",
    "the pencil is faint but a person can read it",
)


def draw(*what: object) -> random.Random:
    """Chances of their own for one matter: the same on every run, whatever else is drawn."""
    return random.Random("/".join(map(str, what)))


def markers_of(number: int) -> Sequence[Person]:
    """Who marks a form: one person; every sixth form goes to three, so that they can disagree."""
    chance = draw("markers", number)
    names = [person.name for person in MARKERS]
    weights = [person.share for person in MARKERS]
    first = chance.choices(range(len(names)), weights)[0]
    if number % 6:
        return [MARKERS[first]]
    others = [place for place in range(len(names)) if place != first]
    return [MARKERS[place] for place in sorted([first, *chance.sample(others, 2)])]
