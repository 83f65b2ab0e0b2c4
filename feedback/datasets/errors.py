"""Why a dataset is refused; each error says what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from schemas.errors import Malformed, Refused, Unavailable
from streams.deciders.port import DecisionRefused


class BadRequest(Malformed):
    """The request cannot be carried out as it stands: a malformed name, instant or position."""


class AsOfRefused(BadRequest):
    """A vector of positions that is not one of this log: too far, or without some of its partitions."""


class NotCaughtUp(Refused):
    """The views did not reach the log's end in time."""


class NothingToRelease(Refused):
    """No labelled prediction is left after the filters; `left_out` counts the others by reason."""

    def __init__(self, message: str, left_out: dict[str, int]) -> None:
        super().__init__(message)
        self.left_out = left_out


class GateFailed(Refused):
    """The release was kept aside at `place`, with its report; `failures` names what did not hold."""

    def __init__(self, name: str, place: str, failures: Sequence[dict[str, Any]]) -> None:
        allowable = [failure["check"] for failure in failures if failure.get("allow")]
        reasons = "; ".join(f"{failure['check']}: {failure['detail']}" for failure in failures)
        advice = "".join(f" If that is meant, release with --allow {check}." for check in allowable)
        super().__init__(
            f"{name} was not published: {reasons}. It is kept aside with the report in {place}.{advice}"
        )
        self.name = name
        self.place = place
        self.failures = list(failures)


class ReleaseMissing(Refused, LookupError):
    """There is no such release here; `available` lists those there are."""

    def __init__(self, name: str, available: Sequence[str]) -> None:
        there = ", ".join(available) or "none yet"
        super().__init__(f"there is no dataset {name}; releases: {there}")
        self.available = list(available)


class EventRefused(DecisionRefused):
    """The event of a release was refused, and is among the dead letters; sent again, it would be again."""


class NotAnnounced(Refused):
    """The release is published, but its event could not be put into the log yet; says what mends that."""

    def __init__(self, name: str, reason: object) -> None:
        mended = (
            f"`loopline dead-letters list --code {reason.code}` has it: once the reason is gone,"
            " `loopline dead-letters replay` puts it into the log"
            if isinstance(reason, DecisionRefused)
            else "a server that runs with these releases sends it by itself,"
            " the model's next release sends it, and so does `loopline dataset list` where the settings"
            " name this log and these releases"
        )
        why = str(reason).rstrip(".")
        super().__init__(f"{name} is published, but `dataset.released` could not be sent: {why}; {mended}.")
        self.name = name


class ShelfUnreachable(Unavailable, ConnectionError):
    """The store of the releases does not answer, or not to us; the message says what to look at."""


class ClaimTooOld(Refused):
    """It took so long that what was sent may have been cleaned up, as a dead release's leftovers."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} was not published: it took more than half a day. Release again.")


class PublishingUnsure(Refused):
    """The answer to the last write was lost: the release is there whole, or it is not there."""

    def __init__(self, name: str, reason: object) -> None:
        super().__init__(
            f"nobody can know yet whether {name} is published: {reason} `loopline dataset list` shows it,"
            " whole, if it is; if not, release again."
        )
        self.name = name
