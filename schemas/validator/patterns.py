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

MOST_LENGTH = 5_000
"""One of more characters is refused before anything reads it: nearly every character is a part."""

_MEMORY_BYTES = 1024 * 1024
_CLASS_PARTS = 64
_ESCAPE = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    r"|\\u(?:\{([0-9a-fA-F]{1,6})\}|([0-9a-fA-F]{4}))"
    r"|\\([Z/])"
)
_REPEATED = re.compile(r"\{([0-9]{1,9})(?:,([0-9]{0,9}))?\}")
_POSIX = re.compile(r"\[:\^?[a-z]{1,10}:\]")

_NOT_LINEAR = ("invalid perl operator", "invalid escape sequence", "bad repetition operator", "too large")


class NotAPattern(ValueError):
    """This is no regular expression; the text says why."""


class Unusable(ValueError):
    """The expression cannot be checked in linear time, or is too large; the text says so."""


def size_of(pattern: str) -> int:
    """How many parts an expression has when its repetitions are written out; found in one pass.

    A number over MOST_SIZE says only that it is too large. Raises NotAPattern when a class is not closed.
    """
    if len(pattern) > MOST_LENGTH:
        return MOST_SIZE + 1
    # Of each group that is open: its parts so far, and those of the last thing in it.
    sizes, last, total, location = [0], [0], 0, 0
    while location < len(pattern) and total <= MOST_SIZE:
        repeated = _REPEATED.match(pattern, location)
        if repeated is not None:
            times = max(int(repeated[1]), int(repeated[2] or 0), 1)
            more = last[-1] * (times - 1)
            sizes[-1] += more
            total += more
            location = repeated.end()
            continue
        end = _end_of_token(pattern, location)
        part = pattern[location:end]
        location = end
        if part == "(":
            sizes.append(0)
            last.append(0)
        elif part == ")" and len(sizes) > 1:
            inner = sizes.pop() + 1
            last.pop()
            sizes[-1] += inner
            last[-1] = inner
            total += 1
        elif part not in ("*", "+", "?"):
            last[-1] = _part_size(part)
            sizes[-1] += last[-1]
            total += last[-1]
    return total


def _end_of_token(pattern: str, location: int) -> int:
    """Where the character, the escape or the class that begins at a location ends. Raises NotAPattern."""
    if pattern[location] == "[":
        return _end_of_class(pattern, location)
    if pattern[location] != "\\":
        return location + 1
    if pattern.startswith(("p{", "P{"), location + 1):
        return _behind(pattern, "}", location)
    return min(location + 2, len(pattern))


def _end_of_class(pattern: str, start: int) -> int:
    location = start + 1
    if pattern.startswith("^", location):
        location += 1
    # The first bracket stands for itself.
    first = location
    while location < len(pattern):
        character = pattern[location]
        if character == "]" and location > first:
            return location + 1
        named = _POSIX.match(pattern, location) if character == "[" else None
        if named is not None:
            location = named.end()
        else:
            location += 2 if character == "\\" else 1
    raise _not_closed(pattern, start)


def _behind(pattern: str, closing: str, start: int) -> int:
    end = pattern.find(closing, start)
    if end < 0:
        raise _not_closed(pattern, start)
    return end + 1


def _not_closed(pattern: str, start: int) -> NotAPattern:
    return NotAPattern(
        f"the pattern {pattern[:80]!r} is no regular expression"
        f" (what begins with {pattern[start : start + 10]!r} is not closed)"
    )


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


def matcher(pattern: str, size: int) -> Callable[[str], bool]:
    """A test whether a text has a match somewhere; `size` is what `size_of` said of the expression.

    Raises NotAPattern or Unusable.
    """
    import re2

    if size > MOST_SIZE:
        raise Unusable(
            f"the pattern {pattern[:80]!r} is too large: over {MOST_SIZE} parts, repetitions written out,"
            f" or over {MOST_LENGTH} characters"
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
            raise NotAPattern(f"the pattern {pattern[:80]!r} is no regular expression ({why})") from None
        raise Unusable(
            f"the pattern {pattern[:80]!r} cannot be checked in linear time ({why}): write it without"
            " look-around and backreferences, in the syntax of RE2"
        ) from None
    return lambda text: search(text) is not None
