"""What a Python value is in JSON: one treatment for each kind of value, wherever the client is given one.

A value is taken as what it is (a subclass of ``str`` as its text, a ``Decimal`` as a number with the same
digits, a numpy array as a list), or refused with the path at which it lies. Nothing is rounded, nulled or
encoded on the way. The kinds are listed in the client's README. Other libraries' values are known by their
classes' names and methods: none of those libraries is imported. What a field may hold is not looked at here.
"""

from __future__ import annotations

from collections import UserString
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from math import isfinite
from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct

from loopline.errors import NotCanonical

_TEXTUAL = frozenset({str, bool, type(None)})
_NUMERIC = frozenset({float, int, bool})

_encode = msgspec.json.Encoder().encode


class Unfit(Exception):
    """A value that JSON has no form for. ``steps`` is where it lies, filled in from the inside out."""

    def __init__(self, what: str) -> None:
        super().__init__(what)
        self.what = what
        self.steps: list[str | int] = []

    def path(self, start: str) -> str:
        """Where it lies below ``start``, as ``$.output.scores[3]``; keys that are no names are ``[...]``."""
        path = start
        for step in reversed(self.steps):
            if isinstance(step, int):
                path += f"[{step}]"
            else:
                path += f".{step}" if step.isidentifier() and len(step) <= 64 else "[...]"
        return path


def plain(value: object, path: str = "$") -> Any:
    """The value as JSON has it: None, bool, int, float, str, list and dict with text keys, at every depth.

    ``path`` is what the value is called in the error. Parts that are JSON already are not copied.

    Raises :class:`~loopline.errors.NotCanonical` with the path and kind of what is not JSON, never with a
    value.
    """
    try:
        found = as_json(value)
        _encode(found)
    except Unfit as unfit:
        # Not chained: what the product's own code raised may quote the value.
        raise NotCanonical(unfit.what, unfit.path(path)) from None
    except UnicodeEncodeError:
        raise NotCanonical(SURROGATE, path_of_surrogate(found, path)) from None
    except RecursionError as error:
        raise NotCanonical(TOO_DEEP, path) from error
    except Exception as error:
        # A list that another thread changes, a class that will not be asked what it is.
        raise NotCanonical(f"{_name(type(value))} cannot be read: {type(error).__name__}", path) from None
    return found


SURROGATE = "a lone surrogate has no UTF-8 form"
TOO_DEEP = "it is nested too deeply, or holds itself"


def as_json(value: Any) -> Any:
    """As :func:`plain`, but for lone surrogates, which only writing finds. Raises Unfit or RecursionError."""
    if _is_json(value):
        return value
    kind: type = type(value)
    return _treatment(kind)(value)


def _is_json(value: Any) -> bool:
    """Whether there is nothing to do: every call of a product waits for this."""
    kind: type = type(value)
    if kind is dict:
        for key, item in value.items():
            if type(key) is not str or not (type(item) in _TEXTUAL or _is_json(item)):
                return False
        return True
    if kind is list:
        kinds = set(map(type, value))
        return kinds <= _TEXTUAL or (_all_finite(value) if kinds <= _NUMERIC else all(map(_is_json, value)))
    return kind in _TEXTUAL or (kind in _NUMERIC and _all_finite((value,)))


def path_of_surrogate(value: Any, path: str) -> str:
    """Where the first lone surrogate lies in a value that is JSON."""
    found = _surrogate(value)
    return path if found is None else found.path(path)


def _surrogate(value: Any) -> Unfit | None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return Unfit(SURROGATE)
        return None
    pairs: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, Mapping):
        pairs = value.items()
        if any(_surrogate(key) is not None for key in value):
            return Unfit(SURROGATE)
    elif isinstance(value, (list, tuple)):
        pairs = enumerate(value)
    for step, item in pairs:
        found = _surrogate(item)
        if found is not None:
            found.steps.append(step)
            return found
    return None


# ---- numbers


def _all_finite(values: Iterable[float]) -> bool:
    try:
        return all(map(isfinite, values))
    except OverflowError:
        # An integer that no double reaches, as which readers elsewhere take it.
        return False


def _float(value: float) -> float:
    number = float.__float__(value)
    if isfinite(number):
        return number
    raise Unfit("NaN is no JSON number" if number != number else "an infinity is no JSON number")


def _integer(value: int) -> int:
    number = int.__int__(value)
    if _all_finite((number,)):
        return number
    raise Unfit("an integer beyond 1.8e308 is no number that JSON readers take")


def _decimal(value: Any) -> int | float:
    """The number with the same digits, which only some decimals have."""
    if not value.is_finite():
        raise Unfit("NaN is no JSON number" if value.is_nan() else "an infinity is no JSON number")
    if value.as_tuple().exponent >= 0 and value.adjusted() <= 308:
        return _integer(int(value))
    number = float(value)
    if isfinite(number) and Decimal(repr(number)) == value:
        return number
    raise Unfit("a decimal of so many digits is no number that JSON readers take: round it, or give its text")


# ---- times


def _moment(value: Any) -> str:
    """As isoformat writes it (pandas to the nanosecond), with Z for UTC and no offset where there is none."""
    offset = value.utcoffset()
    if offset is not None and offset % timedelta(minutes=1):
        # RFC 3339 has no seconds in offsets: those of towns before there were time zones.
        value = value.astimezone(UTC)
    text = str(value.isoformat())
    return f"{text[:-6]}Z" if text.endswith("+00:00") else text


def _texts_of_times(listed: Any) -> Any:
    """What numpy writes for times of any unit, in lists of any depth, as Python writes a time or a day."""
    if isinstance(listed, list):
        return _each(listed, _texts_of_times)
    if listed == "NaT":
        raise Unfit(_MISSING)
    day, _, clock = str(listed).partition("T")
    if len(day.partition("-")[0]) != 4:
        raise Unfit("a time outside the years 1 to 9999 has no JSON form")
    if not clock:
        return f"{day}-01-01"[:10]
    clock, _, fraction = clock.partition(".")
    clock, fraction = f"{clock}:00:00"[:8], fraction.rstrip("0")
    if not fraction:
        return f"{day}T{clock}"
    return f"{day}T{clock}.{fraction.ljust(6 if len(fraction) <= 6 else 9, '0')}"


# ---- lists and objects


def _each(values: Iterable[Any], treat: Callable[[Any], Any]) -> list[Any]:
    found: list[Any] = []
    try:
        for value in values:
            found.append(treat(value))  # noqa: PERF401  # how many are done is the path of the one that fails
    except Unfit as unfit:
        unfit.steps.append(len(found))
        raise
    return found


def _items(values: Iterable[Any]) -> list[Any]:
    return _each(values, as_json)


def _members(values: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = key if type(key) is str else _key(key)
        if name in found:
            raise Unfit("two keys have the same text")
        try:
            found[name] = as_json(value)
        except Unfit as unfit:
            unfit.steps.append(name)
            raise
    return found


def _key(key: object) -> str:
    """A key that is text of some kind; 1 and "1" are two keys in Python and one in JSON."""
    kind = type(key)
    if issubclass(kind, (str, Enum, UUID)):
        name = as_json(key)
        if isinstance(name, str):
            return name
    raise Unfit(f"a key is {_name(kind)}; keys of JSON are text")


def _set(value: Iterable[Any]) -> list[Any]:
    """In order, as sets have none and the same set must give the same reference everywhere."""
    items = [as_json(item) for item in value]
    if not (all(isinstance(item, str) for item in items) or set(map(type, items)) <= {int, float}):
        raise Unfit("a set of other things than only texts or only numbers has no order: give a list")
    return sorted(items)


def _struct(value: Any) -> Any:
    """A msgspec Struct with the names and the tag that it has in JSON, less what it would not write there."""
    config = value.__struct_config__
    tag = {} if config.tag is None else {config.tag_field: config.tag}
    fields = [(each, getattr(value, each.name)) for each in msgspec.structs.fields(value)]
    if config.array_like:
        return _items([*tag.values(), *(item for _, item in fields)])
    written = {
        each.encode_name: item
        for each, item in fields
        if not (config.omit_defaults and _is_default(item, each))
    }
    return _members({**tag, **_given(written)})


def _is_default(value: object, field: msgspec.structs.FieldInfo) -> bool:
    """As msgspec sees it: the very default, or an empty list or dict where a new one is the default."""
    return value is field.default or (type(value) is field.default_factory and not value)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not UNSET}


def _dataclass(value: Any) -> Any:
    from dataclasses import fields

    return _members(_given({each.name: getattr(value, each.name) for each in fields(value)}))


def _attrs(value: Any) -> Any:
    names = [each.name for each in type(value).__attrs_attrs__]
    return _members(_given({name: getattr(value, name) for name in names}))


def _pydantic(value: Any) -> Any:
    return as_json(value.model_dump() if hasattr(type(value), "model_dump") else value.dict())


# ---- arrays, series, tensors and their scalars


def _numpy(value: Any) -> Any:
    letter = value.dtype.kind
    if letter == "M":
        return _texts_of_times(value.astype(str).tolist())
    if letter == "m":
        raise Unfit(_DURATION)
    listed = value.tolist()
    if type(listed) is not type(value):
        return as_json(listed)
    if letter == "f":
        # A longdouble stays one: Python has no number for it.
        return _decimal(Decimal(str(value)))
    raise Unfit(f"{_name(type(value))} is no JSON value")


def _masked(value: Any) -> Any:
    if getattr(value.mask, "any", bool)():
        raise Unfit(_MISSING)
    return _numpy(value)


def _arrow_scalar(value: Any) -> Any:
    if not getattr(value, "is_valid", True):
        raise Unfit(_MISSING)
    return as_json(value.as_py())


# ---- which kind it is

_MISSING = "a missing value (NA, NaT, masked) is no JSON value: leave it out, or give None"
_DURATION = "a duration has no JSON form: give a number of seconds"
_BYTES = "bytes are no JSON value: decode them, or give their base64 text"
_ONCE = "what can be gone through once only is no JSON value: give a list"
_FRAME = "a table is no JSON value: give its rows, as to_dict('records') does"

_INSTEAD = {
    "builtins.generator": _ONCE,
    "builtins.map": _ONCE,
    "builtins.filter": _ONCE,
    "builtins.zip": _ONCE,
    "pandas.DataFrame": _FRAME,
    "polars.DataFrame": _FRAME,
    "pyarrow.Table": _FRAME,
    "pandas.NAType": _MISSING,
    "pandas.NaTType": _MISSING,
}

Treatment = Callable[[Any], Any]


def _refuse(what: str) -> Treatment:
    def refuse(_: object) -> Any:
        raise Unfit(what)

    return refuse


# By the library and name of a class above theirs; a numpy.float64 is numpy's before it is a float.
_BY_NAME: dict[str, Treatment] = {
    "numpy.MaskedArray": _masked,
    "numpy.generic": _numpy,
    "numpy.ndarray": _numpy,
    "pathlib.PurePath": str,
    "pydantic.BaseModel": _pydantic,
    **{name: _refuse(what) for name, what in _INSTEAD.items()},
}
# By class or by what the class has; the first that fits: a StrEnum is an Enum before it is a str.
_BY_KIND: tuple[tuple[Any, Treatment], ...] = (
    (Enum, lambda value: as_json(value.value)),
    (str, str.__str__),
    (int, _integer),
    (float, _float),
    ((bytes, bytearray, memoryview), _refuse(_BYTES)),
    (datetime, _moment),
    ((date, time), lambda value: str(value.isoformat())),
    (timedelta, _refuse(_DURATION)),
    (Decimal, _decimal),
    (UUID, str),
    (Struct, _struct),
    ("__dataclass_fields__", _dataclass),
    ("__attrs_attrs__", _attrs),
    ("as_py", _arrow_scalar),
    ("tolist", lambda value: as_json(value.tolist())),
    ((set, frozenset), _set),
    (Mapping, _members),
    (UserString, lambda value: as_json(value.data)),
    (Sequence, _items),
    ("to_pylist", lambda value: as_json(value.to_pylist())),
    ("to_list", lambda value: as_json(value.to_list())),
)


@lru_cache(maxsize=512)
def _treatment(kind: type) -> Treatment:
    """What is done with the values of a class, found once for each class."""
    chosen = _found(kind)

    def treat(value: Any) -> Any:
        try:
            return chosen(value)
        except (Unfit, RecursionError):
            raise
        except Exception as error:
            # Anything: what these values do when they are read is code of the product's.
            raise Unfit(f"{_name(kind)} cannot be read: {type(error).__name__}") from None

    return treat


def _found(kind: type) -> Treatment:
    for each in kind.__mro__:
        treat = _BY_NAME.get(f"{each.__module__.partition('.')[0]}.{each.__name__}")
        if treat is not None:
            return treat
    for known, treat in _BY_KIND:
        if hasattr(kind, known) if isinstance(known, str) else issubclass(kind, known):
            return treat
    return _refuse(f"{_name(kind)} is no JSON value")


def _name(kind: type) -> str:
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
