"""Declarations: which one says what a model version may answer.

A version's own does; where it has none, that one of its model's with `later_versions` which has the greatest
`(at, id)`. So what is declared is a function of the set of declarations, whatever order they came in.
"""

from __future__ import annotations

from collections.abc import Iterable

from streams.store.port import Snapshot
from streams.store.tables import DECLARATIONS, DECLARATIONS_FOR_LATER, Declaration

Version = tuple[str, str]
"""A model and its version."""


def rank(declaration: Declaration) -> tuple[int, str, str]:
    """What "latest" compares: the greatest (at, id, source)."""
    return declaration.at, declaration.id, declaration.source


def serving(snapshot: Snapshot, versions: Iterable[Version]) -> dict[Version, Declaration]:
    """The declarations that serve these versions; those that nothing serves are left out."""
    wanted = set(versions)
    own = Declaration.read_all(snapshot.get(DECLARATIONS, sorted(wanted)))
    found = {(each.model, each.model_version): each for each in own}
    missing = wanted - found.keys()
    common = for_later(snapshot, {model for model, _ in missing}) if missing else {}
    found.update(((model, version), common[model]) for model, version in missing if model in common)
    return found


def for_later(snapshot: Snapshot, models: Iterable[str]) -> dict[str, Declaration]:
    """Of each model the declaration that serves its versions without one of their own, if there is one."""
    rows = snapshot.along(
        DECLARATIONS,
        DECLARATIONS_FOR_LATER,
        [(model,) for model in models],
        fixed=1,
        limit=1,
        descending=True,
    )
    return {each.model: each for each in Declaration.read_all(rows)}
