"""Valid events of every type, as hypothesis draws them, and the many ways to write one down as JSON.

Built from the fields' names, not from the Structs' types, so that a limit that changes is noticed.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from hypothesis import strategies as st

from schemas.catalog import CURRENT
from schemas.kinds import PREFIX

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# What misleads those who count brackets, colons, quotes or offsets: text that looks like syntax.
_SYNTAX = st.sampled_from(
    [
        '":',
        '"',
        ":",
        "\\",
        '\\"',
        "{",
        "}",
        "[",
        "]",
        ',"',
        "+00:00",
        "+0000",
        "-0000",
        "Z",
        "\n",
        "\t",
        "/",
        "e9",
    ]
)
_CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\x00")
TEXT = st.one_of(
    st.text(_CHARACTERS, min_size=1, max_size=12),
    st.lists(st.one_of(_SYNTAX, st.text("ab1 :é", max_size=3)), min_size=1, max_size=5).map("".join),
).filter(bool)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
WORD = st.from_regex(r"[a-z0-9_]{1,20}", fullmatch=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
SCALAR = st.one_of(TEXT, st.integers(-(10**30), 10**30), FINITE, st.booleans())
JSON = st.recursive(
    st.one_of(SCALAR, st.none(), st.just("")),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXT, inner, max_size=3)),
    max_leaves=5,
)
SOMETHING = JSON.filter(lambda value: value is not None)
PROBABILITY = st.one_of(st.floats(0, 1), st.sampled_from([0, 1]))
COUNT = st.integers(0, 2**53).flatmap(lambda count: st.sampled_from([count, float(count)]))
DATASET = st.tuples(NAME, st.integers(1, 999_999_999)).map(lambda parts: f"{parts[0]}@{parts[1]}")

TIME = st.builds(
    lambda seconds, t, fraction, offset: (
        (_EPOCH + timedelta(seconds=seconds)).isoformat(sep=t)[:19] + fraction + offset
    ),
    st.integers(-8_400_000_000, 253_000_000_000),
    st.sampled_from("TTTt"),
    st.one_of(st.just(""), st.from_regex(r"\.[0-9]{1,12}", fullmatch=True)),
    st.one_of(
        st.sampled_from(["Z", "Z", "z", "+00:00", "-00:00"]),
        st.from_regex(r"[+-](0[0-9]|1[0-9]|2[0-3]):[0-5][0-9]", fullmatch=True),
    ),
)


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


_METRIC = st.fixed_dictionaries(
    {"name": TEXT, "value": FINITE}, optional={"n": COUNT, "low": FINITE, "high": FINITE}
)
_SHAPE = st.one_of(
    st.fixed_dictionaries(
        {"labels": st.lists(SCALAR, min_size=1, max_size=4)}, optional={"open": st.booleans()}
    ),
    st.just({"text": True}),
    st.sampled_from(
        [True, {}, {"type": "string"}, {"enum": ["a", 1]}, {"properties": {"a": {"minimum": 0}}}]
    ).map(lambda schema: {"json_schema": schema}),
)

_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "env": TEXT,
    "prediction_id": TEXT,
    "model": NAME,
    "model_version": NAME,
    "output": JSON,
    "confidence": PROBABILITY,
    "alternatives": st.lists(
        st.fixed_dictionaries({"output": JSON}, optional={"confidence": PROBABILITY}), max_size=3
    ),
    "ranked": st.lists(TEXT, max_size=3),
    "input": SOMETHING,
    "input_uri": TEXT,
    "input_ref": st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
    "features": st.dictionaries(TEXT, st.one_of(SCALAR, st.none()), max_size=3),
    "segment": st.one_of(TEXT, st.just("")),
    "person": TEXT,
    "subject": TEXT,
    "join_key": TEXT,
    "action": WORD,
    "asked": st.booleans(),
    "ask_probability": PROBABILITY,
    "audit": st.booleans(),
    "audit_probability": PROBABILITY,
    "config_version": st.one_of(COUNT, TEXT),
    "shown": SOMETHING,
    "prompt_id": TEXT,
    "kind": WORD,
    "duration_ms": st.floats(0, 1e9),
    "amount": FINITE,
    "part": TEXT,
    "score": PROBABILITY,
    "reason": WORD,
    "explains": TEXT,
    "text": TEXT,
    "label": SOMETHING,
    "gold": st.booleans(),
    "outcome": WORD,
    "output_shape": _SHAPE,
    "description": st.one_of(TEXT, st.just("")),
    "later_versions": st.booleans(),
    "datasets": st.lists(DATASET, max_size=3),
    "why": TEXT,
    "metrics": st.lists(_METRIC, min_size=1, max_size=3),
    "dataset": st.one_of(DATASET, TEXT),
    "split": WORD,
    "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", fullmatch=True),
    "version": st.integers(1, 999_999_999),
    "content_hash": TEXT,
    "as_of": TEXT,
    "rows": COUNT,
    "parents": st.lists(DATASET, max_size=3),
}
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "feedback.thumb.v1": st.sampled_from(["up", "down"]),
    "feedback.confirmation.v1": st.sampled_from(["yes", "no"]),
    "feedback.outcome.v1": FINITE,
}
TARGETED = frozenset(name for name, data in CURRENT.items() if "join_key" in data.__struct_fields__) - {
    "prediction.made.v1"
}


def _with_target(name: str, drawn: tuple[dict[str, Any], int]) -> dict[str, Any]:
    """The data with a target that suits its type, if it needs one."""
    data, choice = drawn
    if name not in TARGETED or "prediction_id" in data:
        return data
    if "subject" in CURRENT[name].__struct_fields__ and choice == 0:
        del_key = {key: value for key, value in data.items() if key != "join_key"}
        return {**del_key, "subject": "somebody"}
    return {**data, "model": "m", "join_key": "case"} if choice == 1 else {**data, "prediction_id": "p"}


def data_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Valid data of one event type, as in `feedback.thumb.v1`."""
    fields = {
        field.name: _VALUES.get(name, WORD) if field.name == "value" else _FIELDS[field.name]
        for field in msgspec.structs.fields(CURRENT[name])
    }
    required = {field.name for field in msgspec.structs.fields(CURRENT[name]) if field.required}
    drawn = st.fixed_dictionaries(
        {field: fields[field] for field in fields if field in required},
        optional={field: fields[field] for field in fields if field not in required},
    )
    return st.tuples(drawn, st.integers(0, 2)).map(lambda parts: _with_target(name, parts))


_OTHERS = _some(
    datacontenttype=st.just("application/json"),
    subject=TEXT,
    traceparent=TEXT,
    odd=JSON,
    sequence=st.integers(),
)


def event_of(name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Valid events of one type, with the envelope's keys in any order."""
    return st.tuples(
        st.fixed_dictionaries(
            {
                "specversion": st.just("1.0"),
                "id": TEXT,
                "source": TEXT,
                "type": st.just(PREFIX + name),
                "time": TIME,
                "data": data_of(name),
            }
        ),
        _OTHERS,
        st.integers(0, 7),
    ).map(lambda parts: _turned({**parts[0], **parts[1]}, parts[2]))


def _turned(event: dict[str, Any], by: int) -> dict[str, Any]:
    keys = list(event)
    by %= len(keys)
    return {key: event[key] for key in keys[by:] + keys[:by]}


EVENT = st.sampled_from(sorted(CURRENT)).flatmap(event_of)


@st.composite
def written(draw: st.DrawFn, value: Any) -> bytes:
    """A JSON value as text: with or without white space, escapes, and characters beyond ASCII."""
    return _write(
        value, draw(st.booleans()), draw(st.sampled_from(["", "", " ", "\n ", "\t", "\r\n"])), draw
    ).encode()


def _write(value: Any, ascii_only: bool, space: str, draw: st.DrawFn) -> str:
    if isinstance(value, dict):
        members = (
            _write(key, ascii_only, space, draw)
            + space
            + ":"
            + space
            + _write(member, ascii_only, space, draw)
            for key, member in value.items()
        )
        return "{" + space + ("," + space).join(members) + space + "}"
    if isinstance(value, list):
        return "[" + space + ("," + space).join(_write(each, ascii_only, space, draw) for each in value) + "]"
    text = json.dumps(value, ensure_ascii=ascii_only)
    if isinstance(value, str) and value and draw(st.integers(0, 30)) == 0:
        # Any character may be spelt as an escape, a key's or a colon's too.
        place = draw(st.integers(0, len(value) - 1))
        escape = "".join(f"\\u{unit:04x}" for unit in _utf16(value[place]))
        return (
            json.dumps(value[:place], ensure_ascii=ascii_only)[:-1]
            + escape
            + json.dumps(value[place + 1 :], ensure_ascii=ascii_only)[1:]
        )
    return text


def _utf16(character: str) -> list[int]:
    units = character.encode("utf-16-be")
    return [int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)]
