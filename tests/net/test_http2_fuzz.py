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
from pillion.net.http2.hpack import STATIC, TABLE_BYTES, Decoder, HpackError, encode
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


class Plain:
    """RFC 7541 read word by word: remembers nothing but the table."""

    def __init__(self, list_bytes: int) -> None:
        self.list_bytes = list_bytes
        self.table: list[tuple[bytes, bytes]] = []  # newest first
        self.limit = TABLE_BYTES

    def decode(self, block: bytes) -> tuple[list[tuple[bytes, bytes]], bool]:
        """The fields that fit, and whether some did not. Raises HpackError, HuffmanError or IndexError."""
        self.block, self.pos = block, 0
        found: list[tuple[bytes, bytes]] = []
        size, begun = 0, False
        while self.pos < len(block):
            byte = block[self.pos]
            if byte & 0xE0 == 0x20:
                self.resized(self.number(5), begun)
                continue
            begun = True
            if byte & 0x80:
                field = self.at(self.number(7))
            else:
                index = self.number(6 if byte & 0x40 else 4)
                field = (self.at(index)[0] if index else self.string(), self.string())
                if byte & 0x40:
                    self.table.insert(0, field)
                    self.shrink()
            size += len(field[0]) + len(field[1]) + 32
            if size <= self.list_bytes:
                found.append(field)
        return found, size > self.list_bytes

    def resized(self, limit: int, begun: bool) -> None:
        if begun or limit > TABLE_BYTES:
            raise HpackError
        self.limit = limit
        self.shrink()

    def shrink(self) -> None:
        while sum(len(name) + len(value) + 32 for name, value in self.table) > self.limit:
            self.table.pop()

    def at(self, index: int) -> tuple[bytes, bytes]:
        if not index:
            raise HpackError
        return STATIC[index] if index < 62 else self.table[index - 62]

    def number(self, bits: int) -> int:
        full = (1 << bits) - 1
        value = self.block[self.pos] & full
        self.pos += 1
        shift = 0
        while value >= full and (shift == 0 or self.block[self.pos - 1] & 0x80):
            value += (self.block[self.pos] & 0x7F) << shift
            self.pos += 1
            shift += 7
            if shift == 35 and self.block[self.pos - 1] & 0x80:
                raise HpackError
        return value

    def string(self) -> bytes:
        packed = self.block[self.pos] & 0x80
        length = self.number(7)
        text = self.block[self.pos : self.pos + length]
        if len(text) < length:
            raise HpackError
        self.pos += length
        return unpack(text) if packed else text


def spelled(
    chance: random.Random, table: list[tuple[bytes, bytes]], field: tuple[bytes, bytes], way: int
) -> bytes:
    """A field as some client says it; `way` 0x40 enters it into the table, 0x10 is never to be stored."""
    known = [*STATIC, *table]
    if field in known[1:] and chance.random() < 0.95:
        return integer(known.index(field, 1), 7, 0x80)
    names = [index for index, (name, _) in enumerate(known) if index and name == field[0]]
    if not names or chance.random() < 0.1:
        start = bytes((way,)) + word(chance, field[0])
    else:
        start = integer(62 if 62 in names else chance.choice(names), 6 if way == 0x40 else 4, way)
    return start + word(chance, field[1])


def word(chance: random.Random, text: bytes) -> bytes:
    said, mark = (pack(text), 0x80) if chance.random() < 0.5 else (text, 0)
    return integer(len(said), 7, mark) + said


def integer(value: int, bits: int, mark: int) -> bytes:
    full = (1 << bits) - 1
    if value < full:
        return bytes((mark | value,))
    out, value = bytearray((mark | full,)), value - full
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*out, value))


def said(chance: random.Random, plain: Plain, usual: list[tuple[bytes, bytes]]) -> bytes:
    """One block of a client that says the same again and again, but for what changes with each call, and now and then more."""
    names = (b"grpc-timeout", b"traceparent", b"tracestate", b"x-odd", b"cookie")
    block, table = bytearray(), plain.table.copy()
    if chance.random() < 0.03:
        block += integer(chance.choice((0, 40, 200, 1000, 4096, 4096, 4097)), 5, 0x20)
    changing = [(chance.choice(names[:2]), b"%du" % chance.randrange(10**6))] if chance.random() < 0.9 else []
    if chance.random() < 0.1:
        changing.append((chance.choice(names), b"v" * chance.choice((0, 1, 90, 126, 127, 128, 300, 4200))))
    for field in usual + changing:
        way = 0x40 if chance.random() < 0.9 else chance.choice((0, 0x10))
        piece = spelled(chance, table, field, way)
        block += piece
        if piece[0] & 0xC0 == 0x40:
            table.insert(0, field)
    return mangled(chance, bytes(block)) if chance.random() < 0.02 else bytes(block)


def test_blocks_are_read_as_by_a_decoder_that_remembers_nothing() -> None:
    read = broken = 0
    for chance in rounds(4):
        limit = chance.choice((200, 400, 65536, 65536))
        plain, reading = Plain(limit), Decoder(limit)
        shapes = [fields(chance) for _ in range(chance.randrange(1, 4))]
        for _ in range(chance.randrange(1, 150)):
            block = said(chance, plain, chance.choice(shapes[:1] * 5 + shapes))
            try:
                wanted = plain.decode(block)
            except (HpackError, HuffmanError, IndexError):
                with pytest.raises(HpackError):
                    reading.decode(block)
                broken += 1
                break
            found = reading.decode(block)
            assert found.oversize == wanted[1]
            assert found.oversize or found.fields == wanted[0]
            read += 1
    assert read > 500
    assert broken > 2


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
