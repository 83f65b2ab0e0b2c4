"""The words of JSON Schema about arrays and objects: from a word's value to the check of what is inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from schemas.validator.compiler import Check
from schemas.validator.location import Location, is_count, matching, text_of
from schemas.validator.steps import Evaluated, Run

# ------------------------------------------------------------------------------------------------ arrays


def prefix_items(location: Location, word: str) -> Check:
    """The first items, each by a schema of its own."""
    nodes = location.all_inside(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        if noted is not None:
            noted.items.update(range(min(len(nodes), len(value))))
        return all(node.holds(item, run) for node, item in zip(nodes, value, strict=False))

    return holds


def items(location: Location, word: str) -> Check:
    """Every item behind those."""
    node = location.inside(word)
    prefix = location.schema.get("prefixItems")
    start = len(prefix) if isinstance(prefix, list) else 0

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        if noted is not None:
            noted.every_item = True
        return all(node.holds(item, run) for item in value[start:])

    return holds


def contains(location: Location, word: str) -> Check:
    """How many items have to be valid."""
    node = location.inside(word)
    least, most = (location.schema.get(name) for name in ("minContains", "maxContains"))
    for name, limit in (("minContains", least), ("maxContains", most)):
        location.expect(name, name not in location.schema or is_count(limit), "a whole number, not negative")
    least = 1 if least is None else least

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        found = [index for index, item in enumerate(value) if node.holds(item, run)]
        if noted is not None:
            noted.items.update(found)
        return len(found) >= least and (most is None or len(found) <= most)

    return holds


def unique_items(location: Location, word: str) -> Check | None:
    """No two items are equal."""
    location.expect(word, type(location.schema[word]) is bool, "true or false")
    if not location.schema[word]:
        return None

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list:
            return True
        run.spend(len(value))
        return len({text_of(item, run) for item in value}) == len(value)

    return holds


def unevaluated_items(location: Location, word: str) -> Check:
    """Items that no other word has looked at."""
    node = location.inside(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not list or noted is None or noted.every_item:
            return True
        run.spend(len(value) // 8)
        left = [item for index, item in enumerate(value) if index not in noted.items]
        noted.every_item = True
        return all(node.holds(item, run) for item in left)

    return holds


# ------------------------------------------------------------------------------------------------ objects


def _names(location: Location, word: str, listed: Any) -> list[str]:
    texts = isinstance(listed, list) and all(isinstance(name, str) for name in listed)
    location.expect(word, texts and len(set(listed)) == len(listed), "a list of different names")
    return list(listed)


def required(location: Location, word: str) -> Check:
    """Members that have to be there."""
    names = _names(location, word, location.schema[word])

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        run.spend(len(names) // 8)
        return all(name in value for name in names)

    return holds


def dependent_required(location: Location, word: str) -> Check:
    """Members that have to be there when another one is."""
    said = location.schema[word]
    location.expect(word, isinstance(said, dict), "an object of lists of names")
    needed = {name: _names(location, word, listed) for name, listed in said.items()}

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        run.spend(sum(len(names) for names in needed.values()) // 8)
        return all(other in value for name, names in needed.items() if name in value for other in names)

    return holds


def dependent_schemas(location: Location, word: str) -> Check:
    """Schemas for the whole object when a member is there."""
    nodes = location.by_name(word, in_place=True)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        return all(node.holds(value, run, noted) for name, node in nodes.items() if name in value)

    return holds


def properties(location: Location, word: str) -> Check:
    """Members by name."""
    nodes = location.by_name(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict:
            return True
        run.spend(len(nodes) // 8)
        present = [name for name in nodes if name in value]
        if noted is not None:
            noted.names.update(present)
        return all(nodes[name].holds(value[name], run) for name in present)

    return holds


def _patterns_of(location: Location, word: str) -> list[Callable[[str, Run], bool]]:
    return [
        matching(*location.compiler.pattern(pattern, f"{location.path}/{word}"))
        for pattern in location.schema.get(word, {})
    ]


def pattern_properties(location: Location, word: str) -> Check:
    """Members whose name matches a pattern."""
    nodes = location.by_name(word)
    pairs = list(zip(_patterns_of(location, word), nodes.values(), strict=True))

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


def additional_properties(location: Location, word: str) -> Check:
    """Members that neither of the two names."""
    node = location.inside(word)
    known = location.schema.get("properties")
    known = frozenset(known) if isinstance(known, dict) else frozenset()
    said = location.schema.get("patternProperties")
    patterns = _patterns_of(location, "patternProperties") if isinstance(said, dict) else []

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


def property_names(location: Location, word: str) -> Check:
    """The names of members."""
    node = location.inside(word)
    return lambda value, run, noted: type(value) is not dict or all(node.holds(name, run) for name in value)


def unevaluated_properties(location: Location, word: str) -> Check:
    """Members that no other word has looked at."""
    node = location.inside(word)

    def holds(value: Any, run: Run, noted: Evaluated | None) -> bool:
        if type(value) is not dict or noted is None:
            return True
        run.spend(len(value) // 8)
        left = [name for name in value if name not in noted.names]
        noted.names.update(left)
        return all(node.holds(value[name], run) for name in left)

    return holds
