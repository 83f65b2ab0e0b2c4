"""The settings a client is made with, looked at once: what can never work is told where it hurts nobody."""

from __future__ import annotations

import math
import os

from loopline.backoff import Pauses
from loopline.errors import InvalidSetting

# Limits of the contract, in characters.
_LONGEST = {"source": 256, "env": 128}

SPOOL_SYNCS = ("soon", "call")


def check_text(name: str, value: object) -> None:
    """``source`` or ``env``: text that the server takes."""
    if not isinstance(value, str):
        raise InvalidSetting(f"{name} must be text, not {_kind(value)}")
    if not 1 <= len(value) <= _LONGEST[name]:
        raise InvalidSetting(f"{name} must have 1 to {_LONGEST[name]} characters, not {len(value)}")
    if "\0" in value or any(0xD800 <= ord(character) < 0xE000 for character in value):
        raise InvalidSetting(f"{name} must be text without U+0000 and lone surrogates")


def check_size(name: str, value: object, least: int) -> None:
    """A number of events or bytes."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise InvalidSetting(f"{name} must be a whole number, at least {least}, not {value!r}")


def check_seconds(name: str, value: object, *, above: bool = False) -> None:
    """A length of time: 0 or more, or ``above`` 0."""
    fits = (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    )
    if not fits or (above and value == 0):
        raise InvalidSetting(
            f"{name} must be {'more than 0' if above else '0 or more'} seconds, not {value!r}"
        )


def check_spool(folder: object, sync: object) -> None:
    """The spool's folder, and when the disk is asked to keep what is written there."""
    if sync not in SPOOL_SYNCS:
        raise InvalidSetting(f"spool_sync must be 'soon' or 'call', not {sync!r}")
    if folder is None:
        return
    if not isinstance(folder, str | os.PathLike) or not os.fspath(folder):
        raise InvalidSetting(f"spool must be the path of a folder, not {folder!r}")
    if "\0" in str(folder):
        raise InvalidSetting("spool must be the path of a folder, and this one holds U+0000")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InvalidSetting(f"spool {os.fspath(folder)!r} must be a folder, and something else is there")


def check_callback(on_refused: object) -> None:
    """What is called for a refused event."""
    if on_refused is not None and not callable(on_refused):
        raise InvalidSetting(f"on_refused must be callable, not {_kind(on_refused)}")


def check_pauses(pauses: object) -> None:
    """What the client waits of its own accord: each of the pauses, in seconds."""
    if not isinstance(pauses, Pauses):
        raise InvalidSetting(f"pauses must be Pauses of loopline.backoff, not {_kind(pauses)}")
    for name, value in pauses._asdict().items():
        check_seconds(f"{name} of pauses", value)


def _kind(value: object) -> str:
    return "None" if value is None else f"a {type(value).__name__}"
