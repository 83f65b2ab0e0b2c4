"""Regular expressions that take linear time: RE2's, in the words that JSON Schema's dialect shares with them.

JSON Schema means ECMAScript's expressions. RE2 says most of them and not what may run for ever: no
look-around and no backreferences. As in ECMAScript `\\d` and `\\w` are ASCII, and `$` is the end of the text;
`\\p{L}` is a letter of any script. How large an expression is follows from its text alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MOST_SIZE = 5_000
"""An expression of so many parts, repetitions written out, is too large."""

_MEMORY_BYTES = 1024 * 1024
_CLASS_PARTS = 64
_ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{4}))"
    r"|\\([Z/])"
)
_REPEATED = re.compile(r"\{([0-9]{1,9})(?:,([0-9]{0,9}))?\}")
_TOKEN = re.compile(r"\\[pP]\{[^}]*\}|\\.|\[\^?\]?(?:\\.|\[:[a-z^]+:\]|[^\]\\])*\]|.", re.DOTALL)


_NOT_LINEAR = ("invalid perl operator", "invalid escape sequence", "bad repetition operator", "too large")


class Malformed(ValueError):
    """This is no regular expression; the text says why."""


class Unusable(ValueError):
    """The expression cannot be checked in linear time, or is too large; the text says so."""


def size_of(pattern: str) -> int:
    """How many parts an expression has when its repetitions are written out; found in one pass."""
    sizes, last, place = [0], [0], 0
    while place < len(pattern):
        repeated = _REPEATED.match(pattern, place)
        if repeated is not None:
            times = max(int(repeated[1]), int(repeated[2] or 0), 1)
            sizes[-1] += last[-1] * (times - 1)
            place = repeated.end()
            continue
        token = _TOKEN.match(pattern, place)
        assert token is not None
        part = token[0]
        place = token.end()
        if part == "(":
            sizes.append(0)
            last.append(0)
        elif part == ")" and len(sizes) > 1:
            inner = sizes.pop() + 1
            last.pop()
            sizes[-1] += inner
            last[-1] = inner
        elif part not in ("*", "+", "?"):
            last[-1] = _part_size(part)
            sizes[-1] += last[-1]
        if sum(sizes) > MOST_SIZE:
            break
    return sum(sizes)


def _part_size(part: str) -> int:
    classes = part.count("\\p") + part.count("\\P")
    return 1 + classes * _CLASS_PARTS + len(part.encode()) // 4


def _as_re2(pattern: str) -> str:
    """The expression with ECMAScript's escapes that RE2 writes otherwise."""

    def escape(found: re.Match[str]) -> str:
        high, low, braced, plain, other = found.groups()
        if other is not None:
            return r"\z" if other == "Z" else "/"
        if high is not None:
            character = bytes.fromhex(high + low).decode("utf-16-be")
            return f"\\x{{{ord(character):x}}}"
        return f"\\x{{{braced or plain}}}"

    # A doubled backslash is a character of its own: what follows it is no escape.
    return "".join(
        part if number % 2 else _ESCAPE.sub(escape, part)
        for number, part in enumerate(re.split(r"(\\\\)", pattern))
    )


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test whether a text has a match somewhere. Raises Malformed or Unusable."""
    import re2

    if size_of(pattern) > MOST_SIZE:
        raise Unusable(
            f"the pattern {pattern[:80]!r} is too large: {MOST_SIZE} parts, repetitions written out"
        )
    options = re2.Options()
    options.max_mem = _MEMORY_BYTES
    options.log_errors = False
    try:
        search = re2.compile(_as_re2(pattern), options=options).search
    except re2.error as error:
        said = error.args[0] if error.args else ""
        why = (said.decode(errors="replace") if isinstance(said, bytes) else str(said))[:80]
        if not any(text in why for text in _NOT_LINEAR):
            raise Malformed(f"the pattern {pattern[:80]!r} is no regular expression ({why})") from None
        raise Unusable(
            f"the pattern {pattern[:80]!r} cannot be checked in linear time ({why}): write it without"
            " look-around and backreferences, in the syntax of RE2"
        ) from None
    return lambda text: search(text) is not None
