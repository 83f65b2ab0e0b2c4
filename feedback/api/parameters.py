"""Query parameters: read strictly, so that a misspelt one is refused and not ignored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

from starlette.requests import Request

from feedback.api.errors import InvalidRequest
from streams.log.port import DEAD, LogIdentity, MalformedPosition, parse_positions
from streams.queries.pages import MalformedToken, Page, parse_token

PAGING = ("limit", "next")
DEFAULT_LIMIT, MOST_ITEMS = 100, 1000
PRODUCTION = "prod"


class Parameters:
    """The query parameters of a request, of which only `known` ones may be there, each once."""

    def __init__(self, request: Request, known: Sequence[str]) -> None:
        self._values: dict[str, str] = {}
        for name, value in request.query_params.multi_items():
            if name not in known and name != "after":
                raise InvalidRequest(f"there is no parameter {name[:100]!r} here; {_offer(known)}")
            if name in self._values:
                raise InvalidRequest(f"`{name}` is there twice")
            self._values[name] = value

    def text(self, name: str) -> str | None:
        """A text, or None."""
        return self._values.get(name)

    def required(self, name: str) -> str:
        """A text that must be there and not be empty."""
        value = self._values.get(name)
        if not value:
            raise InvalidRequest(f"`{name}` is required")
        return value

    def environment(self) -> str:
        """The environment: only production counts unless asked."""
        return self._values.get("env", PRODUCTION)

    def flag(self, name: str) -> bool:
        """1 or 0, true or false; false when left out."""
        value = self._values.get(name, "0").lower()
        if value not in ("0", "1", "true", "false"):
            raise InvalidRequest(f"`{name}` is 1 or 0")
        return value in ("1", "true")

    def day(self, name: str) -> str | None:
        """A UTC day as YYYY-MM-DD, or None."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            # Days before the year 1000 are a slip of the pen.
            if date.fromisoformat(value).isoformat() != value or value < "1000":
                raise ValueError
        except ValueError:
            raise InvalidRequest(f"`{name}` is a UTC day, as in 2026-11-20") from None
        return value

    def word(self, name: str, known: Sequence[str]) -> str | None:
        """One of the known words, or None."""
        value = self._values.get(name)
        if value is not None and value not in known:
            raise InvalidRequest(f"`{name}` is one of {', '.join(known)}")
        return value

    def fields(self, name: str, known: Sequence[str]) -> list[str]:
        """A comma-separated list of known field names, each at most once; an empty one is none."""
        fields = self._values.get(name, "").split(",")
        for field in fields:
            if field and field not in known:
                raise InvalidRequest(f"`{name}` takes {', '.join(known)}, and not {field[:100]!r}")
        if len(set(fields)) != len(fields):
            raise InvalidRequest(f"`{name}` names a field twice, or has two empty ones")
        return [field for field in fields if field]

    def page(self, shape: Any, *, default: int = DEFAULT_LIMIT) -> Page:
        """`limit` and `next`, empty for the first page; `shape` is the type of the key in a token."""
        text = self._values.get("limit", str(default))
        if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= MOST_ITEMS):
            raise InvalidRequest(f"`limit` is 1 to {MOST_ITEMS}")
        following = self._values.get("next")
        try:
            return Page(int(text), parse_token(following, shape) if following else None)
        except MalformedToken as error:
            raise InvalidRequest(str(error)) from None


def after(request: Request, log: LogIdentity, *, grows: bool = False) -> dict[int, int]:
    """The positions that a read waits for; empty when it waits for none.

    `grows`: the log may go on to another epoch, in which other servers may be already.
    """
    texts = request.query_params.getlist("after")
    if not texts:
        return {}
    if len(texts) > 1:
        raise InvalidRequest("`after` is there twice")
    try:
        positions = parse_positions(texts[0])
    except MalformedPosition as error:
        raise InvalidRequest(f"`after` is no position: {error}") from None
    partitions = log.first + log.partitions
    for partition in positions:
        if partition != DEAD and partition >= partitions and not grows:
            raise InvalidRequest(f"`after` names partition {partition} and this log has {partitions}")
    return positions


def _offer(known: Sequence[str]) -> str:
    return f"there are {', '.join((*known, 'after'))}"
