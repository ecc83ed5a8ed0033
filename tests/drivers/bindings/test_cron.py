"""Events by schedule, on a clock turned by hand."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from pillion.contracts.bindings import Listening, NotDelivered
from pillion.contracts.words import Refused
from pillion.drivers.bindings.cron import IN_FLIGHT, CronBinding, CronSettings, spelled
from pillion.model.bindings import Reply, Trigger
from pillion.plug.component import Context
from pillion.testing.clock import HandClock

START = datetime(2026, 11, 23, 20, 7, 25, tzinfo=UTC).timestamp()


class Berth:
    """A cron binding being listened to; closes what it opened."""

    def __init__(self) -> None:
        self.clock = HandClock(START)
        self.got: list[Trigger] = []
        self.takes = True
        self.gate = asyncio.Event()
        self.gate.set()
        self._bindings: list[CronBinding] = []

    async def listen(self, schedule: str) -> Listening:
        binding = CronBinding(CronSettings(schedule=schedule), Context(name="cron", clock=self.clock))
        await binding.open()
        self._bindings.append(binding)
        listening = await binding.listen(self._bring)
        await self.turn(0)
        return listening

    async def turn(self, seconds: float) -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        await self.clock.advance(seconds)
        for _ in range(5):
            await asyncio.sleep(0)

    @property
    def times(self) -> list[str]:
        return [trigger.metadata["readTimeUTC"] for trigger in self.got]

    async def _bring(self, trigger: Trigger) -> Reply:
        self.got.append(trigger)
        await self.gate.wait()
        if not self.takes:
            raise NotDelivered("500")
        return Reply()

    async def close(self) -> None:
        self.gate.set()
        for binding in self._bindings:
            await binding.close()


@pytest.fixture
async def berth() -> AsyncIterator[Berth]:
    made = Berth()
    yield made
    await made.close()


@pytest.fixture
def zone() -> Iterator[Any]:
    before = os.environ.get("TZ")

    def move(name: str) -> None:
        os.environ["TZ"] = name
        time.tzset()

    yield move
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


async def test_an_event_is_empty_and_tells_when_it_came(berth: Berth) -> None:
    await berth.listen("@every 3s")
    await berth.turn(3)
    assert berth.got == [Trigger(b"", {"readTimeUTC": "2026-11-23 20:07:28 +0000 UTC", "timeZone": "Local"})]


@pytest.mark.parametrize(
    ("now", "text"),
    [
        (START, "2026-11-23 20:07:25 +0000 UTC"),
        (START + 0.5, "2026-11-23 20:07:25.5 +0000 UTC"),
        (START + 0.000250, "2026-11-23 20:07:25.00025 +0000 UTC"),
    ],
)
def test_times_are_spelled_as_go_does(now: float, text: str) -> None:
    assert spelled(now) == text


@pytest.mark.parametrize(
    ("schedule", "seconds", "count"),
    [
        ("@every 1s", 5, 5),
        ("*/10 * * * * *", 35, 4),
        ("* * * * *", 60, 1),
        ("*/2 * * * *", 300, 3),
        ("@hourly", 3600, 1),
    ],
)
async def test_five_fields_six_and_shorthands_are_read(
    berth: Berth, schedule: str, seconds: int, count: int
) -> None:
    await berth.listen(schedule)
    for _ in range(seconds):
        await berth.turn(1)
    assert len(berth.got) == count


@pytest.mark.parametrize("schedule", ["", "never", "* * *", "61 * * * * *", "@every soon"])
async def test_a_schedule_that_cannot_be_read_is_refused_at_start(berth: Berth, schedule: str) -> None:
    with pytest.raises(Refused, match=f"^invalid schedule format '{schedule.replace('*', '[*]')}'"):
        await berth.listen(schedule)


async def test_a_failed_tick_is_dropped_and_the_next_one_comes(berth: Berth) -> None:
    berth.takes = False
    await berth.listen("@every 1s")
    await berth.turn(1)
    berth.takes = True
    await berth.turn(1)
    assert len(berth.got) == 2


async def test_a_slow_app_does_not_delay_the_next_tick(berth: Berth) -> None:
    berth.gate.clear()
    await berth.listen("@every 1s")
    for _ in range(3):
        await berth.turn(1)
    assert len(berth.got) == 3


async def test_an_app_that_never_answers_gets_no_endless_heap_of_ticks(berth: Berth) -> None:
    berth.gate.clear()
    await berth.listen("@every 1s")
    for _ in range(IN_FLIGHT + 3):
        await berth.turn(1)
    assert len(berth.got) == IN_FLIGHT


async def test_of_the_ticks_that_were_slept_through_one_comes_late_and_the_others_are_dropped(
    berth: Berth,
) -> None:
    await berth.listen("0 * * * * *")
    berth.clock._now += 600  # the machine was suspended: its clock went on, nothing ran
    await berth.turn(35)
    assert berth.times == ["2026-11-23 20:17:25 +0000 UTC", "2026-11-23 20:18:00 +0000 UTC"]


async def test_a_schedule_goes_by_local_time(berth: Berth, zone: Any) -> None:
    zone("Europe/Paris")
    await berth.listen("0 0 6 * * *")
    await berth.turn(86400)
    assert berth.times == ["2026-11-24 05:00:00 +0000 UTC"]


async def test_a_clock_change_between_now_and_then_is_heeded(berth: Berth, zone: Any) -> None:
    zone("Europe/Paris")
    berth.clock._now = datetime(2026, 10, 24, 20, tzinfo=UTC).timestamp()  # an hour is added that night
    await berth.listen("0 0 6 * * *")
    await berth.turn(86400)
    assert berth.times == ["2026-10-25 05:00:00 +0000 UTC"]


async def test_the_hour_that_comes_twice_ends(berth: Berth, zone: Any) -> None:
    zone("Europe/Paris")
    berth.clock._now = datetime(2026, 10, 25, 0, 15, tzinfo=UTC).timestamp()
    await berth.listen("0 30 * * * *")
    await berth.turn(2 * 3600)
    assert berth.times == ["2026-10-25 00:30:00 +0000 UTC", "2026-10-25 01:30:00 +0000 UTC"]


async def test_a_schedule_may_name_its_own_zone(berth: Berth, zone: Any) -> None:
    zone("UTC")
    await berth.listen("CRON_TZ=Asia/Tokyo 0 0 6 * * *")
    await berth.turn(86400)
    assert berth.times == ["2026-11-23 21:00:00 +0000 UTC"]


async def test_closing_the_binding_ends_its_ticks(berth: Berth) -> None:
    await berth.listen("@every 1s")
    await berth.close()
    await berth.turn(5)
    assert berth.got == []
