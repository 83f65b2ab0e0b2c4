"""Long histories from a seed, in which nearly everything collides: shrinkable only by their length."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec

from schemas.instants import DAY, rfc3339
from tests.streams.drawn import START

_SHAPES: list[dict[str, Any]] = [{"labels": ["a", "b"]}, {"labels": ["a"], "open": True}, {"labels": ["a"]}]
_KINDS = {
    "prediction.made": 14,
    "prediction.shown": 2,
    "prompt.shown": 2,
    "feedback.action": 6,
    "feedback.thumb": 10,
    "feedback.reason": 8,
    "feedback.comment": 3,
    "feedback.correction": 22,
    "feedback.confirmation": 10,
    "feedback.outcome": 5,
    "feedback.retraction": 14,
    "model.declared": 3,
}


def dense_history(seed: int, length: int) -> list[tuple[bytes, int]]:
    """`length` events as sent, with when each was received; the same for the same seed."""
    random = Random(seed)
    return [_event(random) for _ in range(length)]


def _event(random: Random) -> tuple[bytes, int]:
    kind = random.choices(list(_KINDS), list(_KINDS.values()))[0]
    event = {
        "specversion": "1.0",
        "type": f"loopline.{kind}.v1",
        "id": f"e{random.randrange(60)}",
        "source": "/x",
        "time": rfc3339(_instant(random)),
        "data": _data(kind, random),
    }
    return msgspec.json.encode(event), _instant(random)


def _instant(random: Random) -> int:
    return START + random.randrange(-4, 5) * DAY // 4


def _model(random: Random) -> str:
    return random.choices(["m", "other"], [12, 1])[0]


def _target(random: Random) -> dict[str, Any]:
    target: dict[str, Any] = {"person": random.choice(["ann", "bob"])} if random.random() < 0.8 else {}
    if random.random() < 0.5:
        target["prediction_id"] = f"p{random.randrange(4)}"
        if random.random() < 0.4:
            target["model"] = _model(random)
    else:
        target |= {"model": _model(random), "join_key": "k1"}
    return target


def _data(kind: str, random: Random) -> dict[str, Any]:
    explains = {"explains": f"e{random.randrange(60)}"}
    if kind == "prediction.made":
        return _prediction(random)
    if kind == "prediction.shown":
        return {"prediction_id": f"p{random.randrange(4)}", "shown": "a"}
    if kind == "model.declared":
        version = random.choice(["v1", "v2"])
        return {"model": _model(random), "model_version": version, "output_shape": random.choice(_SHAPES)}
    if kind == "feedback.outcome":
        return {"subject": random.choice(["s1", "s2"]), "outcome": "churned", "value": random.random()}
    if kind == "feedback.retraction" and random.random() < 0.15:
        return {"subject": random.choice(["s1", "s2"]), **explains}
    fields: dict[str, dict[str, Any]] = {
        "prompt.shown": {"prompt_id": "q"},
        "feedback.action": {"value": random.choice(["copied", "sent"])},
        "feedback.thumb": {"value": random.choice(["up", "down"])},
        "feedback.reason": {"reason": random.choice(["incorrect", "other"]), **explains},
        "feedback.comment": {"text": "hm"},
        "feedback.correction": {"label": random.choice("aabbc"), "gold": random.random() < 0.1},
        "feedback.confirmation": {"value": random.choice(["yes", "yes", "no"])},
        "feedback.retraction": explains,
    }
    return {**_target(random), **fields[kind]}


def _prediction(random: Random) -> dict[str, Any]:
    data: dict[str, Any] = {
        "prediction_id": f"p{random.randrange(4)}",
        "model": _model(random),
        "model_version": random.choice(["v1", "v1", "v2"]),
        "output": random.choice("aabc"),
        "subject": random.choice(["s1", "s2"]),
        "input": random.choice(["i1", "i2"]),
    }
    if random.random() < 0.7:
        data["join_key"] = "k1"
    if random.random() < 0.1:
        data["audit"] = True
    return data
