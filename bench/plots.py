"""Plots as SVG: bars side by side, and lines. Text and axes take a grey that reads on light and on dark."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

_COLOURS = ("#2f81c7", "#e08a2e", "#7a9a4a", "#9a6fb0")
_GREY = "#808890"
_FAINT = "#8088904d"
_FONT = "font-family='system-ui, sans-serif'"
_WIDTH = 800
_LEFT, _RIGHT, _TOP = 310, 120, 64
_NUMBERS = 58
"""Left free at the right end for a number."""
_BAR, _GAP = 13, 12


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the lowest and the highest."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Series:
    """One contender's values by label; what it has no value for stays empty."""

    name: str
    values: Mapping[str, Spread]


def bars(title: str, unit: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """A group of horizontal bars for each label, one bar per series, with a whisker from lowest to highest.

    Each group has a scale of its own: what is compared are the bars of one group, and groups may lie far apart.
    """
    parts, top = _head(title, f"{unit}; each row has its own scale", series), float(_TOP)
    for label in labels:
        here = [
            (colour, s.values[label])
            for colour, s in zip(_COLOURS, series, strict=False)
            if label in s.values
        ]
        most = max((value.middle for _, value in here), default=0.0) or 1.0
        scale = (_WIDTH - _LEFT - _RIGHT) / most
        parts.append(_text(_LEFT - 10, top + _BAR * len(here) / 2 + 4, label, "end"))
        for colour, value in here:
            parts += _bar(value, top, scale, colour)
            top += _BAR
        top += _GAP
    return _svg(top, parts)


def _bar(value: Spread, top: float, scale: float, colour: str) -> list[str]:
    end, middle = _LEFT + value.middle * scale, top + _BAR / 2 - 0.5
    low, high = (min(_LEFT + at * scale, _WIDTH - _NUMBERS) for at in (value.low, value.high))
    return [
        f"<rect x='{_LEFT}' y='{top:.1f}' width='{max(end - _LEFT, 1):.1f}' height='{_BAR - 2}' rx='2' fill='{colour}'/>",
        f"<path d='M{low:.1f} {middle:.1f}H{high:.1f}' stroke='{_GREY}' stroke-width='1.5'/>",
        _text(max(end, high) + 6, top + _BAR - 3, _short(value.middle), "start", 11),
    ]


def lines(title: str, unit: str, along: str, labels: Sequence[str], series: Sequence[Series]) -> str:
    """A line per series over the labels, which stand at equal distances."""
    left, bottom, height = 80, 300, 350
    most = _ceiling(max((v.high for s in series for v in s.values.values()), default=1.0))
    step = (_WIDTH - left - 40) / max(len(labels) - 1, 1)

    def y(value: float) -> float:
        return bottom - (bottom - _TOP) * value / most

    parts = _head(title, unit, series)
    for quarter in range(5):
        at = most * quarter / 4
        parts.append(f"<path d='M{left} {y(at):.1f}H{_WIDTH - 40}' stroke='{_FAINT}'/>")
        parts.append(_text(left - 8, y(at) + 4, _short(at), "end", 11))
    for place, label in enumerate(labels):
        parts.append(_text(left + place * step, bottom + 20, label, "middle", 11))
    parts.append(_text(_WIDTH - 40, bottom + 40, along, "end", 11))
    for number, each in enumerate(series):
        points = [
            (left + place * step, each.values[label])
            for place, label in enumerate(labels)
            if label in each.values
        ]
        path = " ".join(f"{x:.1f},{y(v.middle):.1f}" for x, v in points)
        colour = _COLOURS[number]
        parts.append(f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2.5'/>")
        for x, v in points:
            parts.append(
                f"<path d='M{x:.1f} {y(v.low):.1f}V{y(v.high):.1f}' stroke='{_GREY}' stroke-width='1.5'/>"
            )
            parts.append(f"<circle cx='{x:.1f}' cy='{y(v.middle):.1f}' r='4' fill='{colour}'/>")
    return _svg(height, parts)


def _head(title: str, unit: str, series: Sequence[Series]) -> list[str]:
    parts = [_text(16, 24, title, "start", 15, "600"), _text(16, 44, unit, "start", 12)]
    x = _WIDTH - 16.0
    for place, each in reversed(list(enumerate(series))):
        x -= 7.5 * len(each.name)
        parts.append(_text(x, 44, each.name, "start", 12))
        parts.append(
            f"<rect x='{x - 16:.1f}' y='34' width='11' height='11' rx='2' fill='{_COLOURS[place]}'/>"
        )
        x -= 32
    return parts


def _text(x: float, y: float, words: str, anchor: str, size: int = 12, weight: str = "400") -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' font-size='{size}' font-weight='{weight}'"
    return f"<text {place} fill='{_GREY}' {_FONT}>{escape(words.replace('`', ''))}</text>"


def _svg(height: float, parts: Sequence[str]) -> str:
    size = f"width='{_WIDTH}' height='{height:.0f}' viewBox='0 0 {_WIDTH} {height:.0f}'"
    return "\n".join((f"<svg xmlns='http://www.w3.org/2000/svg' {size} role='img'>", *parts, "</svg>", ""))


def _short(value: float) -> str:
    if value >= 10_000:
        return f"{value / 1000:,.0f}k"
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _ceiling(value: float) -> float:
    """The next number of one digit, or one and a half, above."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 1.5, 2, 3, 4, 5, 6, 8, 10) if step * power >= value)
