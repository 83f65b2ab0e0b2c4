"""Reading a JSON Schema: every schema inside becomes a `Node`, once, in time linear in its size.

What a schema may not be is told with its location. References lead to what is inside the document, or to the
standard's own schemas. Schemas that apply to one and the same value may neither come back to themselves nor
double each other without end: what they cost for any value is known before there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin

from schemas.validator.patterns import NotAPattern, Unusable, matcher, size_of
from schemas.validator.steps import Evaluated, OutOfSteps, Run

Check = Callable[[Any, Run, Evaluated | None], bool]
"""Whether a value is valid under one word of a schema; what it looked at is noted, if somebody asks."""

MOST_IN_PLACE = 10_000
"""So many steps may a schema need for a value as small as `null`."""

MOST_PATTERN_PARTS = 20_000
"""So large may all patterns of a schema be together."""

_LEAST_PARTS = 20


class NotASchema(ValueError):
    """This is no JSON Schema; the text says where and why."""


class Outside(ValueError):
    """A reference leads out of the schema; the text is the reference."""


class CannotBeUsed(ValueError):
    """It is a JSON Schema, and cannot be used to check anything; the text says why."""


class Resource(NamedTuple):
    """A schema with an address of its own, and the names that were given to places in it."""

    uri: str
    root: Any
    anchors: dict[str, Any]
    dynamic: dict[str, Any]


class Node:
    """One schema. `checks` are its words; `last` are those that look at what the others left over.

    `in_place` are the schemas that it applies to the same value, `inner` those for what is inside of it.
    """

    __slots__ = ("always", "checks", "in_place", "inner", "last", "resource")

    def __init__(self, resource: Resource) -> None:
        self.always: bool | None = None
        self.checks: list[Check] = []
        self.last: list[Check] = []
        self.in_place: list[Node] = []
        self.inner: list[Node] = []
        self.resource = resource

    def holds(self, value: Any, run: Run, seen: Evaluated | None = None) -> bool:
        """Whether a value is valid. Raises OutOfSteps."""
        run.left -= 1
        if run.left < 0 or not run.levels:
            raise OutOfSteps
        if self.always is not None:
            return self.always
        run.levels -= 1
        run.scope.append(self.resource)
        noted = Evaluated() if seen is not None or self.last else None
        good = True
        for check in self.checks:
            if not check(value, run, noted):
                good = False
                break
        if good:
            for check in self.last:
                if not check(value, run, noted):
                    good = False
                    break
        run.scope.pop()
        run.levels += 1
        if good and seen is not None and noted is not None:
            seen.add(noted)
        return good


Reader = Callable[["Compiler", dict[str, Any], Node, str], None]


class Compiler:
    """Reads one document; `read` makes the checks of one schema's words."""

    def __init__(self, document: Any, read: Reader) -> None:
        self._read = read
        self._documents: dict[str, Resource] = {}
        self._resources: dict[int, Resource] = {}
        self._nodes: dict[int, Node] = {}
        self._waiting: list[tuple[Any, Node, str]] = []
        self._constants: dict[bool, Node] = {}
        self._dynamic: set[str] = set()
        self._pattern_parts = 0
        self._enter(document, "")
        self.document = document

    def compile(self) -> Node:
        """The node of the document. Raises NotASchema, Outside or CannotBeUsed."""
        root = self.node(self.document, self._documents[""], "#")
        self._work()
        if root.always is None:
            _check_cost(root)
        return root

    def _work(self) -> None:
        while self._waiting:
            while self._waiting:
                schema, node, path = self._waiting.pop()
                self._read(self, schema, node, path)
            for resource in list(self._documents.values()):
                for name in self._dynamic.intersection(resource.dynamic):
                    self.node(resource.dynamic[name], resource, f"#{name}")

    def node(self, schema: Any, resource: Resource, path: str) -> Node:
        """The node of a schema that is somewhere in the document."""
        if isinstance(schema, bool):
            node = self._constants.setdefault(schema, Node(resource))
            node.always = schema
            return node
        if not isinstance(schema, dict):
            raise NotASchema(f"{path} is neither an object nor a boolean")
        known = self._nodes.get(id(schema))
        if known is None:
            known = self._nodes[id(schema)] = Node(self._resources.get(id(schema), resource))
            self._waiting.append((schema, known, path))
        return known

    # ------------------------------------------------------------------------------- references

    def _enter(self, document: Any, uri: str) -> None:
        """Note the addresses and names in a document, in one pass."""
        whole = Resource(uri, document, {}, {})
        self._documents[uri] = whole
        waiting: list[tuple[Any, Resource]] = [(document, whole)]
        while waiting:
            schema, resource = waiting.pop()
            if not isinstance(schema, dict):
                continue
            own = schema.get("$id")
            if isinstance(own, str) and not own.startswith("#"):
                resource = Resource(_joined(resource.uri, own.removesuffix("#")), schema, {}, {})
                self._documents.setdefault(resource.uri, resource)
            self._resources[id(schema)] = resource
            for word, names in (("$anchor", (resource.anchors,)), ("$dynamicAnchor", resource[2:])):
                name = schema.get(word)
                if isinstance(name, str):
                    for known in names:
                        known.setdefault(name, schema)
            waiting += [(inner, resource) for _, inner in subschemas(schema)]

    def target(self, reference: str, resource: Resource, path: str) -> tuple[Node, str, Any]:
        """The node that a reference leads to, its fragment, and the schema. Raises Outside."""
        address, _, fragment = reference.partition("#")
        uri = _joined(resource.uri, address) if address else resource.uri
        there = self._documents.get(uri) if address else resource
        if there is None:
            there = self._standard(uri)
        if there is None:
            raise Outside(reference)
        fragment = unquote(fragment)
        if not fragment:
            schema = there.root
        elif fragment.startswith("/"):
            schema = _at_pointer(there.root, fragment, reference)
        elif fragment in there.anchors:
            schema = there.anchors[fragment]
        else:
            raise Outside(reference)
        if not isinstance(schema, dict | bool):
            raise NotASchema(f"{path}/$ref leads to {reference[:200]!r}, which is no schema")
        return self.node(schema, there, reference[:200]), fragment, schema

    def dynamic_target(self, name: str) -> Callable[[Run], Node | None]:
        """From a value's way to the schema that the outermost resource on it gives a dynamic name."""
        self._dynamic.add(name)
        nodes = self._nodes

        def found(run: Run) -> Node | None:
            for resource in run.scope:
                schema = resource.dynamic.get(name)
                if schema is not None:
                    return nodes[id(schema)]
            return None

        return found

    def pattern(self, text: str, path: str) -> tuple[Callable[[str], bool], int]:
        """The test of a pattern, and its size. Raises NotASchema or CannotBeUsed."""
        try:
            size = size_of(text)
        except NotAPattern as error:
            raise NotASchema(f"{path}: {error}") from None
        # Each takes time to be made, however short it is.
        self._pattern_parts += _LEAST_PARTS + size
        if self._pattern_parts > MOST_PATTERN_PARTS:
            raise CannotBeUsed(f"its patterns have over {MOST_PATTERN_PARTS} parts, repetitions written out")
        try:
            return matcher(text, size), size
        except NotAPattern as error:
            raise NotASchema(f"{path}: {error}") from None
        except Unusable as error:
            raise CannotBeUsed(f"{path}: {error}") from None

    def _standard(self, uri: str) -> Resource | None:
        """One of the standard's own schemas."""
        from jsonschema_specifications import REGISTRY

        if uri not in REGISTRY:
            return None
        self._enter(REGISTRY.contents(uri), uri)
        return self._documents[uri]


def _joined(base: str, address: str) -> str:
    return urljoin(base, address) if base else address


def _at_pointer(root: Any, pointer: str, reference: str) -> Any:
    found = root
    for part in pointer[1:].split("/"):
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isascii() and part.isdecimal() and int(part[:9]) < len(found):
            found = found[int(part[:9])]
        else:
            raise Outside(reference)
    return found


_ONE = (
    "additionalProperties",
    "propertyNames",
    "items",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "unevaluatedItems",
    "unevaluatedProperties",
    "contentSchema",
)
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")


def subschemas(schema: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas right inside a schema, each with its location, as far as they are where schemas may be."""
    for word, inner in schema.items():
        if word in _ONE:
            yield word, inner
        elif word in _LISTS and isinstance(inner, list):
            for index, each in enumerate(inner):
                yield f"{word}/{index}", each
        elif word in _MAPS and isinstance(inner, dict):
            for name, each in inner.items():
                yield f"{word}/{name[:80]}", each


def _check_cost(root: Node) -> None:
    """Raises CannotBeUsed for schemas that apply to themselves in place, or cost too much for any value."""
    costs: dict[int, int] = {}
    met, waiting = {id(root)}, [root]
    while waiting:
        node = waiting.pop()
        _cost(node, costs)
        for inner in (*node.in_place, *node.inner):
            if id(inner) not in met:
                met.add(id(inner))
                waiting.append(inner)


def _cost(start: Node, costs: dict[int, int]) -> None:
    under_way: set[int] = set()
    stack = [start]
    while stack:
        node = stack[-1]
        if id(node) in costs:
            stack.pop()
            continue
        left = [inner for inner in node.in_place if id(inner) not in costs]
        under_way.add(id(node))
        if any(id(inner) in under_way for inner in left):
            raise CannotBeUsed("it refers to itself for one and the same value, which never ends")
        if left:
            stack += left
            continue
        costs[id(node)] = 1 + len(node.checks) + sum(costs[id(inner)] for inner in node.in_place)
        if costs[id(node)] > MOST_IN_PLACE:
            raise CannotBeUsed(
                f"it takes over {MOST_IN_PLACE} steps for any value: let fewer schemas apply to it at once"
            )
        under_way.discard(id(node))
        stack.pop()
