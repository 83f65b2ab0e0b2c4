"""Writes the reference pages of events and routes, from the JSON Schemas and the OpenAPI document.

    python -m schemas.describe.reference            write docs/reference/events.md and http.md
    python -m schemas.describe.reference --check    write nothing; exit 1 and name the pages that are stale

What the generated schemas say is left to `json_schemas` and `openapi`; why it is so, to the explanation
pages.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from schemas.describe.json_schemas import event_schema
from schemas.describe.openapi import AT_THE_DOOR, document
from schemas.fields import ACTIONS, OUTCOMES, REASONS
from schemas.kinds import KINDS, PREFIX, Once

FOLDER = Path(__file__).parents[2] / "docs" / "reference"

Node = dict[str, Any]

_EVENTS_HEAD = f"""\
# Events

Generated from the event types by `python -m schemas.describe.reference`; the JSON Schemas are in
[schemas/json](../../schemas/json/).

An event is a [CloudEvent](https://cloudevents.io) 1.0 in JSON. Beside `data` it has `specversion` (`1.0`),
`id`, `source`, `type` (`loopline.` and the name below) and `time` (RFC 3339 with an offset); other attributes
are kept. `data` is closed: an unknown field is refused.

- A **target** is `prediction_id`, or `model` with `join_key`, the product's own id of the case. `model`
  beside a `prediction_id` must be that prediction's.
- `env` is the environment, `prod` when left out; only `prod` counts and trains unless somebody asks.
- A **name** is `[A-Za-z0-9][A-Za-z0-9._-]{{0,127}}`. A **word** is one of the listed ones or your own,
  `[a-z0-9_]{{1,64}}`. Listed are
  the actions {", ".join(ACTIONS)};
  the reasons {", ".join(REASONS)};
  the outcomes {", ".join(OUTCOMES)}.
- `explains` is the id of an event of the same source about the same target: of the thumb that a reason is the
  second step of, or of what a retraction takes back.
- *personal* fields may hold personal data, and are marked so in the schema.
- Each type says which of its events **count**. Without `person`, each event is its own voter.
"""

_COUNTS: dict[Once, str] = {
    "prediction": "Of each prediction, the first counts.",
    "person": "Of each person, the latest about a prediction counts.",
    "word": "Of each person and word, one about a prediction counts.",
    "each": "Each counts.",
    "never": "It is not counted.",
}

_HTTP_HEAD = """\
# HTTP

Generated from the OpenAPI document by `python -m schemas.describe.reference`;
a server has it at `/openapi.json`.

The default port is 8710. Times are RFC 3339 in UTC. A problem is an RFC 9457 object with `type`, `title`,
`detail` and `code`. Lists are paged: `items`, and `next`, a token to send back as `?next=`. Every read takes
`?after=POSITION`, as an answer to `POST /v1/events` gave it, and waits until the views have come that far.
"""

_DOOR_HEAD = """
## Every route

Before anything looks at what is asked, a request has to name this server in `Host` (where it listens,
`localhost`, or a name in the setting [`allowed_hosts`](settings.md)), come from no other site's page, and be
here whole in time. Each of these answers is a problem; 400, 408, 431 and `busy` (503, over
`max_connections`) also end the connection.

| answer | |
|---|---|
"""

# What people call a pattern; the page's head says what it is.
_PATTERNS = {
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$": "name",
    "^[a-z0-9_]{1,64}$": "word",
    "^[0-9a-f]{64}$": "64 lowercase hex digits",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}@[1-9][0-9]{0,8}$": "`MODEL@N`",
}
# Limits of the machine and not of the contract.
_HUGE = 10**15
_NOT_NULL = {"string", "number", "boolean", "array", "object"}


def pages() -> dict[str, str]:
    """The text of each page, by file name."""
    return {"events.md": "".join(_events()), "http.md": "".join(_http())}


# ------------------------------------------------------------------------------------------------ events


def _events() -> Iterator[str]:
    yield _EVENTS_HEAD
    for kind in KINDS.values():
        schema = event_schema(kind.type.removeprefix(PREFIX))
        said = [schema["description"], _COUNTS[kind.once]]
        said += ["It can be a vote for a label."] if kind.votes else []
        said += ["A retraction takes it back."] if kind.retractable else []
        yield f"\n## {kind.type}\n\n{' '.join(said)}\n\n"
        yield from _fields(schema["properties"]["data"])


def _fields(data: Node) -> Iterator[str]:
    yield "| field | | value | meaning |\n|---|---|---|---|\n"
    required = data.get("required", [])
    targets = {"prediction_id", "model", "join_key"} if "anyOf" in data else set()
    if targets and {"required": ["subject"], "not": {"required": ["join_key"]}} in data["anyOf"]:
        targets.add("subject")
    fields = data["properties"]
    for field in sorted(fields, key=lambda name: _rank(name, required, targets)):
        need = "required" if field in required else "target" if field in targets else ""
        value, meaning = _value(fields[field]), fields[field]["description"]
        yield f"| `{field}` | {need} | {_cell(value)} | {_cell(meaning)} |\n"


def _rank(field: str, required: Sequence[str], targets: set[str]) -> tuple[int, int]:
    order = 0 if field in targets else 1 if field in required else 3 if field == "env" else 2
    return order, list(required).index(field) if field in required else 0


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _value(schema: Node) -> str:
    """A schema as a few words."""
    said = _bare(schema)
    if schema.get("x-loopline-personal"):
        said += ", *personal*"
    return said


def _bare(schema: Node) -> str:
    kind = schema.get("type")
    if "const" in schema:
        return f"`{_json(schema['const'])}`"
    if "enum" in schema:
        return " or ".join(f"`{each}`" for each in schema["enum"])
    if kind == "object":
        return _object(schema)
    if "anyOf" in schema:
        return " or ".join(_bare(each) for each in schema["anyOf"])
    if kind == "array":
        return f"list of {_bare(schema.get('items', {}))}{_limits(schema, 'Items', 'entries')}"
    if kind in ("number", "integer"):
        return f"{kind}{_range(schema)}"
    if kind == "string":
        return _PATTERNS.get(schema.get("pattern", ""), f"text{_limits(schema, 'Length', 'characters')}")
    if isinstance(kind, list):
        return "any JSON but null" if set(kind) == _NOT_NULL else " or ".join(map(_plain_type, kind))
    return kind or "any JSON"


def _object(schema: Node) -> str:
    if schema.get("properties"):
        inner = ", ".join(f"`{name}`: {_bare(each)}" for name, each in schema["properties"].items())
        return f"{{{inner}}}"
    if isinstance(schema.get("additionalProperties"), dict):
        return f"map of {_bare(schema['additionalProperties'])}{_limits(schema, 'Properties', 'entries')}"
    return "object"


def _plain_type(name: str) -> str:
    return {"string": "text", "array": "list"}.get(name, name)


def _json(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _limits(schema: Node, what: str, unit: str) -> str:
    most = schema.get(f"max{what}")
    return f", at most {most:,} {unit}" if most is not None else ""


def _range(schema: Node) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f", {low:,} to {high:,}" if high < _HUGE else f", from {low:,}"
    return f", from {low:,}" if low is not None else ""


# -------------------------------------------------------------------------------------------------- http


def _http() -> Iterator[str]:
    yield _HTTP_HEAD
    described = document()
    yield from _at_the_door(described)
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield f"\n## {method.upper()} {path}\n\n{operation['summary']}\n"
            yield from _more(operation)
            yield from _parameters(operation.get("parameters", []), described)
            yield from _body(operation)
            yield from _answers(operation["responses"], described)


def _at_the_door(described: Node) -> Iterator[str]:
    yield _DOOR_HEAD
    for status in AT_THE_DOOR:
        refusal = described["components"]["responses"][f"Refused{status}"]
        yield f"| {status} | {_cell(refusal['description'])} |\n"


def _more(operation: Node) -> Iterator[str]:
    if "description" in operation:
        yield f"\n{operation['description']}\n"


def _parameters(parameters: Sequence[Node], described: Node) -> Iterator[str]:
    rows = [_resolved(each, described) for each in parameters]
    if rows:
        yield "\n| parameter | | meaning |\n|---|---|---|\n"
    for each in rows:
        schema = each["schema"]
        words = schema.get("enum") or schema.get("items", {}).get("enum")
        listed = f" Any of {', '.join(f'`{word}`' for word in words if word)}." if words else ""
        default = f" Default {schema['default']}." if "default" in schema else ""
        meaning = f"{each.get('description', '')}{listed}{default}".strip()
        need = "path" if each["in"] == "path" else "required" if each.get("required") else ""
        yield f"| `{each['name']}` | {need} | {_cell(meaning)} |\n"


def _body(operation: Node) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {})
    if content:
        yield "\nBody: " + ", ".join(f"`{media_type}`" for media_type in content) + ".\n"


def _answers(responses: Node, described: Node) -> Iterator[str]:
    yield "\n| answer | |\n|---|---|\n"
    for status, response in responses.items():
        if status in AT_THE_DOOR:
            continue
        yield f"| {status} | {_cell(_resolved(response, described)['description'])} |\n"


def _resolved(node: Node, described: Node) -> Node:
    """The node itself, or what it refers to."""
    if "$ref" not in node:
        return node
    found = described
    for part in node["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    return found


# -------------------------------------------------------------------------------------------------- files


def stale(folder: Path = FOLDER) -> list[str]:
    """The pages below the folder that are not what they would be if written now."""
    return [
        name
        for name, text in pages().items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != text
    ]


def main(arguments: Sequence[str], folder: Path = FOLDER) -> int:
    """The command line. Returns the exit status: 0 done or up to date, 1 stale, 2 usage."""
    if list(arguments) not in ([], ["--check"]):
        sys.stderr.write("usage: python -m schemas.describe.reference [--check]\n")
        return 2
    differing = stale(folder)
    for name in differing:
        if arguments:
            sys.stderr.write(f"docs/reference/{name} is stale: run python -m schemas.describe.reference\n")
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(pages()[name], encoding="utf-8", newline="\n")
            sys.stdout.write(f"docs/reference/{name}\n")
    return 1 if differing and arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
