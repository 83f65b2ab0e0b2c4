"""The rules of the contract as a module of the Python client, which imports nothing of the platform.

Written by `schemas.describe.generate`: the limits of an event, the codes that judge one, the data of each
event type with the limits of its fields (flat, without meanings and marks), and which rule over several
fields it has. How the client judges by them is in `loopline.admission` and `loopline.delivery.answers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct, UnsetType

from schemas import fields, numbers, problems
from schemas.catalog import CURRENT, FIRST_YEAR, Event
from schemas.kinds import PREFIX
from schemas.rules import rule_of

FILE = "clients/python/loopline/rules.py"
NUMBERS_FILE = "clients/python/loopline/numbers.py"

_LIMITS = ("MAX_EVENT_BYTES", "MAX_INPUT_BYTES", "MAX_DEPTH")
_JUDGED = (problems.INVALID_VALUE, problems.UNKNOWN_FIELD, problems.TOO_LARGE, problems.TOO_DEEP)
_OF_A_META = ("ge", "gt", "le", "lt", "multiple_of", "pattern", "min_length", "max_length", "tz")

_HEAD = '''"""What the server takes: the data of each event type with its limits. Generated: do not edit.

Written by ``python -m schemas.describe.generate`` from the platform's ``schemas``; :mod:`loopline.admission`
and :mod:`loopline.delivery.answers` judge by it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar

from msgspec import UNSET, Meta, Struct, UnsetType

Data = TypeVar("Data")
'''


def numbers_text() -> str:
    """The text of the client's module that counts slow numbers: the platform's own."""
    return Path(numbers.__file__).read_text(encoding="utf-8")


def text() -> str:
    """The module's text."""
    names = _names()
    rules = {name: rule_of(data) for name, data in CURRENT.items()}
    limits = {name: getattr(fields, name) for name in _LIMITS}
    classes = [_class(each, names) for each in _structs(CURRENT.values())] + [_envelope(names)]
    named = set(re.findall(r"\w+", " ".join(classes)))
    return "\n".join(
        [
            _HEAD,
            _lines({**limits, "FIRST_YEAR": FIRST_YEAR}),
            _codes("REFUSALS", problems.COLLECTOR_CODES),
            _table("TITLES", {code: json.dumps(problems.TITLES[code]) for code in _JUDGED}),
            _lines({name: definition for definition, name in names.items() if name in named}),
            *("\n" + each for each in classes),
            "\n" + _table("TYPES", {PREFIX + name: data.__name__ for name, data in CURRENT.items()}),
            _table("RULES", {PREFIX + name: f'"{rule.__name__}"' for name, rule in rules.items() if rule}),
        ]
    )


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{name} = {value}\n" for name, value in values.items())


def _table(name: str, rows: Mapping[str, str]) -> str:
    return f"{name} = {{\n" + "".join(f'    "{key}": {value},\n' for key, value in rows.items()) + "}\n"


def _codes(name: str, codes: Iterable[str]) -> str:
    return f"{name} = (\n" + "".join(f'    "{code}",\n' for code in codes) + ")\n"


def _names() -> dict[str, str]:
    """The names of the kinds of fields, by their definitions; those that differ in a mark alone are one."""
    names: dict[str, str] = {}
    for name, kind in vars(fields).items():
        if name[0].isupper() and get_origin(kind) is Annotated:
            definition = _type(kind, {})
            if definition.startswith("Annotated"):
                names.setdefault(definition, name)
    return names


def _structs(wanted: Iterable[type[Struct]]) -> list[type[Struct]]:
    """These and the Structs inside of them, every one once and after those that it has."""
    found: dict[type[Struct], None] = {}
    for struct in wanted:
        for hint in get_type_hints(struct, include_extras=True).values():
            found.update(dict.fromkeys(_inside(hint)))
        found[struct] = None
    return list(found)


def _inside(hint: Any) -> Iterator[type[Struct]]:
    if get_origin(hint) is None and isinstance(hint, type) and issubclass(hint, Struct):
        yield hint
    for each in get_args(hint):
        yield from _inside(each)


def _class(struct: type[Struct], names: dict[str, str]) -> str:
    closed = "forbid_unknown_fields=True, " if struct.__struct_config__.forbid_unknown_fields else ""
    summary = (struct.__doc__ or "").partition("\n")[0]
    head = f'class {struct.__name__}(Struct, {closed}kw_only=True, gc=False):\n    """{summary}"""\n\n'
    return head + "".join(_field(struct, each, names) for each in msgspec.structs.fields(struct))


def _field(struct: type[Struct], field: msgspec.structs.FieldInfo, names: dict[str, str]) -> str:
    hint = get_type_hints(struct, include_extras=True)[field.name]
    return f"    {field.name}: {_type(hint, names)}{'' if field.required else ' = UNSET'}\n"


def _envelope(names: dict[str, str]) -> str:
    """The CloudEvents attributes that are required; others pass."""
    own = msgspec.structs.fields(Event)
    lines = {each.name: _field(Event, each, names) for each in own if each.required}
    lines["time"] = f"    time: {_type(Annotated[datetime, Meta(tz=True)], names)}\n"
    lines["data"] = "    data: Data\n"
    head = (
        'class Event(Struct, Generic[Data], kw_only=True, gc=False):\n    """The envelope of an event."""\n\n'
    )
    return head + "".join(lines.values())


def _type(hint: Any, names: dict[str, str]) -> str:
    """A field's type as Python text, by its name where it has one, without what is only for documentation."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, *metas = get_args(hint)
        limits = [
            f"{limit}={_literal(getattr(meta, limit))}"
            for meta in metas
            for limit in _OF_A_META
            if getattr(meta, limit) is not None
        ]
        written = (
            f"Annotated[{_type(base, names)}, Meta({', '.join(limits)})]" if limits else _type(base, names)
        )
        return names.get(written, written)
    if origin is Literal:
        return f"Literal[{', '.join(map(_literal, get_args(hint)))}]"
    if origin in (Union, UnionType):
        return " | ".join(_type(each, names) for each in get_args(hint))
    if origin is not None:
        return f"{origin.__name__}[{', '.join(_type(each, names) for each in get_args(hint))}]"
    special = {NoneType: "None", UnsetType: "UnsetType", Any: "Any"}
    return special[hint] if hint in special else str(hint.__name__)


def _literal(value: Any) -> str:
    if isinstance(value, str):
        return f'r"{value}"' if "\\" in value else json.dumps(value)
    return repr(value)
