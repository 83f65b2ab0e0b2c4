"""The Kafka topics as an AsyncAPI 3.0 document: what may be produced, what lies in the log, dead letters.

Event types come from the catalogue; their payloads are the JSON Schemas in `schemas/json`, which the
document refers to. That the topics are used in this way is left to the tests of `streams.kafka`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from schemas.describe.json_schemas import event_schema, names
from schemas.describe.openapi import MAX_BATCH_ITEMS, VERSION
from schemas.fields import MAX_EVENT_BYTES
from schemas.kinds import PREFIX
from schemas.problems import COLLECTOR_CODES

Node = dict[str, Any]

FILE = "asyncapi.yaml"
DEFAULT_PREFIX = "loopline"
STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
BYTES = "application/octet-stream"
BLOCK_FORMATS = (1, 2)
ATTRIBUTES = ("specversion", "id", "source", "type", "time")

_TEXT: Node = {"type": "string"}
_DIGITS: Node = {"type": "string", "pattern": "^(0|[1-9][0-9]{0,18})$"}
_ANY_ATTRIBUTE = "An attribute or extension of the event, as UTF-8 text and not percent-encoded."
_HEADERS_OF_LETTERS: dict[str, tuple[Node, bool, str]] = {
    "__connect.errors.topic": (_TEXT, False, "The topic of the refused record, where it came from Kafka."),
    "__connect.errors.partition": (_DIGITS, False, "Its partition."),
    "__connect.errors.offset": (_DIGITS, False, "Its offset."),
    "__connect.errors.stage": (_TEXT, True, "Where it was refused."),
    "__connect.errors.exception.class.name": (_TEXT, True, "`loopline.` and the problem's code."),
    "__connect.errors.exception.message": (_TEXT, True, "What was wrong, and where."),
    "__connect.errors.connector.name": (_TEXT, True, "The prefix of the topics."),
    "__connect.errors.task.id": (_DIGITS, True, "Always 0."),
    "loopline.code": ({"enum": list(COLLECTOR_CODES)}, True, "The problem's code."),
    "loopline.received": (_DIGITS, True, "When it was received, in nanoseconds since 1970."),
    "loopline.id": (_TEXT, False, "The event's id, where it could be read."),
    "loopline.source": (_TEXT, False, "The event's source, where it could be read."),
}


def document() -> Node:
    """The whole document, as plain dicts and lists."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Loopline on Kafka",
            "version": VERSION,
            "description": (
                "The topics of a log on Kafka. Products may produce CloudEvents to the intake topic; the log"
                " and the dead letters are written by Loopline alone."
            ),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": STRUCTURED,
        "servers": {
            "brokers": {
                "host": "{host}",
                "protocol": "kafka",
                "description": "The brokers of `LOOPLINE_LOG`.",
                "variables": {"host": {"default": "127.0.0.1:9092", "description": "`HOST:PORT`."}},
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _schemas()},
    }


def _channels() -> Node:
    prefix = {"prefix": {"default": DEFAULT_PREFIX, "description": "The last part of the log's address."}}
    epoch = {"epoch": {"default": "1", "description": "Raised when the number of partitions is changed."}}
    only_kept = {"cleanup.policy": ["delete"], "retention.ms": -1, "retention.bytes": -1}
    return {
        "intake": {
            "address": "{prefix}.intake",
            "title": "The way in",
            "description": (
                "CloudEvents in structured, batched or binary mode (Kafka protocol binding 1.0). They are"
                " judged as over HTTP: what is accepted goes into the log, the rest to the dead letters."
                " Keys and partitions are the producer's choice; the log has its own."
            ),
            "parameters": prefix,
            "messages": {key: _ref("messages", key) for key in _event_messages()},
        },
        "log": {
            "address": "{prefix}.log.{epoch}",
            "title": "The log",
            "description": "Every accepted event, in blocks. Kept whole: no retention limit, no compaction.",
            "parameters": {**prefix, **epoch},
            "messages": {"block": _ref("messages", "block")},
            "bindings": {"kafka": {"topicConfiguration": only_kept, "bindingVersion": "0.5.0"}},
        },
        "deadLetters": {
            "address": "{prefix}.dead-letters",
            "title": "Dead letters",
            "description": "Every refused item as it was sent, with the reason in its headers. Kept whole.",
            "parameters": prefix,
            "messages": {"deadLetter": _ref("messages", "deadLetter")},
            "bindings": {
                "kafka": {"partitions": 1, "topicConfiguration": only_kept, "bindingVersion": "0.5.0"}
            },
        },
    }


def _operations() -> Node:
    def operation(action: str, channel: str, summary: str, group: str | None = None) -> Node:
        node: Node = {"action": action, "channel": {"$ref": f"#/channels/{channel}"}, "summary": summary}
        messages = _channels()[channel]["messages"]
        node["messages"] = [{"$ref": f"#/channels/{channel}/messages/{_escaped(key)}"} for key in messages]
        if group is not None:
            schema = {"type": "string", "pattern": group}
            node["bindings"] = {"kafka": {"groupId": schema, "bindingVersion": "0.5.0"}}
        return node

    intake, workers = r"^[A-Za-z0-9._-]+-intake$", r"^[A-Za-z0-9._-]+-workers-v[0-9]+$"
    return {
        "takeEventsIn": operation(
            "receive", "intake", "Collectors read events, and commit when they are in the log.", intake
        ),
        "appendBlocks": operation("send", "log", "Collectors append blocks; acknowledged by all replicas."),
        "applyBlocks": operation(
            "receive", "log", "Workers bring blocks into the views; the position is the store's.", workers
        ),
        "keepDeadLetters": operation("send", "deadLetters", "Collectors keep what they refuse."),
        "listDeadLetters": operation(
            "receive", "deadLetters", "Workers list dead letters, for `loopline dead-letters`.", workers
        ),
    }


def _event_messages() -> Node:
    """A message for each event type in each mode, and one for batches."""
    found: Node = {}
    for name in names():
        schema, file = event_schema(name), f"./json/{name}.json"
        said = {"title": PREFIX + name, "summary": schema["description"]}
        found[name] = {
            "name": PREFIX + name,
            **said,
            "contentType": STRUCTURED,
            "headers": _ref("schemas", "StructuredHeaders"),
            "payload": {"$ref": file},
        }
        found[f"{name}.binary"] = {
            "name": f"{PREFIX}{name} (binary)",
            **said,
            "contentType": JSON,
            "headers": _binary_headers(PREFIX + name),
            "payload": {"$ref": f"{file}#/properties/data"},
        }
    found["batch"] = {
        "name": "batch",
        "title": "Several events in one record",
        "summary": f"At most {MAX_BATCH_ITEMS} events; each is judged by itself.",
        "contentType": BATCH,
        "headers": _ref("schemas", "BatchHeaders"),
        "payload": {
            "type": "array",
            "maxItems": MAX_BATCH_ITEMS,
            "items": {"anyOf": [{"$ref": f"./json/{name}.json"} for name in names()]},
        },
    }
    return found


def _messages() -> Node:
    block = {
        "name": "block",
        "title": "A block of events of one partition",
        "summary": "At most 512 KiB, a lone larger event apart. It has no key and no headers.",
        "contentType": BYTES,
        "payload": _ref("schemas", "Block"),
    }
    letter = {
        "name": "deadLetter",
        "title": "A refused item",
        "summary": "The value is the item as it was sent; the headers are those of Kafka Connect.",
        "contentType": BYTES,
        "headers": _ref("schemas", "DeadLetterHeaders"),
        "payload": {"description": "The item, whatever it is.", "type": "string", "format": "binary"},
    }
    return {**_event_messages(), "block": block, "deadLetter": letter}


def _binary_headers(event_type: str) -> Node:
    properties = {
        **{f"ce_{name}": {"type": "string", "description": _ANY_ATTRIBUTE} for name in ATTRIBUTES},
        "ce_specversion": {"const": "1.0"},
        "ce_type": {"const": event_type},
        "ce_time": {"type": "string", "format": "date-time"},
        "content-type": {"type": "string", "default": JSON, "description": "The `datacontenttype`: JSON."},
    }
    return {
        "type": "object",
        "properties": properties,
        "required": [f"ce_{name}" for name in ATTRIBUTES],
        "additionalProperties": {"type": "string", "description": _ANY_ATTRIBUTE},
    }


def _schemas() -> Node:
    def headers(properties: Node, required: list[str]) -> Node:
        return {"type": "object", "properties": properties, "required": required}

    letters = {
        name: {**schema, "description": what} for name, (schema, _, what) in _HEADERS_OF_LETTERS.items()
    }
    return {
        "StructuredHeaders": {
            **headers({"content-type": {"const": STRUCTURED}}, []),
            "description": f"Without any header the value is taken for {STRUCTURED}.",
        },
        "BatchHeaders": headers({"content-type": {"const": BATCH}}, ["content-type"]),
        "DeadLetterHeaders": headers(
            letters, [name for name, (_, required, _) in _HEADERS_OF_LETTERS.items() if required]
        ),
        "Block": {
            "description": (
                "Three bytes `LLB`; one byte, the format; four bytes, the header's length, big endian; the"
                " header, a BlockHeader as JSON; and the body, a JSON array of the events as they were sent,"
                f" each at most {MAX_EVENT_BYTES} bytes. In format 1 the body is compressed with zstd, in"
                " format 2 it is not. A reader that does not know a format stops; it never skips."
            ),
            "type": "string",
            "format": "binary",
            "x-loopline-formats": list(BLOCK_FORMATS),
            "x-loopline-header": _ref("schemas", "BlockHeader"),
        },
        "BlockHeader": {
            "type": "object",
            "properties": {
                "types": {
                    "description": "The event types inside, in order.",
                    "type": "array",
                    "items": {"enum": [PREFIX + name for name in names()]},
                },
                "received": {
                    "description": "When the events were received: runs of [nanoseconds since 1970, count].",
                    "type": "array",
                    "items": {
                        "type": "array",
                        "items": {"type": "integer", "minimum": 0},
                        "minItems": 2,
                        "maxItems": 2,
                    },
                },
            },
            "required": ["types", "received"],
        },
    }


def _ref(kind: str, name: str) -> Node:
    return {"$ref": f"#/components/{kind}/{_escaped(name)}"}


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


# ------------------------------------------------------------------------------------------------------ yaml

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$.-]*")
# What YAML 1.1 readers take for booleans and null.
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})


def text() -> str:
    """The document as YAML: its texts quoted as in JSON, so that every reader takes them alike."""
    head = "# Generated by `python -m schemas.describe.generate`.\n"
    return head + "\n".join(_lines(document())) + "\n"


def _lines(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _entry(f"{_scalar(key)}:", value)
    else:
        for value in node:
            lines = list(_lines(value)) if isinstance(value, dict | list) and value else [_leaf(value)]
            yield f"- {lines[0]}"
            yield from (f"  {line}" for line in lines[1:])


def _entry(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, dict | list) and value:
        yield key
        yield from (f"  {line}" for line in _lines(value))
    else:
        yield f"{key} {_leaf(value)}"


def _leaf(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _scalar(key: str) -> str:
    return key if _PLAIN.fullmatch(key) and key.lower() not in _WORDS else _leaf(key)
