"""Spans of time as people write them: Go's `1h30m`, ISO 8601's `R3/PT10S`, plain numbers."""

import re
from datetime import datetime, timedelta
from functools import cache
from typing import NamedTuple

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_LONGEST = 2**63 - 1
_PIECE = r"(\d+(?:\.\d*)?|\.\d+)([^\d.]*)"
_PLAIN = r"\d+(\.\d*)?|\.\d+"
_ISO = (
    r"(?:R(?P<repeats>\d+)(?:/(?=P)|/?$))?"
    r"(?:P(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<weeks>\d+)W)?(?:(?P<days>\d+)D)?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+)S)?)?)?"
)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    """Compiled when something is first looked for: a start reads few spans."""
    return re.compile(text)


class DurationError(ValueError):
    """The text is no span of time; the sentence says why."""


class Period(NamedTuple):
    """A span that may count in calendar units, and how often it is to come (None: without end)."""

    years: int = 0
    months: int = 0
    days: int = 0
    clock: timedelta = timedelta()
    repeats: int | None = None

    def after(self, start: datetime) -> datetime:
        """`start` moved on by one span. A day that the month lacks runs over into the next, as in Go: 31 January and a
        month is 3 March."""
        from calendar import monthrange

        month = start.month - 1 + self.months
        year, month = start.year + self.years + month // 12, month % 12 + 1
        over = max(0, start.day - monthrange(year, month)[1])
        moved = start.replace(year=year, month=month, day=start.day - over)
        return moved + timedelta(days=self.days + over) + self.clock


def parse(text: str) -> timedelta:
    """Read a Go duration: `300ms`, `-1.5h`, `2h45m`. A bare number is refused, except `0`."""
    sign, rest = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if rest == "0":
        return timedelta()
    total = at = 0
    for piece in _pattern(_PIECE).finditer(rest):
        if piece.start() != at:
            break
        at = piece.end()
        total += _nanoseconds(piece[1], piece[2], text)
    if at != len(rest) or not rest:
        raise DurationError(f'"{text}" is not a duration such as 1h30m, 10s or 500ms')
    if total > _LONGEST:
        raise DurationError(f'"{text}" is longer than 292 years')
    return sign * timedelta(microseconds=total / 1000)


def _nanoseconds(number: str, unit: str, text: str) -> int:
    if not unit:
        raise DurationError(f'"{text}" lacks a unit: write it like {number}s or {number}ms')
    if unit not in _UNITS:
        raise DurationError(f'"{text}" has an unknown unit "{unit}": use h, m, s, ms, us or ns')
    whole, _, part = number.partition(".")
    scale = _UNITS[unit]
    return int(whole or "0") * scale + (int(part) * scale // 10 ** len(part) if part else 0)


def span(text: str, unit: str | None = None) -> timedelta:
    """Read a Go duration, or a plain number that counts `unit`s where one is given (`"s"`, `"ms"`…)."""
    text = text.strip()
    if unit is not None and _pattern(_PLAIN).fullmatch(text):
        return parse(text + unit)
    return parse(text)


def parse_iso(text: str) -> Period:
    """Read an ISO 8601 duration, with or without repetition: `P1DT2H`, `R5/PT10S`, `R3`."""
    match = _pattern(_ISO).fullmatch(text)
    if match is None or text in ("", "P") or text.endswith("T"):
        raise DurationError(f'"{text}" is not an ISO 8601 duration such as PT10S or R3/P1D')
    part = {name: int(digits) for name, digits in match.groupdict(default="0").items()}
    return Period(
        years=part["years"],
        months=part["months"],
        days=part["weeks"] * 7 + part["days"],
        clock=timedelta(hours=part["hours"], minutes=part["minutes"], seconds=part["seconds"]),
        repeats=None if match["repeats"] is None else part["repeats"],
    )


def written(span: timedelta) -> str:
    """Write a span as Go does: `1h0m0s`, `1.5s`, `250ms`, `0s`."""
    micros = round(span / timedelta(microseconds=1))
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    if micros == 0:
        return "0s"
    if micros < 1_000_000:
        return sign + (f"{micros}µs" if micros < 1000 else f"{_trimmed(micros, 1000)}ms")
    minutes, micros = divmod(micros, 60_000_000)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{head}{_trimmed(micros, 1_000_000)}s"


def _trimmed(count: int, scale: int) -> str:
    whole, rest = divmod(count, scale)
    return f"{whole}.{str(rest).zfill(len(str(scale)) - 1).rstrip('0')}" if rest else str(whole)
