"""The parts that the shapes of answers are made of: objects, pages, and the plain values in them."""

from __future__ import annotations

from typing import Any

from schemas.catalog import CURRENT
from schemas.kinds import PREFIX

Schema = dict[str, Any]


def reference(name: str) -> Schema:
    """A reference to the component called `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


def object_of(
    required: dict[str, Schema], description: str, optional: dict[str, Schema] | None = None
) -> Schema:
    """An object that has these fields, and may have those and others."""
    return {
        "type": "object",
        "description": description,
        "properties": {**required, **(optional or {})},
        "required": list(required),
    }


def list_of(
    item: Schema,
    description: str,
    more: dict[str, Schema] | None = None,
    optional: dict[str, Schema] | None = None,
) -> Schema:
    """A page: `items`, `next` and more."""
    required = {"items": {"type": "array", "items": item}, "next": NEXT, **(more or {})}
    return object_of(required, description, optional)


def nullable(kind: str, **more: Any) -> Schema:
    """A value of this type, or null."""
    return {"type": [kind, "null"], **more}


TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "minimum": 0}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
FLAG: Schema = {"type": "boolean"}
TIME: Schema = {"type": "string", "format": "date-time"}
TYPE: Schema = {"type": "string", "examples": [PREFIX + next(iter(CURRENT))]}
NEXT = nullable("string", description="Sent back as `next` it gives the page that follows; null on the last.")
