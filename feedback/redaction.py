"""No secret in a message, whatever a library says: what logs, errors and answers about failures go through.

Two ways, one behind the other. Secrets that this process knows (what a setting said, what the environment
holds under a name that says so) are hidden wherever they stand, in whatever spelling an address gives them.
Whatever has the form of a secret is hidden too: credentials in an address, `password=...` and its kin, in the
spellings of connection strings, of Python and of JSON, and what stands in an `Authorization` header.

What people said (events, labels, texts) is no message of ours and is shown as it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

HIDDEN = "***"
# Shorter ones would hide pieces of ordinary words.
_SHORTEST = 4

_SECRET_WORDS = (
    r"pass(?:word|wd|phrase)?|pwd|secret|token|credentials?|signature|authorization"
    r"|(?:access|secret|api|private|account)[_-]?key(?:[_-]?id)?"
)
_NAME = re.compile(
    r"(?i)(?:^|_)(?:PG)?(?:PASSWORD|PASSWD|PASSPHRASE|PASS|SECRET|TOKEN|CREDENTIALS?"
    r"|(?:SECRET|ACCESS|API|PRIVATE|ACCOUNT)_KEY)(?:_ID)?(?:_|$)"
)
_URL_NAME = re.compile(r"(?i)(?:_|^)(?:URL|URI|DSN|PROXY|STORE|DATASETS|LOG)$")

MOST_SHOWN = 8 * 1024
"""Of a longer message so many characters are shown: its beginning, and the lines at its end."""
_CUT = " ... "

# All of these take time linear in the text: none begins to look again where another try of it has looked.
# A password may have @ / : % in it that nobody escaped, so it ends at the last @ before a space; in addresses
# of PostgreSQL, before a quote or the end of the line.
_RUN, _USER = re.compile(r"[^\s'\"]++"), re.compile(r"://[^:@/\s'\"]*+:")
_LINE = re.compile(r"[^'\"\n]++")
_POSTGRES_USER = re.compile(r"postgres(?:ql)?://[^:@/\s'\"]*+:(?!\d++[/?,\s])")
_POSTGRES, _ANY_ADDRESS = re.compile(r"postgres(?:ql)?://"), re.compile("://")
_ALONE = re.compile(r"(https?://)[^\s/@'\"]++(@)")
_PAIR = re.compile(
    rf"""(?isx)
    (?P<key> (?<![a-z0-9]) (?:{_SECRET_WORDS}) (?:[_-](?:file))? ["']? )
    (?P<sep> \s*+ = \s*+ | (?<=["']) \s*+ : \s*+ )
    (?P<value> '(?:[^'\\]|\\.)*+ (?:'|\\?\Z) | "(?:[^"\\]|\\.)*+ (?:"|\\?\Z) | [^\s&,;)}}\]'"]++ )
    """
)
_HEADER = re.compile(
    r"(?i)\b((?:proxy-)?authorization['\"]?\s*+[:=]\s*+['\"]?)((?:basic|bearer|digest|aws4[^\s'\"]*+)\s++)?[^\s'\"]++"
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s++[a-z0-9._~+/=-]{8,}")

_known: set[str] = set()


def remember(text: str) -> None:
    """Hide from now on what is secret in an address that a setting holds, wherever it turns up."""
    _known.update(_of_address(text))


def remember_whole(text: str) -> None:
    """Hide a text from now on, whatever is in it."""
    _known.update(_spellings(text))


def redacted(text: str) -> str:
    """A message with the secrets in it hidden."""
    for secret in _secrets(os.environ):
        if secret in text:
            text = text.replace(secret, HIDDEN)
    text = _cut(text)
    if "://" in text:
        text = _RUN.sub(lambda found: _without_password(found[0], _USER), text)
        text = _LINE.sub(lambda found: _without_password(found[0], _POSTGRES_USER), text)
        text = _ALONE.sub(_without_user, text)
    text = _HEADER.sub(lambda found: f"{found[1]}{found[2] or ''}{HIDDEN}", text)
    text = _BEARER.sub(lambda found: f"{found[1]} {HIDDEN}", text)
    return _PAIR.sub(_without_value, text)


def _cut(text: str) -> str:
    """The text, or the beginning of a long one and the lines at its end; no secret is cut in two.

    Half an address has no form by which its password would be known: it is left out.
    """
    if len(text) <= MOST_SHOWN:
        return text
    start, end = text[: MOST_SHOWN // 2], text[-MOST_SHOWN // 2 :].partition("\n")[2]
    last_line, last_word = start.rfind("\n") + 1, max(map(start.rfind, " \t\n")) + 1
    for half in (_POSTGRES.search(start, last_line), _ANY_ADDRESS.search(start, last_word)):
        if half is not None:
            start = start[: half.end()]
    return f"{start}{_CUT}\n{end}" if end else start + _CUT


def _without_password(run: str, user: re.Pattern[str]) -> str:
    """A text without what stands between the first user in it and the last @."""
    end = run.rfind("@")
    found = user.search(run, 0, end) if end > 0 else None
    return run if found is None else f"{run[: found.end()]}{HIDDEN}{run[end:]}"


def _without_user(found: re.Match[str]) -> str:
    # What has a password hidden already keeps its user's name: it helps, and is no secret.
    return found[0] if HIDDEN in found[0] else f"{found[1]}{HIDDEN}{found[2]}"


def _without_value(found: re.Match[str]) -> str:
    value = found["value"]
    # The settings' own names, and a file that a secret lies in, are what a person needs to see.
    if found["key"].lower().strip("'\"").endswith("file") or value.strip("'\"") in ("", HIDDEN):
        return found[0]
    quoted = value[0] if value[0] in "'\"" else ""
    return f"{found['key']}{found['sep']}{quoted}{HIDDEN}{quoted}"


def _secrets(environ: Mapping[str, str]) -> list[str]:
    """What is known to be secret, the longest first: one may be a part of another."""
    found = set(_known)
    for name, text in environ.items():
        if name.endswith("_FILE"):
            continue
        if _URL_NAME.search(name):
            found.update(_of_address(text))
        elif _NAME.search(name):
            found.update(_spelled(text))
    return sorted((each for each in found if len(each) >= _SHORTEST), key=lambda each: (-len(each), each))


def _spelled(text: str) -> Iterator[str]:
    # A password may look like an address.
    yield from _spellings(text.strip())
    if "://" in text:
        yield from _of_address(text)


def _of_address(text: str) -> Iterator[str]:
    """The passwords in an address, as it has them and as a library may say them."""
    try:
        parts = urlsplit(text)
    except ValueError:
        return
    user, at, _ = text.partition("://")[2].rpartition("@")
    if at and ":" in user:
        yield from _spellings(user.partition(":")[2])
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if _NAME.search(name):
            yield from _spellings(value)


def _spellings(secret: str) -> Iterator[str]:
    for each in (secret, unquote(secret)):
        yield from (each, quote(each, safe=""), quote(each), quote_plus(each), repr(each)[1:-1])
