"""Numbers as they are written: 0.07 is seven hundredths here, and a multiple of 0.01."""

from __future__ import annotations

from functools import lru_cache

Number = int | float


@lru_cache(maxsize=1024)
def _parts(number: Number) -> tuple[int, int]:
    """A number as digits and an exponent of ten, as it is written."""
    if isinstance(number, int):
        return number, 0
    digits, _, exponent = repr(number).partition("e")
    whole, _, fraction = digits.partition(".")
    return int(whole + fraction), int(exponent or 0) - len(fraction)


def is_multiple(number: Number, divisor: Number) -> bool:
    """Whether a number is a whole multiple of another one, both as the decimals that they are written as."""
    (digits, exponent), (by, by_exponent) = _parts(number), _parts(divisor)
    shift = exponent - by_exponent
    if shift >= 0:
        return digits * pow(10, shift, abs(by)) % by == 0
    # The divisor is the coarser one: with more zeros than the number has digits, only zero is its multiple.
    if -shift > digits.bit_length():
        return digits == 0
    coarse: int = by * 10**-shift
    return digits % coarse == 0
