"""One treatment for each kind of Python value: taken as what it is, or refused with its path."""

from __future__ import annotations

import array
import collections
import dataclasses
import enum
import json
import math
import pathlib
import subprocess
import sys
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import attrs
import msgspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopline import Client, canonical_json, input_ref
from loopline.errors import InvalidEvent, LooplineError, NotCanonical
from loopline.values import plain

NAN = math.nan


class Markup(str):
    """As markupsafe's, Django's SafeString and bs4's NavigableString are; what it says of itself differs."""

    __slots__ = ()

    def __str__(self) -> str:
        return "another text"


class Metres(float):
    """A number with a unit."""

    def __repr__(self) -> str:
        return f"{float(self)} m"


class Row(int):
    """The number of a row."""


class Moment(datetime):
    """As pandas.Timestamp, pendulum's and freezegun's are."""


class Word(enum.Enum):
    """Words of the product, one of which is no value."""

    SPAM = "spam"
    NONE = NAN
    MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


class Level(enum.IntEnum):
    """Numbers by name."""

    HIGH = 3


class Point(NamedTuple):
    """A tuple with names."""

    x: int
    y: float


class Answer(pydantic.BaseModel):
    """A model as web frameworks have them."""

    label: str = "spam"
    score: float = 0.5
    at: datetime | None = None


class Whole(pydantic.RootModel[list[int]]):
    """A model that is a list."""


@attrs.define
class Score:
    """A class of attrs."""

    value: Any


@dataclasses.dataclass
class Box:
    """A dataclass with what is no field of it."""

    kind: dataclasses.InitVar[str]
    value: Any
    known: Any = dataclasses.field(default=1, repr=False)


class Tagged(msgspec.Struct, tag="box", rename="camel", omit_defaults=True):
    """A Struct whose JSON has other names."""

    first_value: Any
    second_value: int = 0
    others: list[int] = []


class Pair(msgspec.Struct, array_like=True):
    """A Struct that is an array in JSON."""

    left: Any
    right: Any


class Explosive:
    """An array that fails when it is read, quoting what it holds."""

    def tolist(self) -> Any:
        """Fail."""
        raise ZeroDivisionError("Smith")


class Reading(collections.UserDict[str, float]):
    """A mapping that is no dict."""


CET, TOWN = timezone(timedelta(hours=1)), timezone(timedelta(seconds=3208))

TAKEN: dict[str, tuple[Any, Any]] = {
    "a subclass of str": (Markup("hello"), "hello"),
    "a numpy text": (np.str_("hello"), "hello"),
    "a UserString": (collections.UserString("hello"), "hello"),
    "a subclass of float": (Metres(1.5), 1.5),
    "a subclass of int": (Row(7), 7),
    "an enum": (Word.SPAM, "spam"),
    "an enum of a time": (Word.MOMENT, "2026-01-01T00:00:00Z"),
    "an IntEnum": (Level.HIGH, 3),
    "a key that is an enum": ({Word.SPAM: 1}, {"spam": 1}),
    "a key that is a subclass of str": ({Markup("k"): 1}, {"k": 1}),
    "a Decimal": (Decimal("0.50"), 0.5),
    "a whole Decimal": (Decimal(12345678901234567890), 12345678901234567890),
    "a Decimal with an exponent": (Decimal("1E+3"), 1000),
    "a large integer": (2**70, 2**70),
    "minus zero": (-0.0, -0.0),
    "a time in UTC": (datetime(2026, 1, 1, 9, 30, tzinfo=UTC), "2026-01-01T09:30:00Z"),
    "a time with an offset": (
        datetime(2026, 1, 1, 9, 30, 0, 5, tzinfo=CET),
        "2026-01-01T09:30:00.000005+01:00",
    ),
    "an offset with seconds": (datetime(2026, 1, 1, 9, tzinfo=TOWN), "2026-01-01T08:06:32Z"),
    "a time without an offset": (datetime(2026, 1, 1, 9, 30), "2026-01-01T09:30:00"),  # noqa: DTZ001
    "a subclass of datetime": (Moment(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00Z"),
    "a Timestamp": (pd.Timestamp("2026-01-01T00:00:00.123456789Z"), "2026-01-01T00:00:00.123456789Z"),
    "a datetime64 in ns": (np.datetime64("2026-01-01T09:30:00", "ns"), "2026-01-01T09:30:00"),
    "a datetime64 in s": (np.datetime64("2026-01-01T09:30:00", "s"), "2026-01-01T09:30:00"),
    "a datetime64 in ms": (np.datetime64("2026-01-01T09:30:00.5", "ms"), "2026-01-01T09:30:00.500000"),
    "a datetime64 in hours": (np.datetime64("2026-01-01T09", "h"), "2026-01-01T09:00:00"),
    "a datetime64 in days": (np.datetime64("2026-01-01"), "2026-01-01"),
    "a datetime64 in months": (np.datetime64("2026-03"), "2026-03-01"),
    "an array of datetime64": (np.array([["2026-01-01"]], "datetime64[s]"), [["2026-01-01T00:00:00"]]),
    "a Series of times": (pd.Series(pd.to_datetime(["2026-01-01"])), ["2026-01-01T00:00:00"]),
    "a Series of times in UTC": (
        pd.Series(pd.to_datetime(["2026-01-01"], utc=True)),
        ["2026-01-01T00:00:00Z"],
    ),
    "a date": (date(2026, 1, 1), "2026-01-01"),
    "a time of day": (time(9, 30), "09:30:00"),
    "a UUID": (uuid.UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    "a key that is a UUID": ({uuid.UUID(int=7): 1}, {"00000000-0000-0000-0000-000000000007": 1}),
    "a path": (pathlib.PurePosixPath("a/b.png"), "a/b.png"),
    "a tuple": ((1, "a", (None,)), [1, "a", [None]]),
    "a namedtuple": (Point(1, 2.5), [1, 2.5]),
    "a deque": (collections.deque([1]), [1]),
    "a range": (range(3), [0, 1, 2]),
    "an array.array": (array.array("d", [0.5]), [0.5]),
    "a set of texts": ({"b", "a"}, ["a", "b"]),
    "a frozenset of numbers": (frozenset({2.5, 1}), [1, 2.5]),
    "an OrderedDict": (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "a Counter": (collections.Counter("aab"), {"a": 2, "b": 1}),
    "a read-only mapping": (types.MappingProxyType({"a": (1,)}), {"a": [1]}),
    "a UserDict": (Reading(a=0.5), {"a": 0.5}),
    "a dataclass": (Box("x", (1,)), {"value": [1], "known": 1}),
    "an attrs class": (Score(1.5), {"value": 1.5}),
    "a pydantic model": (
        Answer(at=datetime(2026, 1, 1, tzinfo=UTC)),
        {"label": "spam", "score": 0.5, "at": "2026-01-01T00:00:00Z"},
    ),
    "a pydantic list": (Whole([1, 2]), [1, 2]),
    "a Struct": (Tagged((1,)), {"type": "box", "firstValue": [1]}),
    "a Struct that is an array": (Pair(1, "a"), [1, "a"]),
    "a numpy float32": (np.float32(0.5), 0.5),
    "a numpy bool": (np.bool_(True), True),
    "a numpy integer": (np.int64(7), 7),
    "a longdouble": (np.longdouble("0.1"), 0.1),
    "an array": (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
    "an array of one number": (np.array(0.5), 0.5),
    "an array of objects": (np.array([Decimal("0.5"), "a"], object), [0.5, "a"]),
    "an array of longdoubles": (np.array([0.5], np.longdouble), [0.5]),
    "a masked array without gaps": (np.ma.array([1, 2]), [1, 2]),
    "a Series": (pd.Series([1, 2]), [1, 2]),
    "an Index": (pd.Index(["a", "b"]), ["a", "b"]),
    "a Categorical": (pd.Categorical(["a", "b"]), ["a", "b"]),
    "an Arrow number": (pa.scalar(0.5), 0.5),
    "an Arrow struct": (pa.scalar({"a": [1]}), {"a": [1]}),
    "an Arrow array": (pa.array([1, None]), [1, None]),
    "an Arrow column": (pa.chunked_array([[1], [2]]), [1, 2]),
}

CYCLE: list[Any] = []
CYCLE.append(CYCLE)

# Each with the path inside of it, and a word of what is said.
REFUSED: dict[str, tuple[Any, str, str]] = {
    "NaN": (NAN, "", "NaN"),
    "an infinity": (-math.inf, "", "infinity"),
    "NaN in a list": ([1.0, NAN], "[1]", "NaN"),
    "NaN among texts": (["a", NAN], "[1]", "NaN"),
    "NaN in an object": ({"a": {"score": NAN}}, ".a.score", "NaN"),
    "NaN under a key that is no name": ({"Smith, J.": NAN}, "[...]", "NaN"),
    "NaN in a subclass of float": (Metres(NAN), "", "NaN"),
    "NaN in an enum": (Word.NONE, "", "NaN"),
    "NaN in an attrs object": (Score(NAN), ".value", "NaN"),
    "NaN in a dataclass": (Box("x", [Score(NAN)]), ".value[0].value", "NaN"),
    "NaN in a pydantic model": (Answer(score=NAN), ".score", "NaN"),
    "NaN in a Struct": (Tagged(NAN), ".firstValue", "NaN"),
    "NaN in a tuple of a tuple": (((1, NAN),), "[0][1]", "NaN"),
    "NaN in a set": ({NAN}, "", "NaN"),
    "NaN in an array": (np.array([[1.0, NAN]]), "[0][1]", "NaN"),
    "NaN as a float32": (np.float32("nan"), "", "NaN"),
    "NaN as a longdouble": (np.longdouble("nan"), "", "NaN"),
    "NaN in a Series": (pd.Series([1.0, NAN]), "[1]", "NaN"),
    "NaN as a Decimal": (Decimal("NaN"), "", "NaN"),
    "a signalling Decimal": (Decimal("sNaN"), "", "NaN"),
    "an infinite Decimal": (Decimal("-Infinity"), "", "infinity"),
    "a Decimal of many digits": (Decimal("0.1234567890123456789"), "", "digits"),
    "a Decimal beyond doubles": (Decimal("1E+400"), "", "digits"),
    "a Decimal that a double rounds to zero": (Decimal("1E-400"), "", "digits"),
    "a longdouble of many digits": (np.longdouble("0.1234567890123456789"), "", "digits"),
    "an integer beyond doubles": ([10**400], "[0]", "integer"),
    "pandas.NA": ({"a": [pd.NA]}, ".a[0]", "missing"),
    "pandas.NaT": (pd.NaT, "", "missing"),
    "numpy's NaT": (np.datetime64("NaT"), "", "missing"),
    "NaT in an array": (np.array(["2026-01-01", "NaT"], "datetime64[ns]"), "[1]", "missing"),
    "NA in a Series": (pd.Series([1, None], dtype="Int64"), "[1]", "missing"),
    "a masked number": (np.ma.masked, "", "missing"),
    "an array with a gap": (np.ma.array([1, 2], mask=[False, True]), "", "missing"),
    "an Arrow null": (pa.scalar(None, pa.int64()), "", "missing"),
    "bytes": ([b"ab"], "[0]", "bytes"),
    "a bytearray": (bytearray(b"ab"), "", "bytes"),
    "a memoryview": (memoryview(b"ab"), "", "bytes"),
    "a numpy byte text": (np.bytes_(b"ab"), "", "bytes"),
    "an array of bytes": (np.array([b"ab"]), "[0]", "bytes"),
    "a duration": (timedelta(seconds=1), "", "duration"),
    "a Timedelta": (pd.Timedelta("1s"), "", "duration"),
    "a timedelta64": (np.timedelta64(1, "s"), "", "duration"),
    "an array of durations": (np.array([1], "timedelta64[ns]"), "", "duration"),
    "a time in the year 12000": (np.datetime64("12000-01-01"), "", "years"),
    "a complex number": (1j, "", "complex"),
    "a numpy complex number": (np.complex64(1j), "", "complex"),
    "a long numpy complex number": (np.clongdouble(1j), "", "clongdouble"),
    "a Fraction": (Fraction(1, 2), "", "Fraction"),
    "a key that is an integer": ({"a": {1: 2}}, ".a", "keys"),
    "a key that is None": ({None: 2}, "", "keys"),
    "two keys of one text": ({"k": 1, Markup("k2"): 1, Word.SPAM: 1, "spam": 2}, "", "keys"),
    "a set of both kinds": ({"a", 1}, "", "order"),
    "a set of tuples": ({(1, 2)}, "", "order"),
    "a generator": ((each for each in "ab"), "", "once"),
    "a map": (map(str, [1]), "", "once"),
    "a DataFrame": (pd.DataFrame({"a": [1]}), "", "table"),
    "an Arrow table": (pa.table({"a": [1]}), "", "table"),
    "a Period": (pd.Period("2026-01"), "", "Period"),
    "a class": (Score, "", "type"),
    "a function": (len, "", "builtin"),
    "an object": ({"a": object()}, ".a", "object"),
    "an exception": (ValueError("Smith"), "", "ValueError"),
    "a secret": (pydantic.SecretStr("Smith"), "", "SecretStr"),
    "what fails when it is read": ([Explosive()], "[0]", "ZeroDivisionError"),
    "a lone surrogate": ({"a": ["b", "\ud800"]}, ".a[1]", "surrogate"),
    "a key with a lone surrogate": ({"a": {"\udc00": 1}}, ".a", "surrogate"),
    "a cycle": (CYCLE, "", "itself"),
}


@pytest.mark.parametrize("value, expected", TAKEN.values(), ids=TAKEN)
def test_a_value_is_taken_as_what_it_is(value: Any, expected: Any) -> None:
    """The same JSON as an output, as a label, within others, in the reference of an input and by itself."""
    client = Client(test=True, strict=True)
    client.prediction("m", "1", value, input={"x": [value]}, prediction_id="p")
    client.correction("p", value)
    made, corrected = (event["data"] for event in client.events)
    assert repr(made["output"]) == repr(expected)
    assert made["input"] == {"x": [expected]}
    assert corrected["label"] == expected
    assert repr(plain(value)) == repr(expected)
    assert input_ref({"x": [value]}) == input_ref({"x": [expected]})


@pytest.mark.parametrize("value, path, said", REFUSED.values(), ids=REFUSED)
def test_what_is_not_json_is_refused_with_its_path(value: Any, path: str, said: str) -> None:
    """Never nulled, rounded or encoded; the message has the path and the kind, and holds no value."""
    for call, start, kind in (
        (lambda: Client(test=True, strict=True).prediction("m", "1", value), "$.output", InvalidEvent),
        (lambda: Client(test=True, strict=True).correction("p", [value]), "$.label[0]", InvalidEvent),
        (lambda: input_ref(value), "$", NotCanonical),
        (lambda: plain(value, "$.input"), "$.input", NotCanonical),
    ):
        with pytest.raises(LooplineError) as raised:
            call()
        assert type(raised.value) is kind
        # What never ends has no inner path; it is the field that is named.
        assert raised.value.path == (start.removesuffix("[0]") if value is CYCLE else start + path)
        assert str(raised.value).startswith(f"{raised.value.path}: ")
        assert said.lower() in str(raised.value).lower()
        assert "Smith" not in str(raised.value)
        assert raised.value.__cause__ is None or "Smith" not in str(raised.value.__cause__)


FIELDS = ["output", "confidence", "ranked", "features", "person", "asked"]


@pytest.mark.parametrize("value", [value for value, _, _ in REFUSED.values()], ids=REFUSED)
def test_no_value_raises_into_the_product(value: Any) -> None:
    """Whatever a product gives for whichever field, a client that is not strict counts it and goes on."""
    client = Client(test=True)
    for number, field in enumerate(FIELDS, 1):
        fields = {"model": "m", "model_version": "1", "output": "a", field: value}
        assert isinstance(client.prediction(**fields), str)
        assert (len(client.events), client.stats()["invalid"]) == (0, number)


def test_json_that_is_plain_already_is_not_copied() -> None:
    """Large outputs of ordinary lists and dicts cost no second copy."""
    value = {"a": [0.5, 1, True], "b": {"c": "text", "d": None}}
    assert plain(value)["a"] is value["a"]
    assert plain(value)["b"] is value["b"]


_LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**30), 10**30), st.floats(), st.text(max_size=3)
)
_NESTED = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.lists(inner, max_size=4).map(collections.deque),
        st.dictionaries(st.text(max_size=2), inner, max_size=4),
        st.dictionaries(st.text(max_size=2), inner, max_size=4).map(types.MappingProxyType),
        inner.map(Score),
    ),
    max_leaves=20,
)


def _expected(value: Any) -> Any:
    """What the value is in JSON, by another way; raises ValueError for numbers that are none."""
    if isinstance(value, Score):
        return {"value": _expected(value.value)}
    if isinstance(value, (list, tuple, collections.deque)):
        return [_expected(each) for each in value]
    if isinstance(value, (dict, types.MappingProxyType)):
        return {key: _expected(each) for key, each in value.items()}
    return json.loads(json.dumps(value, allow_nan=False))


@given(_NESTED)
def test_any_nesting_is_taken_or_refused_as_its_parts_are(value: Any) -> None:
    """Shortcuts for lists of one kind change nothing: the parts decide, wherever they lie."""
    try:
        expected = _expected(value)
    except ValueError:
        with pytest.raises(NotCanonical):
            plain(value)
    else:
        assert json.dumps(plain(value)) == json.dumps(expected)
        assert canonical_json(value) == canonical_json(expected)


def test_other_libraries_are_known_without_importing_them() -> None:
    """A product without numpy and pandas pays for neither."""
    code = (
        "import sys, loopline; c = loopline.Client(test=True, strict=True);"
        "c.correction('p', [1.5, {'a': (1,)}]); print(*sys.modules)"
    )
    path = f"import sys; sys.path[:0] = {sys.path!r}; "
    done = subprocess.run(
        [sys.executable, "-S", "-c", path + code], capture_output=True, text=True, check=True
    )
    assert not {"numpy", "pandas", "pydantic", "attr", "pyarrow", "dataclasses"} & set(done.stdout.split())
