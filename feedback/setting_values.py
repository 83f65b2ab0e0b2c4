"""What a setting is, and the texts that people write as settings, read as values.

Each reader raises ValueError, which says what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

SECONDS_PER_DAY = 86_400
MAX_PARTITIONS = 1024
MAX_REPLICATION = 7
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("console", "json")
_LAST_PORT = 65_535

_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
# Stricter than the client library, which takes what stands before a stray @ or / for the host and shows it.
_HOST = r"(?:\[[^\s@/?\[\]]+\]|[^\s@/?:,\[\]]*)(?::\d*)?"
_STORE = re.compile(rf"postgres(?:ql)?://(?:[^\s@/?]*@)?({_HOST}(?:,{_HOST})*)(?:/[^\s@/?]*)?(?:\?[^\s@]*)?")
_STORE_PORT = re.compile(r":(\d+)(?=,|$)")


class Setting(NamedTuple):
    """One setting. `read` turns text into its value; `flag` is None where there is none.

    `shared`: every command accepts the flag, else only those that declare it. `secret`: it may hold a
    password, so a variable `<env>_FILE` may name a file that holds it.
    `inherited`: what a flag says is known to the processes too that this one starts.
    """

    name: str
    default: Any
    env: str
    flag: str | None
    shown: str
    read: Callable[[str], Any]
    help: str
    shared: bool = True
    secret: bool = False
    inherited: bool = False


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise ValueError("it is a whole number") from None


def port(text: str) -> int:
    """A port."""
    number = whole(text)
    if not 0 <= number <= _LAST_PORT:
        raise ValueError("a port is 0 to 65535; 0 takes a free one")
    return number


def partitions(text: str) -> int:
    """A number of partitions."""
    number = whole(text)
    if not 1 <= number <= MAX_PARTITIONS:
        raise ValueError(f"partitions are 1 to {MAX_PARTITIONS}")
    return number


def days(text: str) -> int:
    """A number of days."""
    number = whole(text)
    if not 1 <= number <= 3650:
        raise ValueError("days are 1 to 3650")
    return number


def seconds(text: str) -> float:
    """A number of seconds."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError("it is a number of seconds") from None
    if not 0 <= number <= SECONDS_PER_DAY:
        raise ValueError("seconds are 0 to 86400")
    return number


def yes(text: str) -> bool:
    """1 or 0, or their likes."""
    answer = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
    if text.lower() not in answer:
        raise ValueError("it is 1 or 0")
    return answer[text.lower()]


def url(text: str) -> str:
    """An address of a server."""
    from loopline.delivery.address import parse_url
    from loopline.errors import InvalidSetting

    try:
        parse_url(text)
    except InvalidSetting as error:
        # Whoever names the flag or the file says that it cannot be used.
        raise ValueError(str(error).rpartition(" cannot be used: ")[2]) from None
    return text.rstrip("/")


def headers(text: str) -> dict[str, str]:
    """Headers of a request, one a line."""
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    if not all(separator for _, separator, _ in lines):
        raise ValueError("it is one `NAME: VALUE` a line")
    from loopline.delivery.address import Address
    from loopline.delivery.transport import check_headers

    written = {name.strip(): said.strip() for name, _, said in lines}
    return check_headers(written, Address(False, "localhost", 80))


def bundle(text: str) -> str:
    """A file or a folder with certificates."""
    if not Path(text).exists():
        raise ValueError("there is no such file or folder")
    return text


def existing_file(text: str) -> str:
    """A file that is there."""
    if not Path(text).is_file():
        raise ValueError("there is no such file")
    return str(Path(text).absolute())


def secret(text: str) -> str:
    """Something that is not shown."""
    if not text:
        raise ValueError("it is empty")
    return text


def name(text: str) -> str:
    """A name, of whatever letters."""
    if not text.strip() or not text.isprintable():
        raise ValueError("it is a name on one line")
    return text


def replication(text: str) -> int:
    """A number of copies."""
    number = whole(text)
    if not 1 <= number <= MAX_REPLICATION:
        raise ValueError(f"replication is 1 to {MAX_REPLICATION}")
    return number


def log_url(text: str) -> str:
    """A log's address."""
    from streams.kafka.address import Address

    Address.parse(text)
    return text


def store_url(text: str) -> str:
    """A store's address."""
    if not text.startswith(("postgresql://", "postgres://")):
        raise ValueError("a store's address is postgresql://USER@HOST:PORT/DATABASE")
    # The client library would show the password in its complaint.
    if _BAD_PERCENT.search(text):
        raise ValueError("a percent sign in it is written %25, and every other special character likewise")
    found = _STORE.fullmatch(text)
    if found is None or any(not 1 <= int(port) <= _LAST_PORT for port in _STORE_PORT.findall(found[1])):
        raise ValueError(
            "it looks like postgresql://USER:...@HOST:5432/DATABASE, and characters like @ : / ? and spaces"
            " in a password are written as %40 %3A %2F %3F %20"
        )
    return text


def datasets(text: str) -> str:
    """Where releases lie."""
    from feedback.datasets.errors import BadRequest
    from feedback.datasets.shelf.address import shelf_of

    try:
        shelf_of(text)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    return text


def hosts(text: str) -> Any:
    """Names of hosts, separated by commas."""
    from feedback.server.hosts import allowed_hosts

    return allowed_hosts(text)


def connections(text: str) -> int:
    """A number of connections."""
    number = whole(text)
    if not 1 <= number <= 1_000_000:
        raise ValueError("connections are 1 to 1000000")
    return number


def log_format(text: str) -> str:
    """A form of log lines."""
    if text.lower() not in LOG_FORMATS:
        raise ValueError(f"it is one of {', '.join(LOG_FORMATS)}")
    return text.lower()


def level(text: str) -> str:
    """A level of log lines."""
    if text.lower() not in LOG_LEVELS:
        raise ValueError(f"it is one of {', '.join(LOG_LEVELS)}")
    return text.lower()
