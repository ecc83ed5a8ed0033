"""HTTP over HTTP/2 on loopback: our client against our server, and raw frames against both servers' patience."""

import asyncio
import base64
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.grpc import Echo, served
from support.http2 import RawClient
from support.waiting import eventually

from pillion.net.grpc import GrpcServer
from pillion.net.grpc.server import ServerConnection
from pillion.net.http import HttpLimits, Request, Responder
from pillion.net.http2 import Http2Client, Http2ServerProtocol
from pillion.net.http2.connection import CONNECTION_WINDOW, CROWDED_BYTES, GROWTH_BYTES
from pillion.net.http2.frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LANE,
    LANE_CALLS,
    LANE_VERSION,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    reset_frame,
    settings_frame,
    window_frame,
)
from pillion.net.http2.hpack import encode
from pillion.net.listen import HttpServer
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import BodyTooLarge, Stream, StreamClosed, discard, whole

Handler = Callable[[Request, Responder], None]


@asynccontextmanager
async def serving(
    handler: Handler, limits: HttpLimits | None = None
) -> AsyncIterator[tuple[int, HttpServer]]:
    limits, wheel = limits or HttpLimits(), Wheel()
    made = functools.partial(Http2ServerProtocol, handler, limits, wheel)
    server = HttpServer(handler, limits, wheel=wheel, http2=made)
    [(_, port)] = await server.listen(["127.0.0.1"], 0)
    try:
        yield port, server
    finally:
        await server.close()
        wheel.close()


@asynccontextmanager
async def asked(handler: Handler, limits: HttpLimits | None = None) -> AsyncIterator[Http2Client]:
    async with serving(handler, limits) as (port, _):
        client = Http2Client("127.0.0.1", port)
        yield client
        await client.close()


def echo(request: Request, responder: Responder) -> None:
    responder.respond(200, [(b"x-target", request.target), (b"connection", b"close")], request.body)


def get(path: bytes = b"/", **more: bytes) -> bytes:
    extra = [(name.encode().replace(b"_", b"-"), value) for name, value in more.items()]
    return encode(
        [(b":method", b"GET"), (b":scheme", b"http"), (b":path", path), (b":authority", b"x"), *extra]
    )


def streamed(*chunks: bytes) -> Stream:
    stream = Stream()
    for chunk in chunks:
        stream.push(chunk)
    stream.finish()
    return stream


# Requests and answers.


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
async def test_a_body_of_any_size_goes_there_and_back(size: int) -> None:
    async with asked(echo) as client:
        answer = await client.request(b"POST", b"/a?b=c", [(b"x-y", b"z")], b"b" * size)
        assert (answer.status, answer.header(b"x-target")) == (200, b"/a?b=c")
        assert await whole(answer.body) == b"b" * size and isinstance(answer.body, bytes) == (size <= 65_536)
        assert answer.header(b"connection") is None and answer.header(b"date")


async def test_a_stream_goes_there_and_back() -> None:
    async with asked(echo) as client:
        answer = await client.request(b"POST", b"/", [], streamed(b"a" * 200_000, b"b" * 200_000))
        assert await whole(answer.body) == b"a" * 200_000 + b"b" * 200_000


async def test_many_requests_share_one_connection() -> None:
    peers = set()

    def note(request: Request, responder: Responder) -> None:
        peers.add(request.peer)
        responder.respond(200, [], request.target)

    async with asked(note) as client:
        work = [client.request(b"GET", b"/%d" % n, []) for n in range(100)]
        assert [answer.body for answer in await asyncio.gather(*work)] == [b"/%d" % n for n in range(100)]
    assert len(peers) == 1


async def test_an_answer_to_head_has_a_length_and_no_body() -> None:
    async with asked(lambda _, responder: responder.respond(200, [], b"12345")) as client:
        answer = await client.request(b"HEAD", b"/", [])
    assert (answer.header(b"content-length"), answer.body) == (b"5", b"")


async def test_the_host_is_the_authority_and_cookies_come_in_one_piece() -> None:
    seen: list[Request] = []

    def note(request: Request, responder: Responder) -> None:
        seen.append(request)
        responder.respond(204, [])

    async with asked(note) as client:
        await client.request(
            b"GET", b"/", [(b"host", b"app.example"), (b"cookie", b"a=1"), (b"cookie", b"b=2")]
        )
    assert (
        seen[0].host == b"app.example"
        and seen[0].header(b"cookie") == b"a=1; b=2"
        and seen[0].version == b"2"
    )


async def test_a_handler_that_crashes_costs_one_answer(caplog: pytest.LogCaptureFixture) -> None:
    def crash(request: Request, responder: Responder) -> None:
        if request.target == b"/crash":
            raise ZeroDivisionError("a secret")
        responder.respond(200, [], b"fine")

    async with asked(crash) as client:
        assert (await client.request(b"GET", b"/crash", [])).status == 500
        assert (await client.request(b"GET", b"/", [])).body == b"fine"
    assert "a secret" in caplog.text


async def test_an_answer_that_breaks_off_is_not_taken_for_whole() -> None:
    def broken(_: Request, responder: Responder) -> None:
        body = Stream()
        responder.respond(200, [], body)
        body.push(b"half")
        body.abort()

    async with asked(broken) as client:
        answer = await client.request(b"GET", b"/", [])
        with pytest.raises(StreamClosed):
            await whole(answer.body)


async def test_no_answer_in_time_is_a_timeout_and_tells_the_server() -> None:
    gone = asyncio.Event()
    async with asked(lambda _, responder: responder.on_disconnect(gone.set)) as client:
        with pytest.raises(TimeoutError):
            await client.request(b"GET", b"/", [], timeout=0.05)
        await gone.wait()


async def test_nobody_listening_is_refused() -> None:
    client = Http2Client("127.0.0.1", 1)
    with pytest.raises(ConnectionRefusedError):
        await client.request(b"GET", b"/", [])
    await client.close()


async def test_a_body_past_the_limit_is_aborted() -> None:
    def read(request: Request, responder: Responder) -> None:
        assert isinstance(request.body, Stream)
        request.body.attach(
            lambda _: None,
            lambda error: responder.respond(413 if isinstance(error, BodyTooLarge) else 200, []),
        )

    async with asked(read, HttpLimits(body_bytes=100_000)) as client:
        assert (await client.request(b"POST", b"/", [], b"b" * 200_000)).status == 413
        assert (await client.request(b"POST", b"/", [], streamed(b"b" * 200_000))).status == 413
        assert (await client.request(b"POST", b"/", [], b"b" * 100_000)).status == 200


async def test_too_large_a_head_is_431_and_the_connection_lives() -> None:
    async with asked(echo, HttpLimits(header_bytes=4096)) as client:
        assert (await client.request(b"GET", b"/", [(b"x-long", b"v" * 5000)])).status == 431
        assert (await client.request(b"GET", b"/", [])).status == 200


async def test_an_http1_client_may_upgrade() -> None:
    async with serving(echo) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        settings = base64.urlsafe_b64encode(settings_frame({INITIAL_WINDOW_SIZE: 70_000})[9:]).rstrip(b"=")
        writer.write(
            b"GET /up HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
            b"HTTP2-Settings: " + settings + b"\r\n\r\n"
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        raw = RawClient(reader, writer)
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame({}))
        head, _, _ = await raw.answer()
        raw.sid = 1
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, get(b"/next")))
        after, _, _ = await raw.answer()
        raw.close()
    assert dict(head)[b"x-target"] == b"/up" and dict(after)[b"x-target"] == b"/next"


# Flow control and fairness.


async def test_a_slow_reader_holds_back_only_its_own_stream() -> None:
    def big(_: Request, responder: Responder) -> None:
        responder.respond(200, [], b"v" * 1_000_000)

    async with serving(big) as (port, _):
        raw = await RawClient.greeted(port, {INITIAL_WINDOW_SIZE: 10})
        raw.send(window_frame(0, 10_000_000), frame(HEADERS, END_HEADERS | END_STREAM, 1, get()))
        assert len((await raw.until(DATA))[3]) == 10
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, get()), window_frame(3, 2_000_000))
        got = 0
        while True:
            _, flags, sid, payload = await raw.until(DATA)
            assert sid == 3
            got += len(payload)
            if flags & END_STREAM:
                break
        raw.close()
    assert got == 1_000_000


async def test_large_answers_take_turns() -> None:
    def big(_: Request, responder: Responder) -> None:
        responder.respond(200, [], b"v" * 500_000)

    async with serving(big) as (port, _):
        raw = await RawClient.greeted(port, {INITIAL_WINDOW_SIZE: 1 << 20})
        raw.send(window_frame(0, 10_000_000))
        raw.send(*(frame(HEADERS, END_HEADERS | END_STREAM, sid, get()) for sid in (1, 3)))
        order = [sid for _, _, sid, _ in [await raw.until(DATA) for _ in range(40)]]
        raw.close()
    runs = [len(run) for run in "".join(map(str, order)).replace("13", "1 3").replace("31", "3 1").split()]
    assert max(runs) * 16384 <= 65536


async def test_a_reader_that_pauses_stops_its_sender_and_not_the_others() -> None:
    bodies: list[Stream] = []

    def hold(request: Request, responder: Responder) -> None:
        if isinstance(request.body, Stream):
            bodies.append(request.body)
        else:
            responder.respond(200, [], b"served")

    async with asked(hold) as client:
        sent = 0
        body = Stream()
        paused = asyncio.Event()
        body.on_pause = paused.set
        asking = asyncio.ensure_future(client.request(b"POST", b"/", [], body))
        while not paused.is_set() and sent < 8_000_000:
            body.push(b"b" * 16384)
            sent += 16384
            await asyncio.sleep(0)
        assert paused.is_set() and sent < 2_000_000
        assert (await client.request(b"GET", b"/", [])).body == b"served"
        bodies[0].cancel()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_the_window_grows_for_a_reader_that_keeps_up() -> None:
    async with served() as here:
        await here.channel.unary(b"/echo.Echo/Unary", b"")
        call = await here.channel.stream(b"/echo.Echo/Join")
        [connection] = here.server.connections
        for _ in range(200):
            await call.send(b"m" * 16_000)
        await eventually(lambda: [s.granted for s in connection.streams.values()][0] >= GROWTH_BYTES)
        assert [s.granted for s in connection.streams.values()][0] < 2 * GROWTH_BYTES, "the peer is near"
        call.cancel()


async def test_no_window_grows_while_readers_leave_much_lying() -> None:
    async with served() as here:
        await here.channel.unary(b"/echo.Echo/Unary", b"")
        [connection] = here.server.connections
        assert connection.growth >= GROWTH_BYTES
        connection.hold(CROWDED_BYTES + 1)
        assert connection.growth == 0
        connection.hold(-CROWDED_BYTES - 1)
        assert connection.growth >= GROWTH_BYTES


async def test_streams_that_nobody_reads_hold_up_no_other() -> None:
    """What lies unread is four times the window of a connection; a call beside it is answered all the same."""
    unread: list[Stream] = []

    def handle(request: Request, responder: Responder) -> None:
        if request.target == b"/quick":
            responder.respond(200, [], b"here")
        elif isinstance(request.body, Stream):
            unread.append(request.body)

    async with serving(handle) as (port, _):
        client = Http2Client("127.0.0.1", port)
        bodies = [Stream() for _ in range(300)]
        asked = [asyncio.ensure_future(client.request(b"POST", b"/slow", [], body)) for body in bodies]
        for body in bodies:
            body.push(bytes(250_000))
        await eventually(lambda: sum(body._size for body in unread) == len(bodies) * 250_000, 20)
        answer = await client.request(b"POST", b"/quick", [], bytes(50_000), timeout=20)
        assert answer.status == 200
        for body in bodies:
            body.abort()
        await asyncio.gather(*asked, return_exceptions=True)
        await client.close()


# Patience.


async def goaway(raw: RawClient) -> int:
    return int.from_bytes((await raw.until(GOAWAY))[3][4:8], "big")


@pytest.mark.parametrize(
    ("name", "flood"),
    [
        ("settings", [settings_frame({})] * 3000),
        ("pings", [frame(6, 0, 0, b"12345678")] * 3000),
        ("priorities", [frame(PRIORITY, 0, 1, b"\0\0\0\0\1")] * 3000),
        ("unknown frames", [frame(77, 0, 0)] * 3000),
        ("small calls nobody agreed on", [frame(LANE, END_STREAM, 1, bytes(5))] * 3000),
        ("empty data", [frame(HEADERS, END_HEADERS, 1, get()), *([frame(DATA, 0, 1)] * 3000)]),
        (
            "rapid resets",
            [frame(HEADERS, END_HEADERS, sid, get()) + reset_frame(sid, 8) for sid in range(1, 6001, 2)],
        ),
        ("continuations", [frame(HEADERS, 0, 1, get()), *([frame(CONTINUATION, 0, 1)] * 3000)]),
        (
            "a head without end",
            [frame(HEADERS, 0, 1, get()), *([frame(CONTINUATION, 0, 1, b"\0\1a\1b" * 3000)] * 300)],
        ),
    ],
)
async def test_a_flood_ends_in_enhance_your_calm(name: str, flood: list[bytes]) -> None:
    async with serving(lambda *_: None) as (port, _):
        raw = await RawClient.greeted(port)
        raw.send(*flood)
        assert await goaway(raw) == ErrorCode.ENHANCE_YOUR_CALM
        raw.close()


async def test_a_port_of_http_has_no_lane_for_small_calls() -> None:
    async with serving(lambda _, responder: responder.respond(204, [])) as (port, _):
        raw = await RawClient.greeted(port, {LANE_CALLS: LANE_VERSION})
        raw.send(frame(LANE, END_STREAM, 1, bytes(8)), frame(HEADERS, END_HEADERS | END_STREAM, 1, get()))
        assert (await raw.frame())[:3] == (HEADERS, END_HEADERS | END_STREAM, 1)
        raw.close()


async def test_cancelling_now_and_then_among_many_calls_is_no_flood() -> None:
    async with serving(lambda _, responder: responder.respond(200, [])) as (port, _):
        raw = await RawClient.greeted(port)
        for sid in range(1, 8001, 2):
            raw.send(frame(HEADERS, END_HEADERS | (END_STREAM if sid % 10 != 1 else 0), sid, get()))
            if sid % 10 == 1:
                raw.send(reset_frame(sid, 8))
        raw.ping(b"still on")
        while (await raw.until(6))[3] != b"still on":
            pass
        raw.close()


async def test_more_streams_than_allowed_are_refused() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        [connection] = here.server.connections
        limit = connection.limits.max_streams
        raw.send(*(raw.call(b"/echo.Echo/Idle", b"", end=False) for _ in range(limit + 1)))
        _, _, sid, payload = await raw.until(RST_STREAM)
        raw.close()
    assert (sid, payload[3]) == (2 * limit + 1, ErrorCode.REFUSED_STREAM)


async def test_the_bodies_of_refused_streams_are_given_back_to_the_connections_window() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        [connection] = here.server.connections
        raw.send(
            *(raw.call(b"/echo.Echo/Idle", b"", end=False) for _ in range(connection.limits.max_streams))
        )
        refused = CONNECTION_WINDOW // 16 // 16_000 + 1
        raw.send(*(raw.call(b"/echo.Echo/Unary", bytes(16_000)) for _ in range(refused)))
        while (found := await raw.until(WINDOW_UPDATE))[2]:
            pass
        raw.close()
    assert int.from_bytes(found[3], "big") >= CONNECTION_WINDOW // 16


async def test_work_of_reset_streams_still_counts() -> None:
    async with served() as here:
        stubborn = asyncio.Event()

        async def cling(call: Any, message: bytes) -> bytes:
            try:
                await asyncio.Event().wait()
            finally:
                await stubborn.wait()
            return message

        here.service.unary[b"/echo.Echo/Cling"] = cling
        raw = await RawClient.greeted(here.port)
        raw.send(raw.call(b"/echo.Echo/Cling", b""))
        await eventually(lambda: here.server.calls)
        raw.send(reset_frame(1, 8))
        [connection] = here.server.connections
        await eventually(lambda: connection.zombies == 1 and not connection.streams)
        stubborn.set()
        await eventually(lambda: connection.zombies == 0)
        raw.close()


class Deaf:
    """A transport whose peer takes nothing."""

    def __init__(self) -> None:
        self.waiting = 0
        self.aborted = False

    def write(self, data: bytes) -> None:
        self.waiting += len(data)

    def get_extra_info(self, name: str) -> Any:
        return None

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def close(self) -> None:
        self.aborted = True

    def abort(self) -> None:
        self.aborted = True


async def test_a_client_that_asks_and_never_reads_is_dropped() -> None:
    server, raw, wire = GrpcServer(Echo()), RawClient(None, None), Deaf()  # type: ignore[arg-type]
    connection = ServerConnection(server)
    connection.connection_made(wire)  # type: ignore[arg-type]
    connection.data_received(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_frame({}))
    connection.pause_writing()
    for _ in range(200_000):
        if wire.aborted:
            break
        connection.data_received(raw.call(b"/no/where", b""))
    assert wire.aborted and wire.waiting < 5_000_000
    connection.connection_lost(None)
    await server.close()


async def test_a_connection_without_a_preface_is_dropped_in_time() -> None:
    async with serving(echo, HttpLimits(header_timeout=0.05)) as (port, _):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        await asyncio.wait_for(reader.read(), 5)
        writer.close()


async def test_draining_says_goodbye_and_finishes_what_runs() -> None:
    waiting: list[Responder] = []
    async with serving(lambda _, responder: waiting.append(responder)) as (port, server):
        raw = await RawClient.greeted(port)
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, get()))
        await eventually(lambda: waiting)
        closing = asyncio.ensure_future(server.close(grace=5))
        _, _, _, first = await raw.until(GOAWAY)
        _, _, _, ping = await raw.until(6)
        raw.send(frame(6, 1, 0, ping))
        _, _, _, second = await raw.until(GOAWAY)
        raw.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, get()))
        waiting[0].respond(200, [], b"well,done")
        assert (await raw.answer())[1] == b"well,done"
        await closing
        raw.close()
    assert int.from_bytes(first[:4], "big") == 2**31 - 1 and int.from_bytes(second[:4], "big") == 1
    assert len(waiting) == 1


async def test_an_unread_body_does_not_starve_the_connection() -> None:
    async with asked(
        lambda request, responder: (discard(request.body), responder.respond(404, []))[1]
    ) as client:
        for _ in range(3 * CONNECTION_WINDOW // 1_000_000):
            assert (await client.request(b"POST", b"/", [], b"b" * 1_000_000)).status == 404


async def test_settings_are_acknowledged_before_what_follows_them() -> None:
    async with serving(echo) as (port, _):
        raw = await RawClient.greeted(port)
        raw.send(settings_frame({INITIAL_WINDOW_SIZE: 5}), frame(HEADERS, END_HEADERS | END_STREAM, 1, get()))
        kind, flags, _, _ = await raw.frame()
        raw.close()
    assert (kind, flags) == (SETTINGS, 1)


async def test_a_peer_that_shrinks_its_table_is_told_that_we_know() -> None:
    async with serving(echo) as (port, _):
        raw = await RawClient.greeted(port, {1: 0})
        raw.send(*(frame(HEADERS, END_HEADERS | END_STREAM, sid, get()) for sid in (1, 3)))
        blocks = [(await raw.until(HEADERS))[3] for _ in range(2)]
        raw.close()
    assert blocks[0][0] == 0x20 and blocks[1][0] != 0x20
