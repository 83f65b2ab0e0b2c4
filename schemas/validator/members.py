"""The words of JSON Schema about arrays and objects: from a word's value to the check of what is inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.validator.compiler import Check
from schemas.validator.location import Place, is_count, matching, text_of
from schemas.validator.steps import Evaluated, Run

# ------------------------------------------------------------------------------------------------ arrays


def prefix_items(place: Place, word: str) -> Check:
    """The first items, each by a schema of its own."""
    nodes = place.all_inside(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        if noted is not None:
            noted.items.update(range(min(len(nodes), len(value))))
        return all(node.holds(item, run) for node, item in zip(nodes, value, strict=False))

    return holds


def items(place: Place, word: str) -> Check:
    """Every item behind those."""
    node = place.inside(word)
    prefix = place.schema.get("prefixItems")
    start = len(prefix) if isinstance(prefix, list) else 0

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        if noted is not None:
            noted.every_item = True
        return all(node.holds(item, run) for item in value[start:])

    return holds


def contains(place: Place, word: str) -> Check:
    """How many items have to be valid."""
    node = place.inside(word)
    least, most = (place.schema.get(name) for name in ("minContains", "maxContains"))
    for name, limit in (("minContains", least), ("maxContains", most)):
        place.expect(name, name not in place.schema or is_count(limit), "a whole number, not negative")
    least = 1 if least is None else least

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        found = [index for index, item in enumerate(value) if node.holds(item, run)]
        if noted is not None:
            noted.items.update(found)
        return len(found) >= least and (most is None or len(found) <= most)

    return holds


def unique_items(place: Place, word: str) -> Check | None:
    """No two items are equal."""
    place.expect(word, type(place.schema[word]) is bool, "true or false")
    if not place.schema[word]:
        return None

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        run.spend(len(value))
        return len({text_of(item, run) for item in value}) == len(value)

    return holds


def unevaluated_items(place: Place, word: str) -> Check:
    """Items that no other word has looked at."""
    node = place.inside(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list or noted is None or noted.every_item:
            return True
        run.spend(len(value) // 8)
        left = [item for index, item in enumerate(value) if index not in noted.items]
        noted.every_item = True
        return all(node.holds(item, run) for item in left)

    return holds


# ------------------------------------------------------------------------------------------------ objects


def _names(place: Place, word: str, listed: Any) -> list[str]:
    texts = isinstance(listed, list) and all(isinstance(name, str) for name in listed)
    place.expect(word, texts and len(set(listed)) == len(listed), "a list of different names")
    return list(listed)


def required(place: Place, word: str) -> Check:
    """Members that have to be there."""
    names = _names(place, word, place.schema[word])

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        run.spend(len(names) // 8)
        return all(name in value for name in names)

    return holds


def dependent_required(place: Place, word: str) -> Check:
    """Members that have to be there when another one is."""
    said = place.schema[word]
    place.expect(word, isinstance(said, dict), "an object of lists of names")
    needed = {name: _names(place, word, listed) for name, listed in said.items()}

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        run.spend(sum(len(names) for names in needed.values()) // 8)
        return all(other in value for name, names in needed.items() if name in value for other in names)

    return holds


def dependent_schemas(place: Place, word: str) -> Check:
    """Schemas for the whole object when a member is there."""
    nodes = place.by_name(word, in_place=True)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        return all(node.holds(value, run, noted) for name, node in nodes.items() if name in value)

    return holds


def properties(place: Place, word: str) -> Check:
    """Members by name."""
    nodes = place.by_name(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        run.spend(len(nodes) // 8)
        present = [name for name in nodes if name in value]
        if noted is not None:
            noted.names.update(present)
        return all(nodes[name].holds(value[name], run) for name in present)

    return holds


def _patterns_of(place: Place, word: str) -> list[Callable[[str, Run], bool]]:
    return [
        matching(*place.compiler.pattern(pattern, f"{place.path}/{word}"))
        for pattern in place.schema.get(word, {})
    ]


def pattern_properties(place: Place, word: str) -> Check:
    """Members whose name matches a pattern."""
    nodes = place.by_name(word)
    pairs = list(zip(_patterns_of(place, word), nodes.values(), strict=True))

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        for name, member in value.items():
            for matches, node in pairs:
                if matches(name, run):
                    if noted is not None:
                        noted.names.add(name)
                    if not node.holds(member, run):
                        return False
        return True

    return holds


def additional_properties(place: Place, word: str) -> Check:
    """Members that neither of the two names."""
    node = place.inside(word)
    known = place.schema.get("properties")
    known = frozenset(known) if isinstance(known, dict) else frozenset()
    said = place.schema.get("patternProperties")
    patterns = _patterns_of(place, "patternProperties") if isinstance(said, dict) else []

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        run.spend(len(value) // 8)
        others = [
            name
            for name in value
            if name not in known and not any(matches(name, run) for matches in patterns)
        ]
        if noted is not None:
            noted.names.update(others)
        return all(node.holds(value[name], run) for name in others)

    return holds


def property_names(place: Place, word: str) -> Check:
    """The names of members."""
    node = place.inside(word)
    return lambda value, run, noted: type(value) is not dict or all(node.holds(name, run) for name in value)


def unevaluated_properties(place: Place, word: str) -> Check:
    """Members that no other word has looked at."""
    node = place.inside(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict or noted is None:
            return True
        run.spend(len(value) // 8)
        left = [name for name in value if name not in noted.names]
        noted.names.update(left)
        return all(node.holds(value[name], run) for name in left)

    return holds
