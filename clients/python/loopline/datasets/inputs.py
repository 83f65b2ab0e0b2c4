"""Filling in the inputs that a product keeps to itself, from its own function.

A column is written one way: as plain text where every input is text, else as JSON text. How the function's
values become JSON is in :mod:`loopline.values`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from loopline.datasets.content import need
from loopline.errors import DatasetError, NotCanonical
from loopline.values import plain

STRING, JSON = "string", "json"

Inputs = Callable[[str], object]
"""From an ``input_ref`` to the input; None for what is not known."""

_encode = msgspec.json.Encoder(order="sorted").encode


def fill_inputs(table: Any, inputs: Inputs, encoding: str | None) -> tuple[Any, str]:
    """The table with its null inputs asked for by reference, and how the column is written then.

    ``encoding`` is how it was written; None where it has no value yet. Raises
    :class:`~loopline.errors.DatasetError` for a value that is no JSON.
    """
    pa = need("pyarrow")
    refs = table.column("input_ref").to_pylist()
    values = table.column("input").to_pylist()
    wanted = dict.fromkeys(ref for ref, value in zip(refs, values, strict=True) if value is None and ref)
    known = {ref: _given(inputs, ref) for ref in wanted}
    texts = all(value is None or isinstance(value, str) for value in known.values())
    written = STRING if texts and encoding != JSON else JSON
    if written == JSON:
        known = {ref: None if value is None else _json(value) for ref, value in known.items()}
        if encoding == STRING:
            values = [None if value is None else _json(value) for value in values]
    filled = [known.get(ref) if value is None else value for ref, value in zip(refs, values, strict=True)]
    place = table.schema.get_field_index("input")
    return table.set_column(place, pa.field("input", pa.string()), pa.array(filled, pa.string())), written


def _given(inputs: Inputs, ref: str) -> Any:
    try:
        return plain(inputs(ref), "inputs(...)")
    except NotCanonical as error:
        raise DatasetError(f"{error}: give what could be sent as `input`, or None") from None


def _json(value: object) -> str:
    return _encode(value).decode()
