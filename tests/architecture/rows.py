"""Rows by name: nowhere is a column counted, and each value goes to the column of its name.

Run by `make lint` (`python -m tests.architecture.rows`) and by the tests. mypy finds two values that were
swapped where their types differ; here they are found where both are texts, such as `segment` and `action`.
Only `TABLES` knows in which order the columns of a row come.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tests.architecture.source import Module, read

Modules = Mapping[str, Module]

TABLES = "streams.store.tables"
BASE = "ViewRow"
MAKES = "constructor"
"""What makes the constructor of a row from a Protocol's `__call__`."""
READS = {"along", "find", "get", "newest", "scan"}
"""Methods of a snapshot that answer rows."""

MADE_OF = {
    ("Prediction", "pid"): "key",
    ("Fact", "key"): "pid",
    ("Fact", "kind"): "kinds",
    ("Fact", "case_at"): "at",
    ("Count", "dims"): "dims_of",
    ("Exposure", "dims"): "dims_of",
    ("Exposure", "day"): "utc_day",
    ("Outcome", "dims"): "dims_of",
    ("Outcome", "subject"): "key",
    ("Outcome", "day"): "utc_day",
    ("Outcome", "outcome"): "value",
    ("ModelEvent", "data"): "data_json",
    ("Declaration", "shape"): "output_shape",
    ("Declaration", "later"): "later_versions",
    ("Replayed", "dead_letter"): "name",
    ("DeadLetterRow", "code"): "problems",
    ("DeadLetterRow", "detail"): "_DETAILS",
    ("DeadLetterRow", "id"): "event_id",
    ("DeadLetterRow", "place"): "index",
}
"""Columns whose values have another name where they come from: that name."""


@dataclass(frozen=True)
class Construction:
    """A call that builds a row: where, of which Struct, and the columns that it names."""

    module: str
    line: int
    row: str
    positional: bool
    columns: dict[str, ast.expr]


def rows_of(modules: Modules) -> dict[str, tuple[str, ...]]:
    """The Structs of rows, with their columns in order."""
    return {
        node.name: tuple(
            each.target.id
            for each in node.body
            if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
        )
        for node in modules[TABLES].tree.body
        if isinstance(node, ast.ClassDef) and BASE in map(_name, node.bases)
    }


def _name(node: ast.expr | None) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _builders(module: Module, rows: Mapping[str, object]) -> dict[str, tuple[str, bool]]:
    """What builds a row in a module, by its name there: the Struct, and whether it is a constructor of it."""
    found: dict[str, tuple[str, bool]] = {}
    protocols: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module == TABLES:
            found.update(
                {each.asname or each.name: (each.name, False) for each in node.names if each.name in rows}
            )
        elif isinstance(node, ast.ClassDef) and "Protocol" in map(_name, node.bases):
            for each in node.body:
                if isinstance(each, ast.FunctionDef) and each.name == "__call__":
                    protocols[node.name] = _name(each.returns)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call):
            protocol = protocols.get(_name(node.annotation))
            if protocol is not None and _name(node.value.func) == MAKES:
                found[_name(node.target)] = protocol, True
    return found


def constructions(modules: Modules) -> Iterator[Construction]:
    """Every call that builds a row outside of the tables."""
    rows = rows_of(modules)
    for name, module in modules.items():
        if name == TABLES or TABLES not in module.text:
            continue
        builders = _builders(module, rows)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in builders:
                row, is_constructor = builders[node.func.id]
                unpacked = any(each.arg is None for each in node.keywords)
                columns = {each.arg: each.value for each in node.keywords if each.arg is not None}
                positional = unpacked or (bool(node.args) and not is_constructor)
                yield Construction(name, node.lineno, row, positional, columns)


def _words(value: ast.expr) -> set[str]:
    """All names in an expression."""
    return {_name(node) for node in ast.walk(value) if isinstance(node, ast.Name | ast.Attribute)}


def _read(value: ast.expr) -> set[str]:
    """The names of what an expression reads: the last of each chain of names, `segment` of `row.segment`."""
    chains = {id(node.value) for node in ast.walk(value) if isinstance(node, ast.Attribute)}
    return {
        _name(node)
        for node in ast.walk(value)
        if isinstance(node, ast.Name | ast.Attribute) and id(node) not in chains
    }


def check_names(modules: Modules) -> list[str]:
    """The value of a column names that column, or what it is made of, and no other column of the row."""
    rows = rows_of(modules)
    found = []
    for each in constructions(modules):
        for column, value in each.columns.items():
            source = MADE_OF.get((each.row, column))
            if isinstance(value, ast.Constant) or (source is not None and source in _words(value)):
                continue
            others = sorted((_read(value) - {column}).intersection(rows[each.row]))
            if others:
                found.append(
                    f"{each.module}:{each.line} builds {each.row}.{column} of {', '.join(others)}: swapped?"
                )
            elif column not in {word.lower() for word in _words(value)}:
                found.append(
                    f"{each.module}:{each.line} builds {each.row}.{column} of something that does not say so:"
                    " name it after the column, or say in MADE_OF what it is made of"
                )
    return found


def check_keywords(modules: Modules) -> list[str]:
    """No call gives a keyword what is named like another keyword of the call."""
    found = []
    for name, module in modules.items():
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call) or len(node.keywords) < 2:
                continue
            given = {each.arg: _name(each.value) for each in node.keywords if each.arg is not None}
            for keyword, value in given.items():
                if value != keyword and value in given:
                    found.append(f"{name}:{node.lineno} gives {keyword} what is named {value}: swapped?")
    return found


def check_assignments(modules: Modules) -> list[str]:
    """Where a row is built, a variable named like a column is no other column's value."""
    rows = rows_of(modules)
    found = []
    for name, module in modules.items():
        if name == TABLES or TABLES not in module.text:
            continue
        builders = _builders(module, rows)
        for function in ast.walk(module.tree):
            if not isinstance(function, ast.FunctionDef):
                continue
            built = {builders[word][0] for word in _called(function) if word in builders}
            for target, value, line in _assigned(function):
                for row in built:
                    others = sorted(set(rows[row]).intersection({_name(value)} - {target}))
                    if target in rows[row] and others:
                        found.append(
                            f"{name}:{line} calls {others[0]} {target} where a {row} is built: swapped?"
                        )
    return found


def _called(function: ast.FunctionDef) -> set[str]:
    return {_name(node.func) for node in ast.walk(function) if isinstance(node, ast.Call)}


def _assigned(function: ast.FunctionDef) -> Iterator[tuple[str, ast.expr, int]]:
    """Variables of a function, with what each of them is set to."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr) and node.value is not None:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                    for one, value in zip(target.elts, node.value.elts, strict=False):
                        yield _name(one), value, node.lineno
                else:
                    yield _name(target), node.value, node.lineno


def check_construction(modules: Modules) -> list[str]:
    """A row is built by keyword, or read as a whole."""
    return [
        f"{each.module}:{each.line} builds {each.row} by position: name its columns, or use {each.row}.read"
        for each in constructions(modules)
        if each.positional
    ]


def check_counting(modules: Modules) -> list[str]:
    """No column is counted: neither by `columns.index`, nor by a number in brackets behind a row."""
    found = []
    for name, module in modules.items():
        if name == TABLES or not name.startswith(("streams.", "feedback.")):
            continue
        found += [
            f"{name}:{node.lineno} asks for the index of a column: use Table.column or picking"
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Attribute) and node.attr == "index" and _name(node.value) == "columns"
        ]
        # In the rooms above, a row of a text table for people is none of these.
        if name.startswith("streams.") or TABLES in module.text:
            found += [
                f"{name}:{line} counts the columns of a row: read it (`Fact.read`), or use Table.column"
                for line in _counted(module.tree)
            ]
    return found


def _counted(tree: ast.AST) -> Iterator[int]:
    """Lines in which something is taken out of a row by number or variable."""
    names = {"row"} | set(_loop_names(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_row(node.value, names) and not _is_text(node.slice):
            yield node.lineno


def _loop_names(tree: ast.AST) -> Iterator[str]:
    """Names of loops over rows."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.For | ast.comprehension):
            continue
        if isinstance(node.target, ast.Name) and (_name(node.iter) == "rows" or _reads(node.iter)):
            yield node.target.id


def _reads(node: ast.expr) -> bool:
    """Whether this asks a snapshot for rows."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    asked = _name(node.func.value).lstrip("_")
    return node.func.attr in READS and asked in {"snapshot", "transaction", "tx"}


def _is_row(node: ast.expr, names: set[str]) -> bool:
    if isinstance(node, ast.Subscript):
        return _name(node.value) == "rows" and not isinstance(node.slice, ast.Slice)
    return isinstance(node, ast.Name) and node.id in names


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


CHECKS: tuple[Callable[[Modules], list[str]], ...] = (
    check_counting,
    check_construction,
    check_names,
    check_assignments,
    check_keywords,
)


def violations(modules: Modules) -> list[str]:
    """What any of the checks has found."""
    return [each for check in CHECKS for each in check(modules)]


def main() -> int:
    """Print what is wrong; exit status 1 if anything is."""
    modules = read()
    found = violations(modules)
    for each in found:
        print(each)
    print(f"{len(list(constructions(modules)))} rows built, {len(found)} columns counted, unnamed or swapped")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
