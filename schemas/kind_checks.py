"""Whether a kind's row and its data fit together: a kind without a key or without a rule is refused.

The row says what an event is about and what of it counts once; the data must be able to tell. The catalogue
asks this of every row that it is made of.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

import msgspec

from schemas.errors import Malformed
from schemas.events import Data
from schemas.kinds import PREDICTION, TARGET, Key, Kind, Once
from schemas.rules import NAMING_A_TARGET, rule_of


class KindRefused(Malformed):
    """A row of the table of kinds does not fit its data."""


class KindWithoutKey(KindRefused):
    """Events of a kind may name nothing that they are about, or something else than their row says."""


class KindWithoutRule(KindRefused):
    """A row does not say what of a kind counts once, or says what its data cannot tell."""


def check(kind: Kind) -> None:
    """Raises KindWithoutKey and KindWithoutRule for a row that does not fit its data."""
    _check_key(kind)
    _check_rule(kind)


def _key_of(data: type[Data]) -> Key:
    """What events of some data are keyed by, as in `schemas.identity`; nothing where one may have no key."""
    key: list[str] = []
    required = {field.name: field.required for field in msgspec.structs.fields(data)}
    for name in ("prediction_id", "join_key", "subject", "model"):
        if name in required:
            key.append(name)
            # A join key is one of a model's.
            if required[name] and name != "join_key":
                return tuple(key)
    if rule_of(data) in NAMING_A_TARGET:
        return tuple(name for name in key if name != "model")
    return ()


def _check_key(kind: Kind) -> None:
    """Raises KindWithoutKey unless every event of a kind has the partition key that its row says."""
    key = _key_of(kind.data)
    if not key:
        raise KindWithoutKey(
            f"{kind.type} needs `prediction_id`, `subject` or `model` among its required fields, or a rule"
            " that asks for a target: without one its events have no place in the log"
        )
    if key != kind.key:
        raise KindWithoutKey(
            f"the row of {kind.type} says that it is keyed by {_listed(kind.key)}, and its data is keyed by"
            f" {_listed(key)}: change either"
        )


def _check_rule(kind: Kind) -> None:
    """Raises KindWithoutRule unless the data of a kind has what the row counts by."""
    fields = kind.data.__struct_fields__
    wanted = [name for name in (kind.word, kind.json) if name is not None]
    a_person = kind.once in ("person", "word")
    if kind.once not in get_args(Once):
        problem = f"counts once a {kind.once!r}, which is none of {_listed(get_args(Once))}"
    elif missing := [name for name in wanted if name not in fields]:
        problem = f"names {_listed(missing)}, which its data has not"
    elif a_person and not ("person" in fields and kind.key in (PREDICTION, TARGET)):
        problem = "counts once a person, and its data names no person or may name no prediction"
    elif kind.once == "word" and kind.word is None:
        problem = "counts once a word, and does not say which field holds the word"
    elif kind.votes and kind.once != "person":
        problem = "is a vote, and those count once a person"
    elif kind.about_model and kind.once != "never":
        problem = "counts, and is about a model: counts are those of predictions and subjects"
    else:
        return
    raise KindWithoutRule(f"the row of {kind.type} {problem}")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
