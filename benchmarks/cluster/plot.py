"""One figure, drawn by hand as SVG: what an event costs, by how many there are already.

Measured points are solid, what follows from the fitted terms is dashed; the number of events is on a
logarithmic scale. It has one job, so it brings no library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import msgspec

_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 170, 48, 56
_COLOURS = {"workers": "#1b6ca8", "PostgreSQL": "#c2571a", "broker": "#4b7f3a"}
_FONT = 'font-family="system-ui, sans-serif" font-size="12"'
_TITLE = "CPU an event, by how many there are already"
_LABELS = {"workers": "worker", "PostgreSQL": "PostgreSQL", "broker": "broker"}


class Point(msgspec.Struct):
    """At so many events: us of CPU that an event before it cost, by name, and bytes of the views."""

    events: int
    us: dict[str, float]
    bytes: int = 0


class _Scale:
    """From events and microseconds to places on the sheet."""

    def __init__(self, first: int, last: int, highest: float) -> None:
        self.low, self.high = math.log10(first), math.log10(last)
        self.highest = highest

    def x(self, events: float) -> float:
        share = (math.log10(events) - self.low) / (self.high - self.low)
        return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)

    def y(self, us: float) -> float:
        return _HEIGHT - _BOTTOM - us / self.highest * (_HEIGHT - _TOP - _BOTTOM)


def draw(points: Sequence[Point], fits: Mapping[str, tuple[float, float]], last: int) -> str:
    """The figure as the text of an SVG file."""
    measured = points[-1].events
    ahead = {name: _ahead(points, fit, name, last) for name, fit in fits.items()}
    values = [value for point in points for value in point.us.values()]
    values += [value for line in ahead.values() for _, value in line]
    scale = _Scale(points[0].events, last, math.ceil(max(values) / 5) * 5)
    parts = [*_frame(scale), *_axes(scale)]
    if measured < last:
        x = scale.x(measured)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{_HEIGHT - _BOTTOM}" stroke="#999"/>'
            f'<text x="{x - 6:.1f}" y="{_TOP + 12}" text-anchor="end" fill="#666">measured</text>'
            f'<text x="{x + 6:.1f}" y="{_TOP + 12}" fill="#666">by the fitted terms</text>'
        )
    ends = {}
    for name, colour in _COLOURS.items():
        solid = [(point.events, point.us[name]) for point in points]
        parts.append(_line(scale, solid, colour, ""))
        parts += [
            f'<circle cx="{scale.x(events):.1f}" cy="{scale.y(us):.1f}" r="3" fill="{colour}"/>'
            for events, us in solid
        ]
        if measured < last:
            parts.append(_line(scale, ahead[name], colour, ' stroke-dasharray="5 4"'))
        ends[name] = ahead[name][-1][1] if measured < last else solid[-1][1]
    parts += _named(scale, ends)
    return "\n".join([*parts, "</svg>", ""])


def _ahead(
    points: Sequence[Point], fit: tuple[float, float], name: str, last: int
) -> list[tuple[float, float]]:
    """Where the dashed line goes: from the last point on, grown as the fit grows."""
    measured, us = points[-1].events, points[-1].us[name]
    steps = [measured * (last / measured) ** (step / 20) for step in range(21)]
    return [(events, us + max(fit[1], 0.0) * math.log10(events / measured)) for events in steps]


def _frame(scale: _Scale) -> list[str]:
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" {_FONT}>',
        "<title>CPU an event, by how many events there are</title>",
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
        f'<text x="{_LEFT}" y="24" font-size="15" fill="#222">{_TITLE}</text>',
        f'<text x="{_LEFT - 44}" y="{_TOP - 8}" fill="#444">us of CPU</text>',
        f'<text x="{middle}" y="{_HEIGHT - 14}" text-anchor="middle" fill="#444">events in the views</text>',
    ]


def _axes(scale: _Scale) -> list[str]:
    parts = []
    step = 5 if scale.highest <= 40 else 10
    for us in range(0, int(scale.highest) + 1, step):
        y = scale.y(us)
        parts.append(
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end" fill="#444">{us}</text>'
        )
    for power in range(math.ceil(scale.low), math.floor(scale.high) + 1):
        x, y = scale.x(10**power), _HEIGHT - _BOTTOM
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{y}" y2="{y + 5}" stroke="#444"/>'
            f'<text x="{x:.1f}" y="{y + 20}" text-anchor="middle" fill="#444">'
            f'10<tspan dy="-5" font-size="9">{power}</tspan></text>'
        )
    return parts


def _line(scale: _Scale, points: Sequence[tuple[float, float]], colour: str, dash: str) -> str:
    places = " ".join(f"{scale.x(events):.1f},{scale.y(us):.1f}" for events, us in points)
    return f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'


def _named(scale: _Scale, ends: Mapping[str, float]) -> list[str]:
    """The names at the lines' right ends, moved apart where they would touch."""
    parts = []
    lowest = math.inf
    for name, us in sorted(ends.items(), key=lambda item: item[1]):
        y = min(scale.y(us) + 4, lowest - 16)
        lowest = y
        x = _WIDTH - _RIGHT + 8
        parts.append(f'<text x="{x}" y="{y:.1f}" fill="{_COLOURS[name]}">{_LABELS[name]} {us:.1f} us</text>')
    return parts
