"""Where a word of a schema is read, and how what it asks of a value is counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.normal_json import normal_json
from schemas.validator.compiler import Compiler, Node, NotASchema
from schemas.validator.steps import Run

_BYTES_A_STEP = 64
_STEPS_A_SEARCH = 8


class Location(NamedTuple):
    """Where a word is read: its schema, that schema's node and path, and the document's compiler."""

    compiler: Compiler
    schema: dict[str, Any]
    node: Node
    path: str

    def applied(self, word: str) -> Node:
        """The schema under a word, which applies to the same value."""
        node = self._node(self.schema[word], word)
        self.node.in_place.append(node)
        return node

    def all_applied(self, word: str) -> list[Node]:
        """The schemas in a word's list, which apply to the same value."""
        nodes = [self._node(each, f"{word}/{index}") for index, each in enumerate(self._schemas(word))]
        self.node.in_place += nodes
        return nodes

    def inside(self, word: str) -> Node:
        """The schema under a word, which applies to what is inside the value."""
        node = self._node(self.schema[word], word)
        self.node.inner.append(node)
        return node

    def all_inside(self, word: str) -> list[Node]:
        """The schemas in a word's list, which apply to what is inside."""
        nodes = [self._node(each, f"{word}/{index}") for index, each in enumerate(self._schemas(word))]
        self.node.inner += nodes
        return nodes

    def by_name(self, word: str, *, in_place: bool = False) -> dict[str, Node]:
        """The schemas of an object of schemas."""
        self.expect(word, isinstance(self.schema[word], dict), "an object of schemas")
        nodes = {name: self._node(each, f"{word}/{name[:80]}") for name, each in self.schema[word].items()}
        (self.node.in_place if in_place else self.node.inner).extend(nodes.values())
        return nodes

    def _schemas(self, word: str) -> list[Any]:
        listed = self.schema[word]
        self.expect(word, isinstance(listed, list) and len(listed) > 0, "a list of schemas, not empty")
        return list(listed)

    def _node(self, schema: Any, where: str) -> Node:
        return self.compiler.node(schema, self.node.resource, f"{self.path}/{where}")

    def expect(self, word: str, right: bool, what: str) -> None:
        """Raises NotASchema unless the word's value is right."""
        if not right:
            raise NotASchema(f"{self.path}/{word} has to be {what}")


def is_count(value: Any) -> bool:
    """Whether a value is a whole number, not negative."""
    return (type(value) is int or (type(value) is float and value.is_integer())) and value >= 0


def text_of(value: Any, run: Run) -> str:
    """The canonical text of a value, counted by its length."""
    text = normal_json(value)
    run.spend(len(text) // _BYTES_A_STEP)
    return text


def matching(test: Callable[[str], bool], size: int) -> Callable[[str, Run], bool]:
    """A pattern's test, counted: a character may meet every part of it."""

    def matches(text: str, run: Run) -> bool:
        run.spend(_STEPS_A_SEARCH + len(text) * size // _BYTES_A_STEP)
        return test(text)

    return matches
