"""Pages of lists that can grow: an opaque token that says where the next page begins.

A token is the key of the last row shown. It says nothing about the query, so a page can be asked for
again after rows came in between; nothing is shown twice and nothing is skipped.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Annotated, Any, NamedTuple

import msgspec

from schemas.errors import Malformed

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An integer of a token: what a store can compare."""


class MalformedToken(Malformed):
    """A text that no page gave as its `next`."""


class Page(NamedTuple):
    """Which part of a list is asked for: at most `limit` items behind the key `after`."""

    limit: int = 100
    after: tuple[Any, ...] | None = None


def token(key: Sequence[Any]) -> str:
    """The token that continues behind this key."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(list(key))).rstrip(b"=").decode()


def parse_token(text: str, shape: Any) -> tuple[Any, ...]:
    """The key that a token was made of; `shape` is its tuple type. Raises MalformedToken."""
    try:
        packed = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        key: tuple[Any, ...] = msgspec.msgpack.decode(packed, type=shape)
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise MalformedToken("`next` is not a token that a page gave") from None
    return key


def listing(items: list[Any], following: Sequence[Any] | None) -> dict[str, Any]:
    """A page as it is answered: its items, and the token of the next page if there is one."""
    return {"items": items, "next": None if following is None else token(following)}
