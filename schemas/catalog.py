"""The catalogue of event types: their names, versions, decoders and upcasters.

A CloudEvents `type` is `loopline.` + name + `.v` + version; which ones there are is said in `schemas.kinds`.
The catalogue decodes items on their way in (`admission`: strict, the time as a datetime that must have an
offset) and blocks on their way out (`read`: the time as the text that was sent, for its nanoseconds). Old
versions are lifted to the current one by upcasters, functions from dict to dict; nothing behind the catalogue
sees an old one.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from functools import reduce
from operator import or_
from types import GenericAlias, UnionType
from typing import Annotated, Any, ClassVar, Literal, cast, get_args, get_origin, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType
from msgspec.json import Decoder

from schemas.events import Data
from schemas.fields import DeadLetterName, Id
from schemas.kind_checks import check
from schemas.kinds import KINDS, PREFIX, Kind, UnreadableTypes
from schemas.logged_data import LoggedData

REPLAY_ATTRIBUTE = "looplinereplay"

FIRST_YEAR = 1700
"""Events are from this year on: instants are nanoseconds in 64 bits, which reach back to 1677."""

# Other attributes that CloudEvents SDKs often write. On the way in they are known, so that an event that
# has one needs no second look; none of them is read.
_OFTEN_SENT = ("datacontenttype", "dataschema", "subject", "traceparent", "tracestate")

Upcaster = Callable[[dict[str, Any]], dict[str, Any]]


class Envelope(Struct, kw_only=True, gc=False):
    """The CloudEvents envelope. `kind` is the type's name without prefix and version."""

    specversion: Literal["1.0"]
    id: Id
    source: Id
    kind: ClassVar[str] = ""


class Event(Envelope, kw_only=True, gc=False):
    """An event on its way in: its data as `schemas.events` has it, `UNSET` where a field was left out."""

    time: datetime
    data: Data
    looplinereplay: str | UnsetType = UNSET


class LoggedEvent(Envelope, kw_only=True, gc=False):
    """An event as it is read from the log: its time as it was sent, None where a field was left out."""

    time: str
    data: LoggedData
    looplinereplay: str | UnsetType = UNSET


CURRENT: dict[str, type[Data]] = {kind.type.removeprefix(PREFIX): kind.data for kind in KINDS.values()}
"""The newest version of each type, by name and version."""


def envelope(
    name: str,
    data: type[Struct],
    time: Any,
    others: Collection[str] = (),
    mark: Any = DeadLetterName,
    base: type[Envelope] = Event,
) -> type[Envelope]:
    """The envelope of one event type.

    `time` is the type of its time, `mark` that of the replay attribute, `others` are further attributes, and
    `base` says whether it is on its way in or out.
    """
    fields: list[Any] = [("time", time), ("data", data), (REPLAY_ATTRIBUTE, mark | UnsetType, UNSET)]
    made = msgspec.defstruct(
        "".join(part.title() for part in name.replace(".", "_").split("_")),
        [*fields, *((other, Any, UNSET) for other in others)],
        bases=(base,),
        namespace={"kind": name.rpartition(".v")[0], "__doc__": data.__doc__},
        module=__name__,
        tag_field="type",
        tag=PREFIX + name,
        kw_only=True,
        gc=False,
    )
    return cast("type[Envelope]", made)


def _without_limits(data: type[Struct]) -> type[Struct]:
    """The same fields with their bare types, no lengths, patterns or ranges; what was left out is None.

    Every type has the fields of `_SHARED` as well, so that a reader need not ask which ones a type has.
    """
    hints = {name: _bare(hint) for name, hint in get_type_hints(data).items()}
    fields: list[Any] = [
        (field.name, hints[field.name]) if field.required else (field.name, hints[field.name] | None, None)
        for field in msgspec.structs.fields(data)
    ]
    fields += [(name, Any, None) for name in _SHARED if name not in hints]
    return msgspec.defstruct(
        data.__name__, fields, module=__name__, kw_only=True, omit_defaults=True, gc=False
    )


def _bare(hint: Any) -> Any:
    """A field's type without limits; an integer may be written as 5.0, and stays as it was sent."""
    if hint is int:
        return int | float
    if isinstance(hint, type) and issubclass(hint, Struct):
        inner = get_type_hints(hint)
        fields = [(f.name, _bare(inner[f.name]), f.default) for f in msgspec.structs.fields(hint)]
        return msgspec.defstruct(hint.__name__, fields, module=__name__, kw_only=True, gc=False)
    parts = [_bare(part) for part in get_args(hint)]
    if isinstance(hint, UnionType):
        return reduce(or_, parts)
    return get_origin(hint)[*parts] if parts else hint


_SHARED = tuple(get_type_hints(LoggedData))


class Catalog:
    """The known event types and how to read them.

    Args:
        kinds: the newest version of each type, a row for each kind by its name.
        upcasters: for each older version that may still arrive or lie in a log, by name and version,
            the function that turns its data into the next version's.

    Raises KindWithoutKey and KindWithoutRule for a row that does not fit its data.
    """

    def __init__(self, kinds: Mapping[str, Kind], upcasters: Mapping[str, Upcaster] | None = None) -> None:
        for kind in kinds.values():
            check(kind)
        self.current = {kind.type.removeprefix(PREFIX): kind.data for kind in kinds.values()}
        self.upcasters = dict(upcasters or {})
        self.types = frozenset(PREFIX + name for name in self.current)
        self.old_types = frozenset(PREFIX + name for name in self.upcasters)
        strict = self._union(self.current, Annotated[datetime, Meta(tz=True)], _OFTEN_SENT)
        # What is in the log was admitted: limits are not checked again, which halves the time of decoding.
        bare = {name: _without_limits(data) for name, data in self.current.items()}
        as_sent = self._union(bare, str, mark=str, base=LoggedEvent)
        self.admission: Decoder[list[Event]] = Decoder(GenericAlias(list, strict))
        self.admission_of_one: Decoder[Event] = Decoder(strict)
        self.reading: Decoder[list[LoggedEvent]] = Decoder(GenericAlias(list, as_sent))
        self._as_sent = as_sent

    @staticmethod
    def _union(
        types: Mapping[str, type[Struct]],
        time: Any,
        others: Collection[str] = (),
        mark: Any = DeadLetterName,
        base: type[Envelope] = Event,
    ) -> Any:
        return reduce(or_, (envelope(name, data, time, others, mark, base) for name, data in types.items()))

    def read(self, body: bytes, types: Collection[str]) -> list[LoggedEvent]:
        """The events of a block's JSON array, every one in its current version, times as sent.

        Raises UnreadableTypes when `types`, the block's own list, has one that is not known here.
        """
        if self.types.issuperset(types):
            return self.reading.decode(body)
        unknown = set(types) - self.types - self.old_types
        if unknown:
            raise UnreadableTypes(unknown)
        return [msgspec.convert(self.upcast(item), self._as_sent) for item in msgspec.json.decode(body)]

    def upcast(self, item: dict[str, Any]) -> dict[str, Any]:
        """An event as a dict, lifted version by version to the current one."""
        while item["type"] in self.old_types:
            name = item["type"].removeprefix(PREFIX)
            stem, _, version = name.rpartition(".v")
            item = {
                **item,
                "type": f"{PREFIX}{stem}.v{int(version) + 1}",
                "data": self.upcasters[name](item["data"]),
            }
        return item


CATALOG = Catalog(KINDS)
