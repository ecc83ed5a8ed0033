"""Multicast DNS: the packets, and sidecars that find each other where packets arrive."""

import asyncio
import logging
import socket

import pytest
from support.segment import NearNames, Segment
from support.waiting import eventually

from pillion.contracts.names import Announcement
from pillion.drivers.names.mdns.air import Air
from pillion.drivers.names.mdns.driver import MdnsNames, MdnsNamesSettings
from pillion.drivers.names.mdns.packets import (
    PTR,
    SRV,
    TXT,
    A,
    BadPacket,
    Packet,
    Question,
    Record,
    decode,
    encode,
)
from pillion.plug.component import Context
from pillion.testing.clock import HandClock
from pillion.toolbox.tasks import Crew

SIGN = (
    Record(("orders", "local"), PTR, 120, ("box:7", "orders", "local")),
    Record(("box:7", "orders", "local"), SRV, 120, (5002, ("box", "local")), unique=True),
    Record(("box:7", "orders", "local"), TXT, 120, [b"orders"], unique=True),
    Record(("box", "local"), A, 120, "10.0.0.7"),
)


async def opened(segment: Segment, clock: HandClock) -> NearNames:
    made = NearNames(MdnsNamesSettings(), Context(name="mdns", clock=clock, crew=Crew("mdns")))
    made.segment = segment
    await made.open()
    return made


async def test_a_sidecar_is_found_by_asking_and_gone_by_its_goodbye() -> None:
    segment, clock = Segment(), HandClock()
    one, other = await opened(segment, clock), await opened(segment, clock)
    sign = await one.announce(Announcement("Orders", "", "10.0.0.7", 5002))
    assert await other.resolve("Orders", "") == ["10.0.0.7:5002"]
    await sign.close()
    await eventually(lambda: not other._known["Orders"].until)
    await one.close()
    await other.close()


async def test_what_was_heard_of_is_believed_in_for_a_minute_and_asked_again_after_half() -> None:
    segment, clock = Segment(), HandClock()
    made = await opened(segment, clock)
    asked = asyncio.get_running_loop().create_task(made.resolve("orders", ""))
    await eventually(lambda: segment.said)
    segment.say(encode(Packet(records=SIGN)), None)
    assert await asked == ["10.0.0.7:5002"]
    questions = len([packet for packet in segment.said if packet.questions])
    await clock.advance(31)
    assert await made.resolve("orders", "") == ["10.0.0.7:5002"]
    assert len([packet for packet in segment.said if packet.questions]) == questions + 1
    await clock.advance(30)
    assert made._known["orders"].until["10.0.0.7:5002"] < clock.monotonic()
    await made.close()


async def test_a_dropped_address_is_forgotten() -> None:
    segment, clock = Segment(), HandClock()
    made = await opened(segment, clock)
    asked = asyncio.get_running_loop().create_task(made.resolve("orders", ""))
    await eventually(lambda: segment.said)
    segment.say(encode(Packet(records=SIGN)), None)
    await asked
    made.drop("orders", "10.0.0.7:5002")
    assert await made.resolve("orders", "") == []
    await made.close()


async def test_a_service_of_another_kind_is_no_sidecar() -> None:
    segment, clock = Segment(), HandClock()
    made = await opened(segment, clock)
    asked = asyncio.get_running_loop().create_task(made.resolve("orders", ""))
    await eventually(lambda: segment.said)
    segment.say(encode(Packet(records=(SIGN[0], SIGN[1], SIGN[3]))), None)
    assert await asked == []
    assert await made.resolve("orders", "") == [], "nobody is asked twice in a row"
    await made.close()


async def test_a_host_without_multicast_stays_silent(caplog: pytest.LogCaptureFixture) -> None:
    def nothing(self: Air) -> socket.socket:
        raise OSError("no such network")

    made = MdnsNames(MdnsNamesSettings(), Context(name="mdns", clock=HandClock(), crew=Crew("mdns")))
    original, Air._bound = Air._bound, nothing  # type: ignore[method-assign]
    try:
        await made.open()
    finally:
        Air._bound = original  # type: ignore[method-assign]
    await made.announce(Announcement("a", "", "10.0.0.1", 1))
    assert await made.resolve("b", "") == []
    await made.close()
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


async def test_two_real_sockets_find_each_other_where_there_is_multicast() -> None:
    heard: list[bytes] = []
    one = Air(lambda data, _: heard.append(data), logging.getLogger("test"), port=15353)
    other = Air(lambda data, _: None, logging.getLogger("test"), port=15353)
    await one.open()
    await other.open()
    try:
        if not (one.is_open and other.say(b"hello")):
            pytest.skip("this host has no multicast")
        await eventually(lambda: b"hello" in heard)
    finally:
        one.close()
        other.close()


def test_packets_read_as_they_were_written() -> None:
    packet = Packet((Question(("orders", "local"), PTR, unicast=True),), SIGN, 7)
    assert decode(encode(packet)) == packet


def test_compressed_names_are_followed_back() -> None:
    name = b"\x06orders\x05local\x00"
    data = b"\0\0\x84\0\0\0\0\1\0\0\0\0" + name + b"\0\x0c\0\1\0\0\0\x78\0\x08" + b"\x05box:7\xc0\x0c"
    assert decode(data).records == (Record(("orders", "local"), PTR, 120, ("box:7", "orders", "local")),)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 11,
        b"\0\0\0\0\0\1\0\0\0\0\0\0\xc0\x0c",
        b"\0\0\0\0\0\1\0\0\0\0\0\0\x05ab",
        b"\0\0\0\0\0\0\0\1\0\0\0\0\0\0\1\0\1\0\0\0\0\0\x09a",
    ],
)
def test_what_is_no_message_is_said_to_be_none(data: bytes) -> None:
    with pytest.raises(BadPacket):
        decode(data)
