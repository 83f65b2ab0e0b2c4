"""RFC 8785 (JCS) JSON and the reference of an input: the same bytes, hence the same hash, in any language.

A value is first taken as it would go over the wire (:mod:`loopline.values`), so that ``input_ref(value)`` is
what the server computes from ``prediction(..., input=value)``. Nothing here knows about events.
"""

from __future__ import annotations

import hashlib
import math
import re
from typing import Any

import msgspec

from loopline.errors import NotCanonical
from loopline.values import plain

_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_encode_text = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode

# What msgspec's sorted output and RFC 8785 may differ on: fractions and exponents, integers that a double may
# not hold, characters above U+FFFF (sorted by UTF-16 there, by code point here).
# Text that looks like one of these only costs the slower way.
_ODD_NUMBER = re.compile(rb"[0-9](?:\.[0-9]|e[-+0-9]|[0-9]{15})").search
_BEYOND_16_BITS = re.compile(rb"[\xf0-\xf4]").search


def _is_canonical(wire: bytes) -> bool:
    return _ODD_NUMBER(wire) is None and (wire.isascii() or _BEYOND_16_BITS(wire) is None)


def canonical_json(value: object) -> bytes:
    """The value as RFC 8785 JSON: keys in UTF-16 order, numbers as ECMAScript writes them, no white space.

    Raises :class:`~loopline.errors.NotCanonical`, with the path, for what is not JSON: NaN, infinities,
    integers no double can reach, lone surrogates, keys that are not text, kinds of objects without a form.
    """
    wire: bytes = _encode_sorted(plain(value))
    return wire if _is_canonical(wire) else _text(_decode(wire)).encode()


def input_ref(value: object) -> str:
    """The reference of an input: SHA-256 of its RFC 8785 form, as 64 lower-case hex digits.

    Raises :class:`~loopline.errors.NotCanonical` where there is no such form.
    """
    return hashlib.sha256(canonical_json(value)).hexdigest()


def ecmascript_number(value: float) -> str:
    """A finite double as ECMAScript's Number::toString writes it: the shortest digits that read back."""
    if not math.isfinite(value):
        raise NotCanonical("NaN and infinities have no JSON form")
    text = repr(value)
    if "e" not in text:
        # Between 1e-4 and 1e16 the two agree, but for whole numbers and the sign of zero.
        whole = text.removesuffix(".0")
        return "0" if whole == "-0" else whole
    # What is left has one digit before the point, so the value is 0.digits * 10**point.
    mantissa, _, exponent = text.partition("e")
    sign, mantissa = ("-", mantissa[1:]) if value < 0 else ("", mantissa)
    digits, point = mantissa.replace(".", ""), int(exponent) + 1
    count = len(digits)
    if 0 < point <= 21:
        return f"{sign}{digits}{'0' * (point - count)}"
    if -6 < point <= 0:
        return f"{sign}0.{'0' * -point}{digits}"
    tail = f".{digits[1:]}" if count > 1 else ""
    return f"{sign}{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"


def _text(value: Any) -> str:
    """The canonical text of what a JSON decoder gives: None, bool, int, float, str, list or dict."""
    kind = type(value)
    if kind is float:
        return ecmascript_number(value)
    if kind is str:
        return _encode_text(value).decode()
    if kind is int:
        return str(value) if -(2**53) <= value <= 2**53 else ecmascript_number(float(value))
    if kind is list:
        return f"[{','.join(map(_text, value))}]"
    if kind is dict:
        # UTF-16, big end first, compares as the code units do.
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return f"{{{','.join(f'{_text(key)}:{_text(value[key])}' for key in keys)}}}"
    return "null" if value is None else "true" if value else "false"
