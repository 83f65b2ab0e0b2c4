"""What the client puts on the wire: one Struct for the data of each event type, and the CloudEvents envelope.

A field that is None was left out and is not written; a field without a default is written even when it is
null (the output of a prediction that a person answers first). Limits and words are judged in
:mod:`loopline.admission`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from loopline.errors import InvalidEvent
from loopline.values import SURROGATE, TOO_DEEP, Unfit, as_json, path_of_surrogate

MAX_EVENT_BYTES = 64 * 1024


class Data(Struct, omit_defaults=True, kw_only=True, gc=False):
    """What every type may say: the environment; only ``prod`` counts and trains unless asked."""

    env: str | None = None


class Prediction(Data, kw_only=True, gc=False):
    """``prediction.made``."""

    prediction_id: str
    model: str
    model_version: str
    output: Any
    confidence: float | None = None
    alternatives: Sequence[Mapping[str, Any]] | None = None
    ranked: Sequence[str] | None = None
    input: Any = None
    input_uri: str | None = None
    input_ref: str | None = None
    features: Mapping[str, Any] | None = None
    segment: str | None = None
    person: str | None = None
    subject: str | None = None
    join_key: str | None = None
    action: str | None = None
    asked: bool | None = None
    ask_probability: float | None = None
    audit: bool | None = None
    audit_probability: float | None = None
    config_version: int | str | None = None


class Shown(Data, kw_only=True, gc=False):
    """``prediction.shown``."""

    prediction_id: str
    shown: Any


class Targeted(Data, kw_only=True, gc=False):
    """What is said about a prediction, named by its id or by its model and the product's join key."""

    prediction_id: str | None = None
    model: str | None = None
    join_key: str | None = None
    person: str | None = None
    prompt_id: str | None = None


class Prompt(Targeted, kw_only=True, gc=False):
    """``prompt.shown`` and ``prompt.dismissed``."""

    kind: str | None = None


class Action(Targeted, kw_only=True, gc=False):
    """``feedback.action``."""

    value: str | None = None
    duration_ms: float | None = None
    amount: float | None = None
    part: str | None = None


class Thumb(Targeted, kw_only=True, gc=False):
    """``feedback.thumb``."""

    value: str | None = None
    score: float | None = None


class Reason(Targeted, kw_only=True, gc=False):
    """``feedback.reason``."""

    reason: str | None = None
    explains: str | None = None


class Comment(Targeted, kw_only=True, gc=False):
    """``feedback.comment``."""

    text: str | None = None
    subject: str | None = None
    explains: str | None = None


class Correction(Targeted, kw_only=True, gc=False):
    """``feedback.correction``."""

    label: Any | UnsetType = UNSET
    gold: bool | None = None
    explains: str | None = None


class Confirmation(Targeted, kw_only=True, gc=False):
    """``feedback.confirmation``."""

    value: str | None = None


class Outcome(Data, kw_only=True, gc=False):
    """``feedback.outcome``."""

    subject: str
    outcome: str
    model: str | None = None
    value: float | None = None
    person: str | None = None
    prompt_id: str | None = None


class Retraction(Targeted, kw_only=True, gc=False):
    """``feedback.retraction``."""

    explains: str | None = None
    subject: str | None = None


class Declared(Data, kw_only=True, gc=False):
    """``model.declared``."""

    model: str
    model_version: str
    output_shape: Mapping[str, Any]
    description: str | None = None
    later_versions: bool | None = None


class Deployed(Data, kw_only=True, gc=False):
    """``model.deployed``."""

    model: str
    model_version: str
    datasets: Sequence[str] | None = None


class RolledBack(Data, kw_only=True, gc=False):
    """``model.rolled_back``."""

    model: str
    model_version: str
    why: str | None = None


class Evaluated(Data, kw_only=True, gc=False):
    """``evaluation.recorded``."""

    model: str
    model_version: str
    metrics: Sequence[Mapping[str, Any]]
    dataset: str | None = None
    split: str | None = None


class Envelope(Struct, gc=False):
    """The CloudEvents attributes, in the order they are written."""

    specversion: str
    id: str
    source: str
    type: str
    time: str | datetime
    data: Data


_encode = msgspec.json.Encoder().encode
_PLAIN = frozenset({str, bool, type(None), UnsetType})


def encode(envelope: Envelope) -> bytes:
    """The event as JSON, of which ``envelope`` then holds the plain values.

    Raises :class:`InvalidEvent`, with the path, for what JSON cannot carry or no server takes.
    """
    if type(envelope.id) is not str or type(envelope.time) is not str:
        envelope.id = _plain("id", envelope.id)
        envelope.time = _plain("time", envelope.time)
    data = envelope.data
    values = msgspec.structs.astuple(data)
    if not _PLAIN.issuperset(map(type, values)):
        for name, value in zip(data.__struct_fields__, values, strict=True):
            if type(value) not in _PLAIN:
                setattr(data, name, _plain(name, value))
    try:
        body: bytes = _encode(envelope)
    except UnicodeEncodeError:
        fields = {"id": envelope.id, "time": envelope.time, **msgspec.structs.asdict(envelope.data)}
        raise InvalidEvent(SURROGATE, path_of_surrogate(fields, "$")) from None
    except RecursionError:
        raise InvalidEvent(TOO_DEEP, code="too_deep") from None
    except ValueError as error:
        # Integers of thousands of digits.
        raise InvalidEvent(f"it cannot be written as JSON: {type(error).__name__}") from None
    if len(body) > MAX_EVENT_BYTES:
        raise InvalidEvent(f"{len(body)} bytes; an event may have {MAX_EVENT_BYTES}", code="too_large")
    return body


def _plain(name: str, value: object) -> Any:
    try:
        return as_json(value)
    except Unfit as unfit:
        raise InvalidEvent(unfit.what, unfit.path(f"$.{name}")) from None
    except RecursionError:
        raise InvalidEvent(TOO_DEEP, f"$.{name}", "too_deep") from None
    except Exception as error:
        # A list that another thread changes, a class that will not be asked what it is.
        raise InvalidEvent(f"it cannot be read: {type(error).__name__}", f"$.{name}") from None


def as_given(envelope: Envelope) -> dict[str, Any]:
    """An event that could not be written, with the values that the product gave."""
    given = msgspec.structs.asdict(envelope)
    fields = msgspec.structs.asdict(envelope.data).items()
    return {
        **given,
        "data": {name: value for name, value in fields if value is not None and value is not UNSET},
    }


def id_text(value: object) -> str:
    """An id that the product gave, as the text that is sent; for what is no text the empty one.

    That is refused wherever it is named, so that nothing hangs on another id than the product gave.
    """
    if type(value) is str:
        return value
    try:
        text = as_json(value)
    except Exception:
        # Whatever it is, the call that was given it has said so.
        return ""
    return text if isinstance(text, str) else ""


def now() -> str:
    """The clock, as RFC 3339 in UTC with microseconds."""
    return f"{datetime.now(UTC).isoformat(timespec='microseconds')[:-6]}Z"
