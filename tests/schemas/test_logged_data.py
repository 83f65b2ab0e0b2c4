"""What mypy knows of the data of a logged event is what the catalogue decodes."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from msgspec import UnsetType

from schemas import kinds
from schemas.catalog import CATALOG, LoggedEvent
from schemas.kinds import KINDS, Kind
from schemas.logged_data import LoggedData, LoggedDeclaration, LoggedModelEvent, LoggedPrediction

CASES: list[tuple[type, Kind]] = [
    *((LoggedData, kind) for kind in KINDS.values()),
    (LoggedPrediction, kinds.PREDICTION_MADE),
    *((LoggedModelEvent, kind) for kind in KINDS.values() if kind.about_model),
    (LoggedDeclaration, kinds.MODEL_DECLARED),
]


def types_of(hint: Any) -> frozenset[Any]:
    """The types that a value may have."""
    return frozenset(get_args(hint) or (hint,))


def decoded() -> dict[str, dict[str, frozenset[Any]]]:
    """Of each kind the fields of its data as the catalogue decodes them, and the types that each may have."""
    (union,) = get_args(CATALOG.reading.type)
    envelopes: tuple[type[LoggedEvent], ...] = get_args(union)
    return {
        each.kind: {
            # What was left out is None.
            name: types_of(hint) - {UnsetType}
            for name, hint in get_type_hints(get_type_hints(each)["data"]).items()
        }
        for each in envelopes
    }


DECODED = decoded()


@pytest.mark.parametrize(
    "protocol,kind", CASES, ids=lambda each: each.__name__ if isinstance(each, type) else each.name
)
def test_a_field_is_decoded_as_its_protocol_says(protocol: type, kind: Kind) -> None:
    """A field of a Protocol is decoded for its kinds, and holds nothing that the Protocol does not say."""
    fields = DECODED[kind.name]
    own = get_type_hints(kind.data)
    for name, hint in get_type_hints(protocol).items():
        # A field that the kind has not is there as well, and no value is admitted for it.
        assert hint is Any or fields[name] <= types_of(hint) or name not in own, name
    assert fields.keys() == own.keys() | get_type_hints(LoggedData).keys()


def test_every_kind_has_a_place() -> None:
    """The catalogue decodes all kinds."""
    assert DECODED.keys() == KINDS.keys()
