"""Constructors of rows that take columns from objects by name."""

from __future__ import annotations

from typing import Any, Protocol

import pytest
from msgspec import Struct

from streams.store.constructors import constructor
from streams.store.tables import ViewRow


class _Row(ViewRow):
    key: bytes
    segment: str | None
    action: str | None
    n: int
    code: str | None = None
    slot: str | None = None


class _Data(Struct):
    segment: str | None
    action: str | None


class _Place(Struct):
    n: int


class _Coded(_Data):
    code: str


class _WrongType(Struct):
    segment: str
    action: int


class _Call(Protocol):
    def __call__(self, data: _Data, place: _Place, *, key: bytes) -> _Row: ...


make: _Call = constructor(_Call.__call__)


def test_columns_are_copied_by_name() -> None:
    """A column comes from the argument that has its name, or is given by name; the rest keep defaults."""
    assert make(_Data("s", "a"), _Place(7), key=b"k") == _Row(key=b"k", segment="s", action="a", n=7)


class _Given(Protocol):
    def __call__(self, data: _Coded, *, key: bytes, n: int, action: str, slot: str) -> _Row: ...


def test_what_is_given_wins() -> None:
    """A column that is given by name is not copied, though an argument has it."""
    given: _Given = constructor(_Given.__call__)
    row = given(_Coded(segment="s", action="a", code="c"), key=b"k", n=1, action="other", slot="x")
    assert row == _Row(key=b"k", segment="s", action="other", n=1, code="c", slot="x")


class _NothingHasIt(Protocol):
    def __call__(self, data: _Data, *, key: bytes) -> _Row: ...


class _TwoHaveIt(Protocol):
    def __call__(self, data: _Data, other: _Coded, place: _Place, *, key: bytes) -> _Row: ...


class _NoColumn(Protocol):
    def __call__(self, data: _Data, place: _Place, *, key: bytes, segmnt: str) -> _Row: ...


class _AnotherType(Protocol):
    def __call__(self, data: _WrongType, place: _Place, *, key: bytes) -> _Row: ...


class _BehindAGap(Protocol):
    def __call__(self, data: _Data, place: _Place, *, key: bytes, slot: str) -> _Row: ...


@pytest.mark.parametrize(
    "call,problem",
    [
        (_NothingHasIt, "n comes from nowhere"),
        (_TwoHaveIt, "segment comes from data and other"),
        (_NoColumn, "no column segmnt"),
        (_AnotherType, "action has another type"),
        (_BehindAGap, "slot comes behind a column from nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_when_it_is_declared(call: Any, problem: str) -> None:
    """A column from nowhere, from two arguments or of another type is an error before any row is made."""
    with pytest.raises(TypeError, match=problem):
        constructor(call.__call__)
