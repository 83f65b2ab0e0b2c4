"""The constrained field types that every event is made of.

One name per kind of value, with its limits, so that a limit is written once. Fields that may hold
personal data carry the mark `x-loopline-personal` into the JSON Schema. What a field means is said
where it is used, in `schemas.events`.
"""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

PERSONAL = {"x-loopline-personal": True}

MAX_EVENT_BYTES = 64 * 1024
MAX_INPUT_BYTES = 32 * 1024
MAX_DEPTH = 32

DEAD_LETTER_NAME = r"(dead|0|[1-9][0-9]{0,8}):(0|[1-9][0-9]{0,17}):(0|[1-9][0-9]{0,8})"
"""The form of a dead letter's name: its partition, offset and index."""

Id = Annotated[str, Meta(min_length=1, max_length=256)]
PersonalId = Annotated[str, Meta(min_length=1, max_length=256, extra_json_schema=PERSONAL)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")]
Word = Annotated[str, Meta(pattern=r"^[a-z0-9_]{1,64}\Z")]
Segment = Annotated[str, Meta(max_length=128)]
Environment = Annotated[str, Meta(min_length=1, max_length=128)]
Sentence = Annotated[str, Meta(max_length=4096)]
DeadLetterName = Annotated[str, Meta(pattern=rf"^{DEAD_LETTER_NAME}\Z")]
Uri = Annotated[str, Meta(min_length=1, max_length=2048)]
Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
ReleaseName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")]
DatasetVersion = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}@[1-9][0-9]{0,8}\Z")]
Probability = Annotated[float, Meta(ge=0, le=1)]
Duration = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Version = Annotated[int, Meta(ge=1, le=10**9 - 1)]

ACTIONS = ("clicked", "copied", "sent", "edited", "accepted", "next_step", "dismissed", "retried")
REASONS = ("incorrect", "offensive", "irrelevant", "not_useful", "other")
OUTCOMES = ("churned", "renewed", "reopened", "resolved")
"""The words that are listed for actions, reasons and outcomes; a product may have others of its own."""

Scalar = str | int | float | bool | None
Text = Annotated[str, Meta(min_length=1, max_length=32768, extra_json_schema=PERSONAL)]

# Any JSON value but null. The personal mark sits on the field, for msgspec takes none on a union.
Json = str | int | float | bool | list[Any] | dict[str, Any]
PersonalJson = Annotated[Json, Meta(extra_json_schema=PERSONAL)]
PersonalAny = Annotated[Any, Meta(extra_json_schema=PERSONAL)]
