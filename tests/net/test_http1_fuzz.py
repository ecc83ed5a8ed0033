"""Whatever bytes come, in whatever pieces: an answer or a close, and never a crash or a handler misled."""

import asyncio
import random

import pytest
from support.http1 import Raw, scripted, serving

from pillion.net.http import HttpLimits, Request, Responder
from pillion.net.http1.server import ServerConnection, Site
from pillion.net.http_client import Http1Client
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Stream, discard, whole

SEEDS = (
    b"GET /v1.0/state/a/b?c=d HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\nContent-Type: text/plain\r\n\r\nhello world",
    b"PUT /q HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: u\r\n\r\n",
    b"POST /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
    b"GET http://a/b HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
)
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nDate: x\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nT: u\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.0 200 OK\r\n\r\nuntil the end",
)
TWISTS = (
    b"\r\n",
    b"\n",
    b"\r",
    b"\x00",
    b" ",
    b":",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"\xff",
    b"0",
    b"f" * 20,
)


class Sink:
    """A transport that remembers what was written and closes when told, as a real one does."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.over = False

    def write(self, data: bytes) -> None:
        assert not self.over
        self.written.append(data)

    def write_eof(self) -> None:
        self.over = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    abort = close

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return ("127.0.0.1", 1)


def twisted(chance: random.Random, seeds: tuple[bytes, ...]) -> bytes:
    data = bytearray(b"".join(chance.choices(seeds, k=chance.randint(1, 3))))
    for _ in range(chance.randint(0, 4)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0:
                data[at:at] = chance.choice(TWISTS)
            case 1:
                del data[at : at + chance.randint(1, 8)]
            case 2:
                data[at : at + 1] = bytes((chance.randrange(256),))
            case _:
                data[at:at] = data[: chance.randrange(len(data) + 1)]
    return bytes(data)


def pieces(chance: random.Random, data: bytes) -> list[bytes]:
    cuts = sorted(chance.choices(range(len(data) + 1), k=chance.randint(0, 6)))
    return [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True) if a < b]


@pytest.mark.parametrize("seed", range(8))
async def test_a_server_survives_any_bytes(seed: int):
    chance, wheel = random.Random(seed), Wheel()
    kept: list[tuple[Request, Responder]] = []

    def handler(request: Request, responder: Responder) -> None:
        responder.on_disconnect(lambda: None)
        if chance.random() < 0.5:
            kept.append((request, responder))
        else:
            responder.respond(chance.choice((200, 204, 304, 404)), [(b"a", b"b")], request.body)

    site = Site(handler, HttpLimits(header_bytes=300, body_bytes=chance.choice((None, 8))), wheel)
    for _ in range(400):
        data = twisted(chance, SEEDS)
        sink, connection = Sink(), ServerConnection(site)
        connection.connection_made(sink)  # type: ignore[arg-type]
        for piece in pieces(chance, data):
            if sink.closed:
                break
            connection.data_received(piece)
            if kept and chance.random() < 0.7:
                request, responder = kept.pop()
                responder.respond(200, [], b"" if chance.random() < 0.5 else request.body)
        connection.connection_lost(None)
        for request, _ in kept:
            discard(request.body)
        kept.clear()
        for answer in filter(None, b"".join(sink.written).split(b"HTTP/1.1 ")[1:]):
            assert answer[:3] in (b"100", b"200", b"204", b"304", b"404", b"400", b"417", b"431"), (
                data,
                sink.written,
            )
    assert not site.connections
    wheel.close()


@pytest.mark.parametrize("seed", range(4))
async def test_pieces_do_not_change_what_a_handler_sees(seed: int):
    chance, wheel = random.Random(seed), Wheel()
    for _ in range(150):
        data = b"".join(chance.choices(SEEDS[:4], k=3))
        seen: list[list[object]] = [[], []]
        for at, split in enumerate(([data], pieces(chance, data))):
            waiting: list[tuple[Request, Responder]] = []
            site = Site(
                lambda request, responder, waiting=waiting: waiting.append((request, responder)),
                HttpLimits(),
                wheel,
            )
            connection = ServerConnection(site)
            connection.connection_made(Sink())  # type: ignore[arg-type]
            for piece in split:
                connection.data_received(piece)
            while waiting:
                request, responder = waiting.pop()
                seen[at].append((request.method, request.target, request.headers, await whole(request.body)))
                responder.respond(200, [])
            connection.connection_lost(None)
        assert seen[0] == seen[1] and len(seen[0]) == 3
    wheel.close()


async def test_over_a_socket_any_bytes_end_in_an_answer_or_a_close():
    chance = random.Random(1)
    limits = HttpLimits(header_timeout=0.05, idle_timeout=0.05)
    wheel = Wheel(tick=0.02)
    async with serving(
        lambda request, responder: responder.respond(200, [], request.body), limits, wheel=wheel
    ) as (_, port):
        for _ in range(25):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for piece in pieces(chance, twisted(chance, SEEDS)):
                writer.write(piece)
                await asyncio.sleep(0)
            try:
                answer = await reader.read()
                assert not answer or answer.startswith(b"HTTP/1.1 ")
            except ConnectionError:
                pass
            writer.close()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(SEEDS[0])
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
    wheel.close()


async def test_a_client_survives_any_answer():
    chance = random.Random(2)

    async def script(raw: Raw) -> None:
        await raw.reader.readuntil(b"\r\n\r\n")
        for piece in pieces(chance, twisted(chance, ANSWERS)):
            raw.send(piece)
            await asyncio.sleep(0)

    async with scripted(script) as port:
        client = Http1Client("127.0.0.1", port)
        for _ in range(150):
            try:
                answer = await client.request(b"GET", b"/", [], timeout=2.0)
                if isinstance(answer.body, Stream):
                    await answer.body.read_all()
            except ConnectionError:
                pass
        await client.close()
