"""Our validator agrees with jsonschema on ordinary schemas, and ends on all others."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from schemas.normal_json import whole
from schemas.validator.compiler import CannotBeUsed, NotASchema
from schemas.validator.keywords import compiled
from schemas.validator.numbers import is_multiple
from schemas.validator.patterns import MOST_LENGTH, MOST_SIZE, NotAPattern, Unusable, matcher, size_of
from schemas.validator.steps import MOST_STEPS, OutOfSteps, Run

_NAMES = st.sampled_from(["a", "b", "c", "ab", "x1"])
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.sampled_from([0.5, 1.5, -2.0, 1e30]),
    _NAMES,
    st.just(""),
)
VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(_NAMES, inner, max_size=4)),
    max_leaves=8,
)
_COUNTS = st.integers(0, 3)
_TYPES = st.sampled_from(["null", "boolean", "object", "array", "number", "integer", "string"])
_PATTERNS = st.sampled_from(["^a", "b$", "[0-9]", "^(a|b)+$", "a.b?", "^x\\d$", ""])
_REFERENCES = st.sampled_from(["#/$defs/one", "#/$defs/two", "#named"])


def _words(inner: st.SearchStrategy[Any]) -> dict[str, st.SearchStrategy[Any]]:
    schemas = st.lists(inner, min_size=1, max_size=3)
    by_name = st.dictionaries(_NAMES, inner, max_size=3)
    return {
        "type": _TYPES | st.lists(_TYPES, min_size=1, max_size=3, unique=True),
        "const": _SCALARS,
        "enum": st.lists(VALUES, max_size=3),
        "minimum": st.integers(-2, 5),
        "maximum": st.integers(-2, 9),
        "exclusiveMinimum": st.sampled_from([0, 0.5]),
        "exclusiveMaximum": st.sampled_from([3, 1.5]),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        **{f"{end}{what}": _COUNTS for end in ("min", "max") for what in ("Length", "Items", "Properties")},
        "required": st.lists(_NAMES, max_size=2, unique=True),
        "dependentRequired": st.dictionaries(_NAMES, st.lists(_NAMES, max_size=2, unique=True), max_size=2),
        "pattern": _PATTERNS,
        "properties": by_name,
        "patternProperties": st.dictionaries(_PATTERNS, inner, max_size=2),
        "additionalProperties": inner,
        "propertyNames": inner,
        "prefixItems": schemas,
        "items": inner,
        "contains": inner,
        "minContains": _COUNTS,
        "maxContains": _COUNTS,
        "uniqueItems": st.booleans(),
        "allOf": schemas,
        "anyOf": schemas,
        "oneOf": schemas,
        "not": inner,
        "if": inner,
        "then": inner,
        "else": inner,
        "dependentSchemas": by_name,
        "unevaluatedItems": inner,
        "unevaluatedProperties": inner,
        "format": st.just("email"),
        "title": _NAMES,
    }


def _schema_of(inner: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[Any]:
    words = _words(inner)
    chosen = st.lists(st.sampled_from(sorted(words)), max_size=most, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: words[name] for name in names}))


_LEAVES = st.booleans() | _schema_of(st.booleans(), 2)
_BRANCHES = _schema_of(_LEAVES | st.fixed_dictionaries({"$ref": _REFERENCES}), 4)
SCHEMAS = st.tuples(_BRANCHES, _LEAVES, _LEAVES, _LEAVES).map(
    lambda parts: {**parts[0], "$defs": {"one": parts[1], "two": parts[2], "three": _named(parts[3])}}
)


def _named(schema: Any) -> Any:
    return {**(schema if isinstance(schema, dict) else {}), "$anchor": "named"}


def holds(schema: Any, value: Any) -> bool:
    """Whether a value is valid, by our validator."""
    return compiled(schema).holds(value, Run())


@settings(max_examples=400)
@given(SCHEMAS, st.lists(VALUES, min_size=1, max_size=6))
def test_it_agrees_with_jsonschema(schema: Any, values: list[Any]) -> None:
    """Every word of the standard, alone and with others, on any value."""
    other = Draft202012Validator(schema)
    for value in map(whole, values):
        assert holds(schema, value) is other.is_valid(value), value


_BROKEN = st.one_of(VALUES, st.dictionaries(_NAMES, VALUES, max_size=1), st.just([{}, 5]), st.just([]))


@settings(max_examples=400)
@given(st.data())
def test_what_is_no_schema_is_refused_as_by_the_standards_own_schema(data: st.DataObject) -> None:
    """A word with any other value under it."""
    word = data.draw(
        st.sampled_from(sorted({*_words(st.none()), "$defs", "deprecated", "$anchor", "examples"}))
    )
    schema = {word: data.draw(_BROKEN)}
    if word in ("pattern", "patternProperties"):
        return
    try:
        Draft202012Validator.check_schema(schema)
        right = True
    except SchemaError:
        right = False
    try:
        compiled(schema)
    except NotASchema:
        assert not right, schema
    else:
        assert right, schema


@pytest.mark.parametrize(
    "schema, value, valid",
    [
        ({"$dynamicRef": "#t", "$defs": {"t": {"$dynamicAnchor": "t", "type": "string"}}}, "a", True),
        ({"$dynamicRef": "#t", "$defs": {"t": {"$dynamicAnchor": "t", "type": "string"}}}, 1, False),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"type": "string"}, True),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"items": {"type": "wrong"}}, False),
        ({"$ref": "https://json-schema.org/draft/2020-12/schema"}, {"properties": {"a": 5}}, False),
        (
            {"$id": "https://x.example/a", "$ref": "b", "$defs": {"b": {"$id": "b", "type": "null"}}},
            None,
            True,
        ),
        ({"$id": "https://x.example/a", "$ref": "b", "$defs": {"b": {"$id": "b", "type": "null"}}}, 1, False),
        ({"$id": "urn:x:a", "$ref": "#/$defs/a~1b", "$defs": {"a/b": {"const": 1}}}, 1, True),
        ({"$ref": "#/$defs/100%25", "$defs": {"100%": {"const": 1}}}, 2, False),
        ({"minLength": 2}, "\U0001f600", False),
        ({"maxLength": 1}, "\U0001f600", True),
        ({"type": "integer"}, 1e300, True),
        ({"enum": [1, [2.0]]}, [2], True),
        ({"enum": [1]}, True, False),
        ({"uniqueItems": True}, [1, True, "1", [1], [True]], True),
        ({"uniqueItems": True}, [{"a": 1, "b": 2}, {"b": 2, "a": 1}], False),
    ],
)
def test_the_finer_points(schema: Any, value: Any, valid: bool) -> None:
    """References of every kind, code points, whole floats, and True that is no 1."""
    assert holds(schema, value) is valid


_TREE = {
    "$id": "urn:tree",
    "$dynamicAnchor": "node",
    "properties": {"value": True, "children": {"type": "array", "items": {"$dynamicRef": "#node"}}},
}
_STRICT_TREE = {
    "$id": "urn:strict",
    "$dynamicAnchor": "node",
    "$ref": "urn:tree",
    "unevaluatedProperties": False,
    "$defs": {"tree": _TREE},
}


@pytest.mark.parametrize("word", ["children", "childen"])
def test_a_dynamic_reference_means_the_outermost(word: str) -> None:
    """The standard's own example: a strict tree is strict at every depth."""
    value = {"children": [{word: [{"value": 1}]}]}
    assert holds(_STRICT_TREE, value) is (word == "children")


@given(st.integers(-100_000, 100_000), st.integers(0, 4))
def test_every_decimal_is_a_multiple_of_its_last_place(digits: int, places: int) -> None:
    """0.07 of 0.01, and each of 10,000 prices."""
    number, step = json.loads(f"{digits}e-{places}"), json.loads(f"1e-{places}")
    assert is_multiple(whole(number), step)
    assert is_multiple(whole(number), step * 2 if places == 0 else json.loads(f"2e-{places}")) is (
        digits % 2 == 0
    )


@pytest.mark.parametrize(
    "number, divisor, multiple",
    [(1e308, 1e-308, True), (5e-324, 1e308, False), (0, 1e308, True), (10**400, 3, False), (7.5, 2.5, True)],
)
def test_the_ends_of_the_range_are_told_at_once(number: float, divisor: float, multiple: bool) -> None:
    """Nothing is written out to hundreds of digits."""
    assert is_multiple(number, divisor) is multiple


def matching(pattern: str) -> Callable[[str], bool]:
    """The test of a pattern, sized first as a schema's is."""
    return matcher(pattern, size_of(pattern))


def test_a_pattern_takes_linear_time() -> None:
    """What a backtracking engine would try for ever is told."""
    names = matching("^([A-Za-z]+[ '-]?)+$")
    assert not names("Wolfeschlegelsteinhausenbergerdorff1" * 1000)
    assert names("Ann O'Neill-Smith")
    assert not matching("(x+x+)+y")("x" * 60_000)


@pytest.mark.parametrize(
    "pattern", ["(?=a)", "(?<!a)b", r"(a)\1", "(a{1,100}){1,100}", "a{1000000}", "(?>a)"]
)
def test_what_cannot_be_linear_is_refused(pattern: str) -> None:
    """With a sentence that says what to write instead."""
    with pytest.raises(Unusable, match=r"linear time|parts"):
        matching(pattern)


@given(st.text("ab({[)}]\\dp*+?,.^$019-|L:", max_size=30))
def test_the_size_of_any_text_is_found(pattern: str) -> None:
    """In one pass; what has a class that is not closed is none to RE2 either."""
    try:
        assert size_of(pattern) >= 0
    except NotAPattern:
        with pytest.raises((NotAPattern, Unusable)):
            matcher(pattern, 1)
    assert size_of("(?:" * 3 + "a" + "){10}" * 3) >= 1000 or MOST_SIZE < 1000


class _Looked(str):
    """A text that counts how many characters of it were looked at."""

    looked = 0

    def __getitem__(self, place: Any) -> str:
        found = str.__getitem__(self, place)
        self.looked += len(found)
        return found

    def startswith(self, *asked: Any) -> bool:
        self.looked += 1
        return str.startswith(self, *asked)

    def find(self, what: str, *bounds: Any) -> int:
        found = str.find(self, what, *bounds)
        self.looked += (len(self) if found < 0 else found) - bounds[0]
        return found


_HOSTILE = ["(", "[", "[:", "[[:", "\\p{", "{", "|", "\\", "[]", "(?:", "a{9", "[^", "[\\"]


@pytest.mark.parametrize("part", _HOSTILE)
def test_sizing_a_pattern_looks_at_each_character_a_few_times(part: str) -> None:
    """Whatever it repeats: at once when it is too long, and in one pass just below that."""
    long = _Looked(part * (64 * 1024 // len(part)))
    assert size_of(long) > MOST_SIZE
    assert long.looked == 0
    short = _Looked(part * (MOST_LENGTH // len(part)))
    with suppress(NotAPattern):
        size_of(short)
    assert short.looked <= 5 * len(short) + 50


@pytest.mark.parametrize("part", _HOSTILE)
def test_a_schema_sizes_each_pattern_once(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And it is refused, or takes part, with a sentence."""
    sized: list[str] = []

    def counting(pattern: str) -> int:
        sized.append(pattern)
        return size_of(pattern)

    monkeypatch.setattr("schemas.validator.compiler.size_of", counting)
    pattern = part * (64 * 1024 // len(part))
    with pytest.raises((CannotBeUsed, NotASchema), match="parts"):
        compiled({"pattern": pattern})
    assert sized == [pattern]


@pytest.mark.parametrize(
    "pattern, text",
    [(r"^\u00e9$", "é"), (r"^\ud83d\ude00$", "😀"), (r"^\u{1f600}\/\Z", "😀/"), (r"^\\u0041$", "\\u0041")],
)
def test_ecmascripts_escapes_are_understood(pattern: str, text: str) -> None:
    """As JSON Schema has them."""
    assert matching(pattern)(text)


def _twice(name: str) -> dict[str, Any]:
    return {"allOf": [{"$ref": f"#/$defs/{name}"}] * 2}


_DOUBLING = {f"d{n}": _twice(f"d{n + 1}") for n in range(30)} | {"d30": {}}
_DEEP = json.loads("[" * 28 + "]" * 28)


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "#"}, id="itself"),
        pytest.param({"anyOf": [{"type": "string"}, {"not": {"$ref": "#"}}]}, id="itself around a corner"),
        pytest.param({"$defs": _DOUBLING, "$ref": "#/$defs/d0"}, id="doubling"),
        pytest.param({"$defs": _DOUBLING, "properties": {"a": {"$ref": "#/$defs/d0"}}}, id="doubling inside"),
        pytest.param(
            {"$defs": _DOUBLING, "dependentSchemas": {"a": _twice("d0")}}, id="doubling on a condition"
        ),
        pytest.param(
            {"properties": {f"p{n}": {"pattern": f"^{n}[a-z]{{900}}$"} for n in range(40)}}, id="patterns"
        ),
    ],
)
def test_a_schema_that_costs_too_much_is_refused(schema: Any) -> None:
    """Before there is any value."""
    with pytest.raises(CannotBeUsed):
        compiled(schema)


@pytest.mark.parametrize(
    "schema, value",
    [
        pytest.param(
            {"$defs": {"t": {"allOf": [{"items": {"$ref": "#/$defs/t"}}] * 2}}, "$ref": "#/$defs/t"},
            _DEEP,
            id="doubling with each level of the value",
        ),
        pytest.param(
            {"unevaluatedProperties": {"$ref": "#"}, "anyOf": [{"propertyNames": {"pattern": "a"}}] * 60},
            {f"a{n}": {f"a{m}": {} for m in range(60)} for n in range(60)},
            id="unevaluated",
        ),
        pytest.param(
            {"patternProperties": {f"^a{n}": {} for n in range(300)}},
            dict.fromkeys(map(str, range(5000))),
            id="patterns of names",
        ),
        pytest.param({"items": {"enum": [[0] * 100, 1]}}, [[0] * 100] * 50_000, id="lists in an enum"),
    ],
)
def test_a_value_that_costs_too_much_is_told_so(schema: Any, value: Any) -> None:
    """After a bounded number of steps, the same ones each time."""
    root = compiled(schema)
    for _ in range(2):
        run = Run()
        with pytest.raises(OutOfSteps):
            root.holds(value, run)
        assert run.left < MOST_STEPS


def test_a_large_schema_is_read_in_linear_time() -> None:
    """64 KiB of names to refer to: counted in what is looked at, not in seconds."""
    import sys

    def calls(anchors: int) -> int:
        schema = {
            "$defs": {f"a{n}": {"$anchor": f"a{n}"} for n in range(anchors)},
            "allOf": [{"$ref": "#a1"}] * anchors,
        }
        count = 0

        def counted(*_: Any) -> None:
            nonlocal count
            count += 1

        sys.setprofile(counted)
        try:
            compiled(schema)
        finally:
            sys.setprofile(None)
        return count

    assert calls(2000) < 2.5 * calls(1000)
