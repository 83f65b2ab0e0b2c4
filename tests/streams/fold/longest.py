"""Events in which everything that may become a key is as long as it may be, and can't be made shorter."""

from __future__ import annotations

from random import Random
from string import ascii_letters, ascii_lowercase, digits
from typing import Any

import msgspec

from schemas.catalog import CURRENT
from schemas.kinds import PREFIX
from tests.streams.drawn import START


def long_text(characters: int, kind: str, number: int = 0) -> str:
    """A text of so many characters: four bytes each, or six in JSON; none like another."""
    random = Random(f"{kind} {number} {characters}")
    if kind == "wide":
        return "".join(chr(random.randrange(0x10000, 0x10FFFF)) for _ in range(characters))
    return "".join(chr(random.choice([*range(1, 8), *range(14, 32)])) for _ in range(characters))


def _word(number: int = 0) -> str:
    random = Random(number)
    return "".join(random.choice(ascii_lowercase + digits + "_") for _ in range(64))


def _name(number: int) -> str:
    random = Random(number)
    return "".join(random.choice(ascii_letters + digits) for _ in range(128))


def longest(kind: str) -> list[bytes]:
    """A history of every type, with all ids, sources, words and names at their limits."""
    ids = [long_text(256, kind, number) for number in range(8)]
    model, version = _name(1), _name(2)
    person, subject, case, env = (long_text(size, kind, 10 + size) for size in (256, 255, 254, 128))
    target = {"model": model, "person": person, "env": env, "prompt_id": ids[7]}
    made = {
        "prediction_id": ids[0],
        "model": model,
        "model_version": version,
        "output": long_text(3000, kind),
        "input_ref": "f" * 64,
        "segment": long_text(128, kind, 5),
        "action": _word(1),
        "audit": True,
        "subject": subject,
        "join_key": case,
        "person": person,
        "env": env,
    }
    declared = {"model": model, "model_version": version, "output_shape": {"text": True}, "env": env}
    label = long_text(7_000, kind, 9)
    data: list[tuple[str, dict[str, Any]]] = [
        ("model.declared", declared),
        ("model.deployed", {"model": model, "model_version": version, "env": env}),
        ("prediction.made", made),
        ("prediction.shown", {"prediction_id": ids[0], "shown": label, "env": env}),
    ]
    for named in (
        {"prediction_id": ids[0]},
        {"join_key": case},
        {"prediction_id": ids[1]},
        {"join_key": ids[2]},
    ):
        about = {**target, **named}
        data += [
            ("prompt.shown", {**about, "kind": _word(2)}),
            ("feedback.action", {**about, "value": _word(3)}),
            ("feedback.thumb", {**about, "value": "up"}),
            ("feedback.reason", {**about, "reason": _word(4), "explains": ids[3]}),
            ("feedback.comment", {**about, "text": label, "explains": ids[3]}),
            ("feedback.correction", {**about, "label": label}),
            ("feedback.correction", {**about, "label": label[::-1], "person": ids[6]}),
            ("feedback.confirmation", {**about, "value": "yes", "person": ids[5]}),
            ("feedback.retraction", {**about, "explains": ids[3]}),
        ]
    data += [
        (
            "feedback.outcome",
            {"subject": subject, "outcome": _word(5), "model": model, "env": env, "value": 1e308},
        ),
        ("feedback.comment", {"subject": subject, "text": label, "env": env}),
    ]
    return [_event(number, each, body, kind) for number, (each, body) in enumerate(data)]


def _event(number: int, name: str, data: dict[str, Any], kind: str) -> bytes:
    assert f"{name}.v1" in CURRENT
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": long_text(256, kind, 1000 + number),
            "source": long_text(256, kind, 2000 + number),
            "type": f"{PREFIX}{name}.v1",
            "time": "2026-09-20T00:00:00.123456789Z",
            "looplinereplay": f"{10**8 + number}:{10**17 + number}:{10**8 + number}",
            "data": data,
        }
    )


HISTORIES = {kind: [(item, START) for item in longest(kind)] for kind in ("wide", "control")}
