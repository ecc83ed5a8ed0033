"""Bytes nobody should send: no parser may fail in a way it does not declare, or stop serving others."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import pytest
from support.grpc import Echo

from pillion.net.grpc import GrpcChannel, GrpcServer
from pillion.net.grpc.channel import AskedCall, LaneAsked
from pillion.net.grpc.messages import Assembly
from pillion.net.grpc.server import ServerConnection
from pillion.net.http import HttpLimits, Request, Responder
from pillion.net.http2 import Http2ServerProtocol
from pillion.net.http2.client import ClientConnection
from pillion.net.http2.frames import LANE, LANE_CALLS, PREFACE, frame, settings_frame
from pillion.net.http2.hpack import Decoder, HpackError, encode
from pillion.net.http2.huffman import HuffmanError, pack, unpack
from pillion.net.http2.limits import Http2Limits
from pillion.net.rpc import LaneCall, RpcError
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import discard

SECONDS = 1.5


def rounds(seed: int, seconds: float = SECONDS) -> Any:
    """Seeded generators until the time is over: the same order of trouble each run."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        seed += 1
        yield random.Random(seed)


def fields(chance: random.Random) -> list[tuple[bytes, bytes]]:
    names = [b":method", b":path", b":scheme", b":authority", b"te", b"content-type", b"content-length", b"x-a-bin",
             b"grpc-timeout", b"grpc-encoding", b"Bad Name", b"connection", b"cookie", b""]  # fmt: skip
    values = [b"POST", b"GET", b"/echo.Echo/Unary", b"/echo.Echo/Both", b"http", b"trailers", b"application/grpc", b"3",
              b"1n", b"gzip", b"\0", b"%%%", b"a,b", b"v" * 300]  # fmt: skip
    usual = [
        (b":method", b"POST"),
        (b":path", b"/echo.Echo/Both"),
        (b":scheme", b"http"),
        (b"content-type", b"application/grpc"),
    ]
    extra = [(chance.choice(names), chance.choice(values)) for _ in range(chance.randrange(4))]
    return usual + extra if chance.random() < 0.7 else extra


def mangled(chance: random.Random, data: bytes) -> bytes:
    """A few bytes changed, cut out or doubled."""
    out = bytearray(data)
    for _ in range(chance.randrange(4)):
        at = chance.randrange(len(out) + 1)
        match chance.randrange(3):
            case 0:
                out[at : at + 1] = bytes((chance.randrange(256),))
            case 1:
                del out[at : at + chance.randrange(5)]
            case _:
                out[at:at] = out[at : at + chance.randrange(9)]
    return bytes(out)


def any_frame(chance: random.Random) -> bytes:
    sid = chance.choice((0, 1, 1, 3, 3, 5, 7, 2, 2**31 - 1))
    kind = chance.choice((0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, 77, LANE, LANE))
    flags = chance.choice((0, 1, 4, 5, 5, 8, 0x20, 0x2D, 255))
    match kind:
        case 1 | 9:
            payload = encode(fields(chance))
        case 0:
            payload = chance.choice(
                (b"", b"\0\0\0\0\1x", b"\1\0\0\0\2xy", b"\0\xff\xff\xff\xff", bytes(16384))
            )
        case 4:
            key = chance.choice((*range(8), LANE_CALLS))
            payload = settings_frame({key: chance.choice((0, 1, 65535, 2**31, 2**32 - 1))})[9:]
        case 0xF1:
            payload = chance.choice((b"", b"\0\0\0", bytes(4), b"\0\0\0\1x", b"\0\0\0\0" + bytes(16380)))
        case _:
            payload = chance.randbytes(chance.choice((0, 4, 4, 5, 6, 8, 8, 17)))
    return frame(kind, flags, sid, payload)


class Wire:
    """A transport that goes nowhere."""

    def __init__(self) -> None:
        self.closed = False
        self.written = 0

    def write(self, data: bytes) -> None:
        self.written += len(data)

    def get_extra_info(self, name: str) -> Any:
        return ("127.0.0.1", 1)

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.closed = True

    abort = close


def test_any_bytes_are_a_block_or_an_error() -> None:
    for chance in rounds(1):
        reading = Decoder(4096)
        for _ in range(8):
            block = (
                chance.randbytes(chance.randrange(60))
                if chance.random() < 0.5
                else mangled(chance, encode(fields(chance)))
            )
            try:
                found = reading.decode(block)
            except HpackError:
                break
            assert all(isinstance(name, bytes) and isinstance(value, bytes) for name, value in found.fields)


def test_any_bytes_are_a_packed_string_or_an_error() -> None:
    for chance in rounds(2, 1.0):
        text = chance.randbytes(chance.randrange(40))
        assert unpack(pack(text)) == text
        try:
            again = unpack(text)
        except HuffmanError:
            continue
        assert pack(again) == text


def test_any_bytes_are_messages_or_an_error() -> None:
    for chance in rounds(3, 1.0):
        whole = b"".join(
            b"\0" + len(m).to_bytes(4, "big") + m
            for m in (chance.randbytes(chance.randrange(50)) for _ in range(3))
        )
        assembly = Assembly(100, chance.choice((b"", b"gzip")))
        data = mangled(chance, whole)
        try:
            while data:
                cut = chance.randrange(1, 40)
                for message in assembly.feed(data[:cut]):
                    assert len(message) <= 100
                data = data[cut:]
        except RpcError:
            continue


async def storm(make: Callable[[], Any], seed: int) -> int:
    """Many connections of nonsense, in odd pieces; how many lived to the end of theirs."""
    lived = 0
    for chance in rounds(seed):
        connection, wire = make(), Wire()
        connection.connection_made(wire)
        offer = {LANE_CALLS: 1} if chance.random() < 0.7 else {}
        data = settings_frame(offer) + b"".join(any_frame(chance) for _ in range(chance.randrange(20)))
        data = PREFACE + data if connection.is_server else data
        data = mangled(chance, data) if chance.random() < 0.3 else data
        while data and not wire.closed:
            cut = chance.choice((1, 9, 24, 60, 5000, 1 << 20))
            connection.data_received(data[:cut])
            data = data[cut:]
        await asyncio.sleep(0)
        lived += not wire.closed
        connection.connection_lost(None)
        assert not connection.streams and not connection._held
    return lived


@pytest.mark.timeout(30)
async def test_a_grpc_connection_survives_or_says_why() -> None:
    server = GrpcServer(Echo())
    assert await storm(lambda: ServerConnection(server), 4) > 0
    await server.close()
    assert not server.connections and not server.calls


@pytest.mark.timeout(30)
async def test_a_connection_with_a_lane_survives_or_says_why() -> None:
    carried: list[int] = []

    async def lane(call: LaneCall, message: bytes) -> bytes | None:
        carried.append(len(message))
        if len(message) % 3 == 1:
            await asyncio.sleep(0)
        if call.fits(len(message)):
            return message
        await call.send(message, end=True)
        return None

    echo = Echo()
    server = GrpcServer(echo, lane=(b"/echo.Echo/Lane", lane))
    assert await storm(lambda: ServerConnection(server), 6) > 0
    await server.close()
    assert not server.connections and not server.calls and len(carried) > 20
    assert len([path for path, *_ in echo.done if path == b"/echo.Echo/Lane"]) == len(carried)


@pytest.mark.timeout(30)
async def test_a_client_with_a_lane_survives_or_says_why() -> None:
    channel = GrpcChannel("127.0.0.1", 9, lane=True)
    wheel = Wheel()
    calls: list[AskedCall] = []

    def connection() -> ClientConnection:
        made = ClientConnection(Http2Limits(lane=True), wheel, lambda: None, lambda _: None)
        for number in range(4):
            calls.append((LaneAsked if number % 2 else AskedCall)(channel, made))
        return made

    assert await storm(connection, 7) > 0
    assert all(call._done for call in calls)
    answers = [call.reply for call in calls if isinstance(call, LaneAsked)]
    assert len([answer for answer in answers if not answer.exception() and answer.result() is not None]) > 20
    wheel.close()
    await channel.close()


@pytest.mark.timeout(30)
async def test_an_http_connection_survives_or_says_why() -> None:
    def answer(request: Request, responder: Responder) -> None:
        if len(request.target) % 2:
            discard(request.body)
            responder.respond(200, [(b"x-y", b"z")], b"v" * 100_000)
        else:
            responder.respond(200, [], request.body)

    wheel = Wheel()
    assert await storm(lambda: Http2ServerProtocol(answer, HttpLimits(body_bytes=50_000), wheel), 5) > 0
    wheel.close()
