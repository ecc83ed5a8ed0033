"""The resolver: several drivers in order, answers remembered for a moment, the dead forgotten."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.pair import Known
from support.waiting import eventually

from pillion.contracts.words import Unavailable
from pillion.services.names import EMPTY_TRIES, Resolver
from pillion.testing.clock import HandClock


class Broken(Known):
    """A resolver in trouble."""

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        raise Unavailable("the file is locked")


@asynccontextmanager
async def resolving(*drivers: Known) -> AsyncIterator[tuple[Resolver, HandClock]]:
    clock = HandClock()
    made = Resolver(list(drivers), clock)  # type: ignore[arg-type]
    try:
        yield made, clock
    finally:
        await made.close()


async def test_the_first_driver_that_knows_somebody_is_believed() -> None:
    registry, air = Known({"a": ["x"]}), Known({"a": ["y"], "b": ["z"]})
    async with resolving(registry, air) as (names, _):
        assert await names.addresses("a", "") == ["x"]
        assert await names.addresses("b", "") == ["z"]


async def test_a_fresh_answer_is_not_asked_for_again() -> None:
    known = Known({"a": ["x"]})
    async with resolving(known) as (names, clock):
        for _ in range(5):
            await names.addresses("a", "")
        assert known.asked == 1
        await clock.advance(1.5)
        known.apps["a"] = ["y"]
        assert await names.addresses("a", "") == ["x"], "the old answer serves while a new one is fetched"
        await eventually(lambda: known.asked == 2)
        assert await names.addresses("a", "") == ["y"]


async def test_replicas_take_turns() -> None:
    async with resolving(Known({"a": ["x", "y", "z"]})) as (names, _):
        firsts = [(await names.addresses("a", ""))[0] for _ in range(6)]
        assert sorted(firsts) == ["x", "x", "y", "y", "z", "z"]


async def test_an_address_that_was_dropped_is_not_offered_and_the_drivers_are_told() -> None:
    known = Known({"a": ["x", "y"]})
    async with resolving(known) as (names, _):
        await names.addresses("a", "")
        names.drop("a", "", "x")
        assert await names.addresses("a", "") == ["y"] and known.dropped == ["x"]


async def test_nobody_is_believed_only_after_several_tries() -> None:
    known = Known()
    async with resolving(known) as (names, clock):
        asked = asyncio.get_running_loop().create_task(names.addresses("a", ""))
        while not asked.done():
            await clock.advance(0.1)
        assert await asked == [] and known.asked == EMPTY_TRIES


async def test_somebody_who_appears_meanwhile_is_found() -> None:
    known = Known()
    async with resolving(known) as (names, clock):
        asked = asyncio.get_running_loop().create_task(names.addresses("a", ""))
        await eventually(lambda: clock.sleepers)
        known.apps["a"] = ["x"]
        await clock.advance(0.1)
        assert await asked == ["x"]


async def test_a_driver_in_trouble_is_passed_over() -> None:
    async with resolving(Broken(), Known({"a": ["x"]})) as (names, _):
        assert await names.addresses("a", "") == ["x"]


async def test_a_registry_that_lost_somebody_is_not_believed_at_once() -> None:
    known = Known({"a": ["x"]})
    async with resolving(known) as (names, clock):
        await names.addresses("a", "")
        known.apps.clear()
        await clock.advance(2)
        assert await names.addresses("a", "") == ["x"]
        await clock.advance(10)
        asked = asyncio.get_running_loop().create_task(names.addresses("a", ""))
        while not asked.done():
            await clock.advance(0.1)
        assert await asked == []
