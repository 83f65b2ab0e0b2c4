"""The exam: real handwritten digits as forms, and the models that read them.

Pictures and truth are scikit-learn's `load_digits` (1,797 digits that 43 people wrote, 8 x 8 pixels). They
are dealt once, by a fixed shuffle, to three piles that never mix. Who reads what a model says about a form,
and what they say back, is left to `people` and `answers`.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from loopline import input_ref

MODEL = "digit-reader"
LABELS = [str(digit) for digit in range(10)]
MONDAY = datetime(2025, 6, 2, 9, tzinfo=UTC)
DAYS = 5
CONFIRM_BELOW = 0.8
"""A guardrail: what the model holds less likely than this is proposed to a person and not asserted."""

ASK_PROBABILITY = 0.25
"""How often a person is asked for a thumb about an answer that was just shown."""

AUDIT_PROBABILITY = 0.06
"""A random sample that an examiner reads again in full: the only unbiased look at the model in use."""

_SHUFFLE = 2022


class Size(NamedTuple):
    """How many pictures go to each pile: labelled before the exam, read in the exam, held out for good."""

    known: int
    exam: int
    held_out: int


FULL = Size(known=40, exam=800, held_out=600)


class Picture(NamedTuple):
    """One handwritten digit: 64 values of 0 to 16, row by row, and what was really written."""

    pixels: list[int]
    truth: str

    @property
    def ref(self) -> str:
        """What the product calls this picture where it keeps the picture to itself."""
        return input_ref(self.pixels)


class Reading(NamedTuple):
    """What a model says about a picture; the confidences of both answers are rounded to four digits."""

    output: str
    confidence: float
    second: str
    second_confidence: float


class Form(NamedTuple):
    """One field of one student's exam form, as the first model read it in the exam week."""

    number: int
    picture: Picture
    reading: Reading
    at: datetime
    student: str
    paper: str
    segment: str
    asked: bool
    audit: bool

    @property
    def prediction_id(self) -> str:
        """The product's own id of this prediction."""
        return f"form-{self.number:04d}"

    @property
    def uncertain(self) -> bool:
        """Whether the guardrail proposes the answer instead of asserting it."""
        return self.reading.confidence < CONFIRM_BELOW

    @property
    def right(self) -> bool:
        """Whether the model read what was written; people see it, the server does not."""
        return self.reading.output == self.picture.truth


class Piles(NamedTuple):
    """The pictures, dealt: `known` to the first model, `exam` to the exam week, `held_out` to nobody."""

    known: list[Picture]
    exam: list[Picture]
    held_out: list[Picture]


def deal(size: Size = FULL) -> Piles:
    """Deal the pictures: the same piles on every run."""
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    pictures = [
        Picture([int(value) for value in pixels], str(int(digit)))
        for pixels, digit in zip(loaded.data.tolist(), loaded.target.tolist(), strict=True)
    ]
    random.Random(_SHUFFLE).shuffle(pictures)
    exam_ends = size.known + size.exam
    return Piles(pictures[: size.known], pictures[size.known : exam_ends], pictures[-size.held_out :])


class Reader:
    """A model that reads digits: logistic regression on pixels, with its own confidences.

    Args:
        examples: pixels of 0 to 16 and their labels.
    """

    def __init__(self, examples: Sequence[tuple[Sequence[int], str]]) -> None:
        from sklearn.linear_model import LogisticRegression

        self._model: Any = LogisticRegression(C=10.0, max_iter=2000)
        self._model.fit(_scaled([pixels for pixels, _ in examples]), [label for _, label in examples])

    def read(self, pictures: Sequence[Picture]) -> list[Reading]:
        """The likeliest answer and the runner-up for each picture."""
        shares = self._model.predict_proba(_scaled([picture.pixels for picture in pictures])).tolist()
        readings = []
        for row in shares:
            ranked = sorted(zip(row, map(str, self._model.classes_), strict=True), reverse=True)
            (first, output), (then, second) = ranked[:2]
            readings.append(Reading(output, round(first, 4), second, round(then, 4)))
        return readings

    def right(self, pictures: Sequence[Picture]) -> list[bool]:
        """Whether each picture is read as what was really written."""
        return [
            reading.output == picture.truth
            for reading, picture in zip(self.read(pictures), pictures, strict=True)
        ]


def _scaled(pixels: Sequence[Sequence[int]]) -> Any:
    import numpy as np

    return np.asarray(pixels, dtype=np.float64) / 16.0


def forms(pictures: Sequence[Picture], reader: Reader) -> list[Form]:
    """The exam week: every picture is a field of a form, read at a fixed instant from Monday to Friday."""
    chance = random.Random("the exam week")
    a_day = -(-len(pictures) // DAYS)
    made = []
    for number, (picture, reading) in enumerate(zip(pictures, reader.read(pictures), strict=True)):
        day, place = divmod(number, a_day)
        made.append(
            Form(
                number,
                picture,
                reading,
                MONDAY + timedelta(days=day, seconds=90 * place),
                student=f"student-{number // 4:03d}",
                paper=f"paper-{number:04d}",
                segment="scanner" if number % 2 else "phone",
                asked=chance.random() < ASK_PROBABILITY,
                audit=chance.random() < AUDIT_PROBABILITY,
            )
        )
    return made
