"""The AsyncAPI document: complete, true to the catalogue and to the code that uses the topics."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from schemas.describe import asyncapi, openapi
from schemas.describe.asyncapi import ATTRIBUTES, document
from schemas.describe.generate import HERE
from schemas.describe.json_schemas import names
from schemas.kinds import PREFIX
from schemas.problems import COLLECTOR_CODES
from streams.kafka.address import DEFAULT_PREFIX, Address
from streams.kafka.intake import cloudevents
from streams.kafka.log.dead_letters import dead_letter_record
from streams.log.block import DeadLetter, Header, read_block, write_block, write_dead_letters

ADDRESS = Address(("127.0.0.1:9092",))
DOCUMENT = document()
MESSAGES = DOCUMENT["components"]["messages"]


def references(node: Any) -> Iterator[str]:
    """Every reference in a document."""
    if isinstance(node, dict):
        if "$ref" in node:
            assert set(node) == {"$ref"}
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def resolved(reference: str, within: Any = DOCUMENT) -> Any:
    """What a reference leads to; the files beside the document included."""
    file, _, pointer = reference.partition("#")
    found = json.loads((HERE / file).read_text()) if file else within
    for part in pointer.split("/")[1:]:
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def whole(schema: Any) -> Any:
    """A schema with everything it refers to put in."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            return whole(resolved(schema["$ref"]))
        return {key: whole(value) for key, value in schema.items()}
    return [whole(value) for value in schema] if isinstance(schema, list) else schema


def check(schema: Any, value: Any) -> None:
    """Raises when the value does not fit."""
    jsonschema.Draft202012Validator(whole(schema)).validate(value)


def test_the_file_is_the_document() -> None:
    """The YAML says what was generated, to readers of YAML 1.1 too; nothing in it is an alias or a tag."""
    text = (HERE / asyncapi.FILE).read_text()
    assert yaml.safe_load(text) == DOCUMENT
    assert text == asyncapi.text()


def test_yaml_is_quoted_where_it_must_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Words, numbers and marks that YAML reads in its own way come out as they went in."""
    odd = {
        "on": 1,
        "no": "no",
        "1.0": "1.0",
        "a: b": [],
        "c": {},
        "d": [[1, [2]], {"e": [{"f": None}]}],
        "": "\n#",
    }
    monkeypatch.setattr(asyncapi, "document", lambda: odd)
    assert yaml.safe_load(asyncapi.text()) == odd


def test_every_reference_leads_somewhere() -> None:
    """References inside the document, and to the JSON Schemas beside it."""
    found = list(references(DOCUMENT))
    assert len(found) > 5 * len(names())
    for reference in found:
        assert resolved(reference), reference


def test_the_parts_are_complete() -> None:
    """Channels have an address, parameters and messages; operations a channel, an action and its messages."""
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert set(DOCUMENT) == {
        "asyncapi", "info", "defaultContentType", "servers", "channels", "operations", "components",
    }  # fmt: skip
    used = set()
    for channel in DOCUMENT["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])
        assert channel["title"]
        assert channel["description"]
        for key, message in channel["messages"].items():
            assert message == {"$ref": f"#/components/messages/{key}"}
            used.add(key)
    assert used == set(MESSAGES)
    for name, operation in DOCUMENT["operations"].items():
        assert operation["action"] in ("send", "receive"), name
        channel = operation["channel"]["$ref"]
        assert [each["$ref"] for each in operation["messages"]] == [
            f"{channel}/messages/{key}" for key in resolved(channel)["messages"]
        ]
        assert ("bindings" in operation) == (operation["action"] == "receive")
    for message in MESSAGES.values():
        assert {"name", "title", "summary", "contentType", "payload"} <= set(message)
        assert set(message) <= {"name", "title", "summary", "contentType", "payload", "headers"}


def test_topics_and_groups_have_the_names_that_are_used() -> None:
    """The document and the code agree on topics, groups and content types."""
    assert asyncapi.DEFAULT_PREFIX == DEFAULT_PREFIX
    addresses = {
        name: channel["address"].format(prefix=ADDRESS.prefix, epoch=1)
        for name, channel in DOCUMENT["channels"].items()
    }
    assert addresses == {
        "intake": ADDRESS.intake,
        "log": ADDRESS.log_topic(1),
        "deadLetters": ADDRESS.dead_letters,
    }
    group = DOCUMENT["operations"]["takeEventsIn"]["bindings"]["kafka"]["groupId"]["pattern"]
    assert re.fullmatch(group, ADDRESS.intake_group)
    assert asyncapi.STRUCTURED == cloudevents.STRUCTURED
    assert asyncapi.BATCH == cloudevents.BATCH
    assert asyncapi.JSON == cloudevents.JSON
    assert openapi.MAX_BATCH_ITEMS == cloudevents.MAX_BATCH_ITEMS


@pytest.mark.parametrize("name", names())
def test_every_type_in_both_modes(name: str) -> None:
    """A good event of each type fits its message as structured JSON, and as a record in binary mode."""
    event = json.loads((HERE / "golden" / f"{name}.json").read_text())
    structured, binary = MESSAGES[name], MESSAGES[f"{name}.binary"]
    assert structured["contentType"] == cloudevents.STRUCTURED
    check(structured["payload"], event)
    check(structured["headers"], {"content-type": cloudevents.STRUCTURED})
    headers, value = cloudevents.record_of(json.dumps(event).encode())
    assert {header for header, _ in headers} >= {f"ce_{attribute}" for attribute in ATTRIBUTES}
    check(binary["headers"], {header: text.decode() for header, text in headers})
    assert value is not None
    check(binary["payload"], json.loads(value))
    check(MESSAGES["batch"]["payload"], [event])
    with pytest.raises(jsonschema.ValidationError):
        check(binary["payload"], {**event["data"], "unheard_of": 1})
    with pytest.raises(jsonschema.ValidationError):
        check(binary["headers"], {"ce_type": PREFIX + name})


def test_the_block_is_as_it_is_written() -> None:
    """Magic, formats and header are those of `streams.log.block`."""
    schema = DOCUMENT["components"]["schemas"]["Block"]
    plain = write_block([PREFIX + names()[0]], [(1_700_000_000_000_000_000, 1)], [b"{}"])
    letters = write_dead_letters(1, [DeadLetter("too_deep", "", None, None, b"")], compressed=False)
    assert [plain[3], letters[3]] == schema["x-loopline-formats"]
    assert plain[:3] == b"LLB"
    length = int.from_bytes(plain[4:8], "big")
    check(schema["x-loopline-header"], json.loads(plain[8 : 8 + length]))
    properties = DOCUMENT["components"]["schemas"]["BlockHeader"]["properties"]
    assert tuple(properties) == Header.__struct_fields__
    assert read_block(plain)[1] == b"[{}]"


@pytest.mark.parametrize("origin", [None, (ADDRESS.intake, 3, 17)])
def test_the_headers_of_dead_letters_are_those_that_are_written(origin: tuple[str, int, int] | None) -> None:
    """Each header that is written is described, and each that is always there is required."""
    schema = DOCUMENT["components"]["schemas"]["DeadLetterHeaders"]
    for code in COLLECTOR_CODES:
        letter = DeadLetter(code, "why", "e-1" if origin else None, "/shop" if origin else None, b"x", origin)
        headers = {
            name: text.decode() for name, text in dead_letter_record(5, letter, ADDRESS.prefix).headers
        }
        check(schema, headers)
        assert set(headers) == set(schema["properties"] if origin else schema["required"])


def test_the_wheel_has_the_file() -> None:
    """It lies beside the JSON Schemas that it refers to."""
    assert (Path(asyncapi.__file__).parents[1] / asyncapi.FILE).is_file()
