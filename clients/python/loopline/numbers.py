"""Numbers that take a parser very long to read, counted by their bytes before anything is decoded.

Most numbers take a parser well under a microsecond. Near the two ends of a float's range the digits are
compared with the exact value in long arithmetic: that takes up to a thousand times as long, and nothing else
runs meanwhile. So an event, and all events of a request together, may have only so many of them. What looks
like one inside of a text counts too. The Python client has this module word for word.
"""

from __future__ import annotations

import re

MAX_SLOW_NUMBERS = 250
"""So many numbers with exponents beyond 250, either way, or of 300 digits an event or a request may have."""

_MEDIUM = 16
"""So many numbers of full length with an exponent of three digits cost at most what a slow one does."""

_DIGITS = 300
_BLOCK = _DIGITS // 2
_NOT_DIGITS = re.compile(rb"[^0-9]++")
# Each begins with a letter that is rare in numbers, and looks back from there.
_END = rb"(?=[,\]}\s]|\Z)"
_EXPONENT = re.compile(rb"e[+-]?[0-9]{3}")
_SLOW = re.compile(
    rb"e(?:(?<=[0-9.]e)[+-]?+0*+(?:2[5-9][0-9]|[3-9][0-9]{2}|[1-9][0-9]{3,}+)"
    rb"|(?<=[0-9.]{40}e)[+-]?+[0-9]{3,}+)" + _END
)
_MEDIUM_ONES = re.compile(rb"e(?<=[0-9.]{17}e)(?<![0-9.]{40}e)[+-]?+0*+(?:1[0-9]{2}|2[0-4][0-9])" + _END)


def slow_numbers(sent: bytes) -> int:
    """How many slow numbers there are in a piece of JSON, if there may be too many of them, else 0."""
    if b"E" in sent:
        sent = sent.replace(b"E", b"e")
    slow = 0
    if len(_EXPONENT.findall(sent)) > MAX_SLOW_NUMBERS:
        slow = len(_SLOW.findall(sent)) + len(_MEDIUM_ONES.findall(sent)) // _MEDIUM
    # Fewer have no room in what is shorter.
    if len(sent) > MAX_SLOW_NUMBERS * _DIGITS and _has_long_digits(sent):
        slow += sum(len(run) >= _DIGITS for run in _NOT_DIGITS.split(sent))
    return slow


def _has_long_digits(sent: bytes) -> bool:
    """Whether there is a block of digits that every number of so many digits has one of."""
    return any(sent[start : start + _BLOCK].isdigit() for start in range(0, len(sent), _BLOCK))
