"""bindings.cron: an event whenever a schedule says so."""

import asyncio
from datetime import UTC, datetime, timedelta, tzinfo

from pillion.contracts.bindings import Binding, Bring, Listening, NotDelivered
from pillion.contracts.words import Refused
from pillion.model.bindings import Trigger
from pillion.plug.component import Context, driver
from pillion.plug.settings import setting
from pillion.toolbox import cron
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import Crew

IN_FLIGHT = 100
"""Ticks that the app may have in hand at once; one more is dropped."""
NAP = 60.0
"""The longest sleep in one piece, so that a clock that is set is noticed."""
_DRAIN = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CronSettings:
    schedule: str = setting(
        "Five fields, six with seconds first, a shorthand such as `@hourly`, or `@every 15m`; by local time.",
        example="@every 15m",
    )


@driver("bindings.cron", settings=CronSettings, title="Cron", status="stable")
class CronBinding(Binding[CronSettings]):
    """Brings an empty event at each instant of a schedule. Every sidecar ticks for itself.

    A slow app does not delay the next tick. Ticks that the app fails, that come while the sidecar is not running or while too many
    are in hand, are dropped.
    """

    is_input = True
    _ticking: "tuple[_Ticking, ...]" = ()

    async def open(self) -> None:
        text = self.settings.schedule
        try:
            self._schedule = cron.parse(text, fields=(5, 6))
        except cron.CronError as error:
            raise Refused(f"invalid schedule format '{text}': {error}") from error

    async def listen(self, bring: Bring) -> Listening:
        ticking = _Ticking(self._schedule, self.context, bring)
        ticking.start()
        self._ticking = (*(each for each in self._ticking if not each.closed), ticking)
        return ticking

    async def close(self) -> None:
        ticking, self._ticking = self._ticking, ()
        for each in ticking:
            await each.close()


class _Ticking:
    """The loop that waits for each tick, and the events it has handed over."""

    def __init__(self, schedule: cron.Schedule, context: Context, bring: Bring) -> None:
        self.closed = False
        self._schedule = schedule
        self._context = context
        self._bring = bring
        self._loop = Crew(f"{context.name}: schedule")
        self._events = Crew(f"{context.name}: ticks")

    def start(self) -> None:
        self._loop.start(self._run())

    async def close(self) -> None:
        self.closed = True
        await self._loop.close()
        await self._events.drain(_DRAIN)

    async def _run(self) -> None:
        clock, name = self._context.clock, self._context.name
        due = self._next(clock.now())
        while due is not None:
            self._context.log.debug("name: %s, next run: %gs", name, due - clock.now())
            while (left := due - clock.now()) > 0:
                await clock.sleep(min(left, NAP))
            self._tick(clock.now())
            due = self._next(clock.now())
        self._context.log.warning("%s: its schedule has no further instant", name)
        await asyncio.get_running_loop().create_future()

    def _next(self, now: float) -> float | None:
        """The first instant after `now`: those missed meanwhile are dropped."""
        found = self._schedule.next(datetime.fromtimestamp(now, _LOCAL))
        return None if found is None else found.timestamp()

    def _tick(self, now: float) -> None:
        if len(self._events) >= IN_FLIGHT:
            self._context.log.warning(
                "%s: tick dropped, the app still handles %d", self._context.name, IN_FLIGHT
            )
            return
        self._events.start(self._deliver(Trigger(b"", {"readTimeUTC": spelled(now), "timeZone": "Local"})))

    async def _deliver(self, trigger: Trigger) -> None:
        try:
            await self._bring(trigger)
        except NotDelivered as error:
            self._context.log.debug("%s: tick dropped: %s", self._context.name, error)


def spelled(now: float) -> str:
    """An instant as Go prints one: `2026-11-23 20:07:28.375962 +0000 UTC`."""
    moment = datetime.fromtimestamp(now, UTC)
    fraction = f".{moment.microsecond:06}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


class _LocalZone(tzinfo):
    """The machine's zone with its clock changes, which a fixed offset would miss."""

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, moment: datetime | None) -> timedelta | None:
        return None

    def tzname(self, moment: datetime | None) -> str:
        return "Local"

    def fromutc(self, moment: datetime) -> datetime:
        return datetime.fromtimestamp(moment.replace(tzinfo=UTC).timestamp()).replace(tzinfo=self)


_LOCAL = _LocalZone()
