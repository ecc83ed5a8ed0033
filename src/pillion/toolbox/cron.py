"""Cron expressions as Dapr reads them, and the next instant each one fires.

| form                       | meaning                                                        |
|----------------------------|----------------------------------------------------------------|
| `0 30 * * * *`             | second minute hour day-of-month month day-of-week              |
| `30 * * * *`               | the same at second 0, where the caller takes five fields       |
| `@every 1h30m`             | a Go duration, counted from the last time                      |
| `@hourly` … `@yearly`      | the usual shorthands                                           |
| `TZ=Europe/Paris 0 0 6 …`  | in that zone instead of the zone of the instant asked about    |

A field takes `*` or `?`, numbers, names, `a-b`, lists and `/step`. When both days are restricted either may match.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("second", 0, 59, {}),
    ("minute", 0, 59, {}),
    ("hour", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
    ("day of week", 0, 6, {name: number for number, name in enumerate(_DAYS)}),
)
_SHORTHANDS = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_PIECE = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")
_MILLISECONDS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1, "us": 1e-3, "µs": 1e-3, "ns": 1e-6}
_MONTH, _DAY = -2, -1
_YEARS_AHEAD = 5


class CronError(ValueError):
    """The expression cannot be read; the sentence names the field."""


class Schedule(Protocol):
    """When something is due."""

    def next(self, after: datetime) -> datetime | None:
        """The first instant later than `after` (which must know its zone), in that zone; None if it never comes."""
        ...


@dataclass(frozen=True, slots=True)
class Every:
    """A fixed span between two instants, of whole milliseconds and at least one."""

    delay: timedelta

    def next(self, after: datetime) -> datetime:
        return after + self.delay - timedelta(microseconds=after.microsecond % 1000)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Instants whose fields are all among those allowed."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either_day: bool
    zone: tzinfo | None

    def next(self, after: datetime) -> datetime | None:
        home = after.tzinfo
        if home is None:
            raise ValueError("the instant must know its zone")
        zone = self.zone or home
        moment = _later(after.replace(microsecond=0), 1, zone)
        last = moment.year + _YEARS_AHEAD
        while moment.year <= last:
            step = self._step(moment)
            if step == 0:
                return moment.astimezone(home)
            moment = _later(moment, step, zone) if step > 0 else _midnight(moment, zone, month=step == _MONTH)
        return None

    def _step(self, moment: datetime) -> int:
        """Seconds to the next instant worth looking at; 0 for a match, _MONTH or _DAY to the next of those."""
        if moment.month not in self.months:
            return _MONTH
        if not self._day_matches(moment):
            return _DAY
        if moment.hour not in self.hours:
            return 3600 - moment.minute * 60 - moment.second
        if moment.minute not in self.minutes:
            return 60 - moment.second
        return 0 if moment.second in self.seconds else 1

    def _day_matches(self, moment: datetime) -> bool:
        day, weekday = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        return day or weekday if self.either_day else day and weekday


def _later(moment: datetime, seconds: int, zone: tzinfo) -> datetime:
    # Through UTC, so that clock changes neither repeat nor skip an instant.
    return (moment.astimezone(UTC) + timedelta(seconds=seconds)).astimezone(zone)


def _midnight(moment: datetime, zone: tzinfo, *, month: bool) -> datetime:
    """The start of the next day or month; where a clock change removed midnight, the first instant of that day."""
    first = moment.replace(day=1) + timedelta(days=32) if month else moment + timedelta(days=1)
    start = datetime(first.year, first.month, 1 if month else first.day, tzinfo=zone)
    return start.astimezone(UTC).astimezone(zone)


def parse(text: str, *, fields: Collection[int] = (6,)) -> Schedule:
    """Read an expression of one of the lengths in `fields`; raises `CronError`."""
    zone, text = _zone(text.strip())
    if text.startswith("@every "):
        return _every(text)
    words = _SHORTHANDS.get(text, text).split()
    if text.startswith("@") and text not in _SHORTHANDS:
        raise CronError(f'"{text}" is none of {", ".join(_SHORTHANDS)} or @every <duration>')
    if text not in _SHORTHANDS and len(words) not in fields:
        wanted = " or ".join(str(count) for count in sorted(fields))
        raise CronError(f'"{text}" has {len(words)} fields where {wanted} are expected')
    if len(words) == 5:
        words.insert(0, "0")
    sets = [_field(word, *row) for word, row in zip(words, _FIELDS, strict=True)]
    (days, any_day), (weekdays, any_weekday) = sets[3], sets[5]
    free = any_day or any_weekday
    return Calendar(sets[0][0], sets[1][0], sets[2][0], days, sets[4][0], weekdays, not free, zone)


def _zone(text: str) -> tuple[tzinfo | None, str]:
    if not text.startswith(("TZ=", "CRON_TZ=")):
        return None, text
    head, _, rest = text.partition(" ")
    name = head.partition("=")[2]
    try:
        return ZoneInfo(name), rest.strip()
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise CronError(f'"{name}" is not a time zone known here') from None


def _every(text: str) -> Every:
    span = text.removeprefix("@every ").strip()
    pieces = _PIECE.findall(span)
    if not pieces or "".join(number + unit for number, unit in pieces) != span:
        raise CronError(f'"{span}" is not a duration such as 1h30m, 10s or 500ms')
    delay = sum(float(number) * _MILLISECONDS[unit] for number, unit in pieces)
    return Every(timedelta(milliseconds=max(1, int(delay))))


def _field(word: str, name: str, low: int, high: int, names: dict[str, int]) -> tuple[frozenset[int], bool]:
    """The numbers a field allows, and whether it is a bare star."""
    allowed: set[int] = set()
    star = False
    for part in filter(None, word.split(",")):
        span, slash, step = part.partition("/")
        if span in ("*", "?"):
            first, last = low, high
            star = star or step in ("", "1")
        else:
            start, dash, end = span.partition("-")
            first = _number(start, name, names)
            last = _number(end, name, names) if dash else high if slash else first
        stride = _number(step, name, {}) if slash else 1
        if not low <= first <= last <= high or stride < 1:
            raise CronError(f'"{part}" is outside {low}-{high} in the {name} field')
        allowed.update(range(first, last + 1, stride))
    if not allowed:
        raise CronError(f"the {name} field is empty")
    return frozenset(allowed), star


def _number(word: str, name: str, names: dict[str, int]) -> int:
    if word.lower() in names:
        return names[word.lower()]
    if not (word.isascii() and word.isdigit()):
        raise CronError(f'"{word}" is not a number in the {name} field')
    return int(word)
