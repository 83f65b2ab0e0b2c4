"""Every error this library raises, as one tree under :class:`LooplineError`.

A client raises these only where it was asked to (``strict=True``, or a question such as ``override``);
:mod:`loopline.datasets` and :mod:`loopline.rfc8785` always do, since their caller waits for the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LooplineError(Exception):
    """The root of the tree: catch this to catch everything."""


class InvalidSetting(LooplineError, ValueError):
    """A client was made with settings that cannot work, such as a URL without a host."""


class InvalidEvent(LooplineError, ValueError):
    """An event holds a value that is not JSON, or lacks or breaks what its type requires.

    ``path`` is where, as ``$.output.score``; ``problem`` is the RFC 9457 object that the server would answer.
    Neither they nor the message hold a value. Raised by strict clients; others log it and count it.
    """

    def __init__(self, what: str, path: str = "$", code: str = "invalid_value") -> None:
        super().__init__(f"{path}: {what}")
        self.path = path
        self.code = code

    @property
    def problem(self) -> dict[str, Any]:
        """What ``on_refused`` is given, in the server's form."""
        from loopline.rules import TITLES

        urn, title = f"urn:loopline:problem:{self.code}", TITLES[self.code]
        return {"type": urn, "title": title, "detail": str(self), "code": self.code}


class QueueFull(LooplineError):
    """The queue in memory has no room for one more event (strict clients only)."""


class Closed(LooplineError):
    """The client was closed before this call (strict clients only)."""


class SpoolUnavailable(LooplineError, OSError):
    """The spool cannot be used now (strict clients only; others go on without it and log why).

    Raised when a client is made, and by a call with ``spool_sync="call"`` whose event the disk has not got:
    that event is kept and will be sent, so do not give it again.
    """


class SpoolRefused(SpoolUnavailable, InvalidSetting):
    """The spool folder can never be used: it is no folder, or others own it or may write there."""


class Unreachable(LooplineError):
    """The server did not answer in time, or what answered was not a Loopline server."""


class NotLoopline(Unreachable):
    """What answered at this address is no Loopline server."""

    def __init__(self, url: str, what: str) -> None:
        super().__init__(
            f"{url} {what}, and not as a Loopline server does: is the address right,"
            " or is a proxy or a login page in between?"
        )


class RequestRefused(LooplineError):
    """The server answered, and said no. ``Refused``, its first name, stays good for it.

    ``status`` is the HTTP status, ``problem`` the RFC 9457 object of the answer.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        super().__init__(f"the server answered {status}: {problem.get('detail') or problem.get('title')}")
        self.status = status
        self.problem = dict(problem)


Refused = RequestRefused


class NotCanonical(LooplineError, ValueError):
    """A value has no JSON form, and so no reference: NaN, bytes, a lone surrogate, an object of another kind.

    ``path`` is where it lies, as ``$.scores[3]``. The message says what kind of value it is, never the value.
    """

    def __init__(self, what: str, path: str = "$") -> None:
        super().__init__(f"{path}: {what}")
        self.path = path


class DatasetError(LooplineError):
    """The root of what :func:`loopline.datasets.load` raises."""


class ReleaseNotFound(DatasetError, LookupError):
    """There is no such release; ``available`` lists those there are, as ``model@version``.

    ``cut`` is what ``loopline dataset release`` would need to be given to cut one.
    """

    def __init__(self, wanted: str, places: list[str], available: list[str], cut: str | None = None) -> None:
        there = ", ".join(available) if available else "none"
        super().__init__(
            f"no dataset {wanted} in {' or '.join(places)}; releases there: {there}. "
            f"Cut one with `loopline dataset release {cut or wanted.partition('@')[0]}`, "
            "or say where to look with home= or url="
        )
        self.wanted = wanted
        self.places = places
        self.available = available


class ReleaseDamaged(DatasetError):
    """A release's files are not what its manifest says. Fetch them again or restore them from a backup."""


class DependencyMissing(DatasetError, ImportError):
    """A library that only datasets need is not installed."""
