"""Constructors of rows that are made for every event: a column is copied from what has a value of its name.

A call with more than 15 keywords makes a dict first, which takes five times as long as the row itself
(decision 046). So the constructor of a row with many columns is made here, once, from the signature that its
caller declares: what it is given by name, and the objects that it takes the rest from. Copied columns cannot
be swapped, for nobody writes them down.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any, get_args, get_type_hints

from msgspec import NODEFAULT
from msgspec.structs import fields


def constructor(call: Callable[..., object]) -> Any:
    """A function with the signature of `call`, a Protocol's `__call__`, that makes a row.

    The return type is the row's. Each keyword-only argument is the column of its name. Any other column is
    copied from the attribute of its name of one of the other arguments; the last ones, which nothing has,
    keep their defaults.

    Raises TypeError where a column comes from nowhere or from two arguments, or has another type there.
    """
    hints = get_type_hints(call)
    row = hints["return"]
    _, *parameters = signature(call).parameters.values()
    given = [each.name for each in parameters if each.kind is Parameter.KEYWORD_ONLY]
    sources = {each.name: get_type_hints(hints[each.name]) for each in parameters if each.name not in given}
    types = get_type_hints(row)
    if unknown := sorted(set(given) - types.keys()):
        raise TypeError(f"{row.__name__} has no column {', '.join(unknown)}: name its columns only")
    values: list[str] = []
    for column in fields(row):
        name = column.name
        if name in given:
            values.append(name)
            continue
        found = [source for source, held in sources.items() if name in held]
        if not found and column.default is not NODEFAULT:
            break
        if len(found) != 1:
            raise TypeError(
                f"{row.__name__}.{name} comes from {' and '.join(found) or 'nowhere'}: give it by name"
            )
        [source] = found
        if not _fits(sources[source][name], types[name]):
            raise TypeError(
                f"{row.__name__}.{name} has another type as {source}.{name}: give it by name, converted"
            )
        values.append(f"{source}.{name}")
    if late := [name for name in given if name not in values]:
        raise TypeError(f"{row.__name__}.{late[0]} comes behind a column from nowhere: give that too")
    return _function(row, list(sources), given, values)


def _fits(hint: Any, wanted: Any) -> bool:
    """Whether a value of a type is one of another, both of them plain types or unions of such."""
    return set(get_args(hint) or (hint,)) <= set(get_args(wanted) or (wanted,))


def _function(row: type, sources: list[str], given: list[str], values: list[str]) -> Any:
    text = f"def make({', '.join([*sources, '*', *given])}): return row({', '.join(values)})"
    made: dict[str, Any] = {"row": row}
    # The text is made of names of this program's own fields and arguments.
    exec(text, made)
    return made["make"]
