"""The bell between processes: heard on both kinds of sockets, and never in the ringer's way."""

from collections.abc import AsyncIterator

import pytest
from support.waiting import eventually

from pillion.drivers.pubsub.sqlite.bell import Bell


class Ear:
    """A bell and what it was rung for."""

    def __init__(self, *, abstract: bool) -> None:
        self.heard: list[str] = []
        self.bell = Bell(self.heard.append, abstract=abstract)


@pytest.fixture(params=[True, False], ids=["unix", "udp"])
async def ears(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Ear, Ear]]:
    pair = Ear(abstract=request.param), Ear(abstract=request.param)
    for ear in pair:
        await ear.bell.open()
    yield pair
    for ear in pair:
        ear.bell.close()


async def test_a_bell_says_what_to_look_at(ears: tuple[Ear, Ear]) -> None:
    one, two = ears
    one.bell.ring(two.bell.address, "7")
    await eventually(lambda: two.heard == ["7"])
    assert one.heard == []


async def test_ones_own_bell_is_heard_at_once(ears: tuple[Ear, Ear]) -> None:
    one, _ = ears
    one.bell.ring(one.bell.address, "7")
    assert one.heard == ["7"]


async def test_a_dead_or_foreign_address_is_passed_over(ears: tuple[Ear, Ear]) -> None:
    one, two = ears
    gone = two.bell.address
    two.bell.close()
    for address in (gone, "unix:nobody", "udp:1", "udp:what", ""):
        one.bell.ring(address, "7")


async def test_a_socket_nobody_empties_does_not_hold_the_ringer(ears: tuple[Ear, Ear]) -> None:
    one, two = ears
    for _ in range(20_000):
        one.bell.ring(two.bell.address, "7")
    await eventually(lambda: "7" in two.heard)


async def test_closing_twice_is_safe(ears: tuple[Ear, Ear]) -> None:
    one, two = ears
    one.bell.close()
    one.bell.close()
    one.bell.ring(two.bell.address, "7")
