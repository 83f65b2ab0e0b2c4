"""Every setting in one table: its name, default, environment variable, flag and meaning.

Command line, environment and the reference page are made from this table, so none of them can say
something else. Reading a setting is `value(name, given)`: what was given, else the environment, else the
default. Where a setting applies is left to whoever asks for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

SECONDS_PER_DAY = 86_400
MAX_PARTITIONS = 1024
LOG_LEVELS = ("debug", "info", "warning", "error")


class BadSetting(ValueError):
    """A setting that cannot be used as it was given."""


class Setting(NamedTuple):
    """One setting. `read` turns text into its value; `flag` is None where there is only the environment."""

    name: str
    default: Any
    env: str
    flag: str | None
    shown: str
    read: Callable[[str], Any]
    help: str


def _port(text: str) -> int:
    number = int(text)
    if not 0 <= number <= 65_535:
        raise ValueError("a port is 0 to 65535; 0 takes a free one")
    return number


def _partitions(text: str) -> int:
    number = int(text)
    if not 1 <= number <= MAX_PARTITIONS:
        raise ValueError(f"partitions are 1 to {MAX_PARTITIONS}")
    return number


def _days(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 3650:
        raise ValueError("days are 1 to 3650")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number <= SECONDS_PER_DAY:
        raise ValueError("seconds are 0 to 86400")
    return number


def _yes(text: str) -> bool:
    answer = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
    if text.lower() not in answer:
        raise ValueError("it is 1 or 0")
    return answer[text.lower()]


def _url(text: str) -> str:
    if not text.startswith(("http://", "https://")):
        raise ValueError("an address starts with http:// or https://")
    return text.rstrip("/")


def _level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"it is one of {', '.join(LOG_LEVELS)}")
    return text.lower()


SETTINGS = (
    Setting(
        "home",
        Path(".loopline"),
        "LOOPLINE_HOME",
        "--home",
        "DIR",
        Path,
        "Folder that holds the log, the views and the datasets.",
    ),
    Setting(
        "url",
        None,
        "LOOPLINE_URL",
        "--url",
        "URL",
        _url,
        "Server to speak to. Without it: the server that runs on the home, or none.",
    ),
    Setting("host", "127.0.0.1", "LOOPLINE_HOST", "--host", "HOST", str, "Address that a server listens on."),
    Setting(
        "port",
        8710,
        "LOOPLINE_PORT",
        "--port",
        "PORT",
        _port,
        "Port that a server listens on; 0 takes a free one.",
    ),
    Setting(
        "partitions",
        1,
        "LOOPLINE_PARTITIONS",
        "--partitions",
        "N",
        _partitions,
        "Partitions of the log. Fixed when the home is made.",
    ),
    Setting(
        "insecure",
        False,
        "LOOPLINE_INSECURE",
        "--insecure",
        "",
        _yes,
        "Allow a host that other machines can reach. There are no keys yet: anyone there may read and write.",
    ),
    Setting("json", False, "LOOPLINE_JSON", "--json", "", _yes, "Answer with one JSON document."),
    Setting(
        "log_level",
        "warning",
        "LOOPLINE_LOG_LEVEL",
        "--log-level",
        "LEVEL",
        _level,
        f"What a server logs on standard error: {', '.join(LOG_LEVELS)}.",
    ),
    Setting(
        "retry_for",
        10.0,
        "LOOPLINE_RETRY_FOR",
        "--retry-for",
        "SECONDS",
        _seconds,
        "How long to go on trying when the server cannot be reached or cannot write.",
    ),
    Setting(
        "outcome_window",
        30,
        "LOOPLINE_OUTCOME_WINDOW",
        None,
        "DAYS",
        _days,
        "Days after an exposure in which an outcome of the same subject is attributed to it.",
    ),
    Setting(
        "maturity",
        14,
        "LOOPLINE_MATURITY",
        None,
        "DAYS",
        _days,
        "Days after which the feedback of a day is taken as nearly complete. Later feedback still counts.",
    ),
    Setting(
        "stuck_after",
        15.0,
        "LOOPLINE_STUCK_AFTER",
        None,
        "SECONDS",
        _seconds,
        "How long the views may stand still behind the log before /readyz answers 503.",
    ),
)

BY_NAME = {setting.name: setting for setting in SETTINGS}


def value(name: str, given: str | None = None, environ: Mapping[str, str] | None = None) -> Any:
    """The value of a setting: as given (text from a flag), else from the environment, else its default.

    Raises BadSetting, which names the flag or variable and says what is allowed.
    """
    setting = BY_NAME[name]
    text, origin = given, setting.flag or setting.name
    if text is None:
        text, origin = (os.environ if environ is None else environ).get(setting.env), setting.env
    if text is None:
        return setting.default
    try:
        return setting.read(text)
    except ValueError as error:
        raise BadSetting(f"{origin}={text!r} cannot be used: {error}") from None
