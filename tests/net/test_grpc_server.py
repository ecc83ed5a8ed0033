"""Our gRPC port under the official client library, and under raw frames."""

import asyncio
import base64
import socket
from typing import Any

import grpc
import grpc.aio
import pytest
from support.grpc import Echo, Served, served
from support.http2 import RawClient
from support.waiting import eventually

from pillion.net.grpc import GrpcChannel, GrpcServer
from pillion.net.grpc.heads import Heads
from pillion.net.http2.frames import DATA, END_STREAM, PING, RST_STREAM, StreamFault, frame
from pillion.net.http2.hpack import Decoder, HeaderBlock, encode
from pillion.net.rpc import Code, GrpcLimits, RpcError

MEBI = 1024 * 1024


def plain(message: bytes) -> bytes:
    return message


def unary(channel: Any, method: str) -> Any:
    return channel.unary_unary(f"/echo.Echo/{method}", request_serializer=plain, response_deserializer=plain)


def both_ways(channel: Any, method: str) -> Any:
    return channel.stream_stream(
        f"/echo.Echo/{method}", request_serializer=plain, response_deserializer=plain
    )


def dial(here: Served, **options: Any) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(here.target, options=list(options.items()))


# The four kinds of call.


async def test_a_unary_call_is_answered() -> None:
    async with served() as here, dial(here) as channel:
        assert await unary(channel, "Unary")(b"hello") == b"hello"
    assert here.service.done == [(b"/echo.Echo/Unary", 0, 5, 5)]


async def test_a_handler_that_never_waits_makes_no_task() -> None:
    async with served() as here:
        await here.channel.unary(b"/echo.Echo/Unary", b"dial")
        seen: list[int] = []

        async def count(call: Any, message: bytes) -> bytes:
            seen.append(len(asyncio.all_tasks()))
            return message

        here.service.unary[b"/echo.Echo/Unary"] = count
        before = len(asyncio.all_tasks())
        await here.channel.unary(b"/echo.Echo/Unary", b"x")
    assert seen == [before]


async def test_the_answers_to_one_read_leave_in_one_write() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        raw.send(*(raw.call(b"/echo.Echo/Unary", b"x") for _ in range(20)))
        first = await raw.reader.read(65536)
        raw.close()
    assert first.count(b"grpc-status") == 20


async def test_a_synchronous_client_in_a_thread_is_served() -> None:
    async with served() as here:

        def ask() -> bytes:
            with grpc.insecure_channel(here.target) as channel:
                return unary(channel, "Slow")(b"hello", timeout=5)  # type: ignore[no-any-return]

        assert await asyncio.to_thread(ask) == b"hello"


async def test_client_streaming_is_served() -> None:
    async with served() as here, dial(here) as channel:
        join = channel.stream_unary("/echo.Echo/Join", request_serializer=plain, response_deserializer=plain)
        assert await join(iter([b"a", b"b", b"", b"c"])) == b"abc"


async def test_server_streaming_is_served() -> None:
    async with served() as here, dial(here) as channel:
        split = channel.unary_stream(
            "/echo.Echo/Split", request_serializer=plain, response_deserializer=plain
        )
        call = split(b"abc")
        assert (("x-pieces", "3"),) == tuple(await call.initial_metadata())
        assert [piece async for piece in call] == [b"a", b"b", b"c"]


async def test_both_sides_may_stream_at_once() -> None:
    async with served() as here, dial(here) as channel:
        call = both_ways(channel, "Both")()
        for number in range(20):
            await call.write(b"%d" % number)
            assert await call.read() == b"%d" % number
        await call.done_writing()
        assert await call.code() == grpc.StatusCode.OK


async def test_megabytes_stream_both_ways() -> None:
    async with served() as here, dial(here) as channel:
        pieces = [bytes([number]) * 300_000 for number in range(40)]
        assert [piece async for piece in both_ways(channel, "Both")(iter(pieces))] == pieces


async def test_a_last_message_may_carry_the_status_in_its_write() -> None:
    async with served() as here:

        async def last(call: Any) -> None:
            call.set_trailers([(b"x-t", b"v")])
            await call.send(await call.receive(), end=True)

        here.service.streams[b"/echo.Echo/Last"] = last
        raw = await RawClient.greeted(here.port)
        raw.send(raw.call(b"/echo.Echo/Last", b"bye"))
        first = await raw.reader.read(65536)
        raw.close()
    assert b"bye" in first and b"grpc-status" in first and b"x-t" in first
    assert here.service.done == [(b"/echo.Echo/Last", 0, 3, 3)]


# Sizes and compression.


@pytest.mark.parametrize("size", [0, 1, 16_378, 16_379, 16_380, 65_536, 4 * MEBI])
async def test_a_message_of_any_size_up_to_the_limit_passes(size: int) -> None:
    async with served() as here, dial(here, **{"grpc.max_receive_message_length": -1}) as channel:
        assert await unary(channel, "Unary")(b"m" * size) == b"m" * size


async def test_a_message_past_the_limit_is_refused() -> None:
    async with served() as here, dial(here) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Unary")(b"m" * (4 * MEBI + 1))
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert caught.value.details() == "grpc: received message larger than max (4194305 vs. 4194304)"


async def test_a_stream_learns_of_a_message_past_the_limit_where_it_receives() -> None:
    async with served(GrpcLimits(message_bytes=10)) as here, dial(here) as channel:
        call = both_ways(channel, "Both")()
        await call.write(b"fits")
        assert await call.read() == b"fits"
        await call.write(b"m" * 11)
        assert await call.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await call.details() == "grpc: received message larger than max (11 vs. 10)"


async def test_a_gzipped_request_is_read_and_the_answer_is_not_compressed() -> None:
    async with served() as here, dial(here) as channel:
        call = unary(channel, "Unary")(b"z" * 100_000, compression=grpc.Compression.Gzip)
        assert await call == b"z" * 100_000
        assert "grpc-encoding" not in dict(await call.initial_metadata())


async def test_a_gzip_bomb_is_stopped_at_the_limit() -> None:
    async with served() as here, dial(here, **{"grpc.max_send_message_length": -1}) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Unary")(b"\0" * (40 * MEBI), compression=grpc.Compression.Gzip)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "after decompression" in (caught.value.details() or "")


async def test_an_encoding_we_lack_is_unimplemented() -> None:
    async with served() as here, dial(here) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Unary")(b"z" * 1000, compression=grpc.Compression.Deflate)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert caught.value.details() == 'grpc: Decompressor is not installed for grpc-encoding "deflate"'


# Metadata and statuses.


async def test_metadata_travels_both_ways_binary_too() -> None:
    async with served() as here, dial(here) as channel:
        sent = (("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\x00\xff"))
        call = unary(channel, "Metadata")(b"", metadata=sent)
        told = (await call).decode()
        assert sorted(await call.initial_metadata()) == sorted(sent)
        assert sorted(await call.trailing_metadata()) == [("x-t-bin", bytes(range(256))), ("x-trailer", "t")]
    assert "(b'x-b-bin', b'\\x00\\xff')" in told and "(b':authority', b'127.0.0.1:" in told


async def test_several_binary_values_in_one_field_are_several() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        values = b",".join([base64.b64encode(b"one"), base64.b64encode(b"four").rstrip(b"=")])
        raw.send(raw.call(b"/echo.Echo/Metadata", b"", [(b"x-m-bin", values)]))
        _, message, _ = await raw.answer()
        raw.close()
    assert b"(b'x-m-bin', b'one'), (b'x-m-bin', b'four')" in message


async def test_a_status_keeps_its_text_details_and_metadata() -> None:
    async with served() as here, dial(here) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Fail")(b"")
    error = caught.value
    assert (error.code(), error.details()) == (
        grpc.StatusCode.FAILED_PRECONDITION,
        "not today: 100 % « nein »",
    )
    trailing = dict(error.trailing_metadata() or ())
    assert trailing["grpc-status-details-bin"] == b"\x08\x09" and trailing["x-late-bin"] == b"\0\xff"


@pytest.mark.filterwarnings("ignore")
async def test_a_handler_that_crashes_tells_nobody_why(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as here, dial(here) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Crash")(b"")
    assert caught.value.code() == grpc.StatusCode.INTERNAL and "secret" not in str(caught.value.details())
    assert "a secret" in caplog.text


async def test_a_call_that_is_not_admitted_never_reaches_its_handler() -> None:
    async with served() as here, dial(here) as channel:
        here.service.refuses = RpcError(Code.UNAUTHENTICATED, "Unauthorized")
        for call in (unary(channel, "Unary")(b""), both_ways(channel, "Both")()):
            assert await call.code() == grpc.StatusCode.UNAUTHENTICATED
    assert [code for _, code, _, _ in here.service.done] == [16, 16]


async def test_paths_nobody_serves_are_unimplemented_or_fall_back() -> None:
    async with served() as here:
        told = []
        for path in (b"/echo.Echo/Nope", b"/no.Service/Nope", b"/nope"):
            with pytest.raises(RpcError) as caught:
                await here.channel.unary(path, b"")
            told.append((caught.value.code, caught.value.message))
        here.service.fallback = here.service.both
        assert (await here.channel.unary(b"/any.Service/At/All", b"back")).message == b"back"
    assert told == [
        (12, "unknown method Nope for service echo.Echo"),
        (12, "unknown service no.Service"),
        (12, 'malformed method name: "/nope"'),
    ]


# Deadlines and cancellation.


async def test_a_deadline_that_passes_cancels_the_handler() -> None:
    async with served() as here, dial(here) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await unary(channel, "Never")(b"", timeout=0.1)
        assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: here.service.done)
    assert (here.service.cancelled, here.service.told, here.service.running) == (1, 1, 0)
    assert here.service.done[0][1] in (Code.DEADLINE_EXCEEDED, Code.CANCELLED)


async def test_our_own_clock_resets_a_call_past_its_deadline() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        raw.send(raw.call(b"/echo.Echo/Never", b"", [(b"grpc-timeout", b"20m")]))
        kind, _, _, payload = await raw.until(3)
        raw.close()
        await eventually(lambda: here.service.done)
    assert (kind, payload) == (3, (8).to_bytes(4, "big"))
    assert here.service.done[0][1] == Code.DEADLINE_EXCEEDED and here.service.cancelled == 1


async def test_a_cancelled_call_cancels_its_handler() -> None:
    async with served() as here, dial(here) as channel:
        call = unary(channel, "Never")(b"")
        await eventually(lambda: here.service.running)
        call.cancel()
        await eventually(lambda: here.service.done)
    assert here.service.cancelled == 1 and here.service.done[0][1] == Code.CANCELLED


async def test_a_client_that_vanishes_cancels_its_calls() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        raw.send(raw.call(b"/echo.Echo/Never", b""), raw.call(b"/echo.Echo/Idle", b"", end=False))
        await eventually(lambda: here.service.running == 2 or here.service.running)
        raw.writer.transport.abort()
        await eventually(lambda: not here.service.running and not here.server.calls)
    assert here.service.cancelled >= 1


# Raw answers, as recorded from Dapr.


@pytest.mark.parametrize(
    ("change", "status", "code", "text"),
    [
        (
            {b"content-type": b"application/json"},
            b"415",
            b"3",
            b'invalid gRPC request content-type "application/json"',
        ),
        (
            {b":method": b"GET"},
            b"405",
            b"13",
            b'Received a HEADERS frame with :method "GET" which should be POST',
        ),
        ({b"grpc-timeout": b"1n"}, b"200", b"4", b"context deadline exceeded"),
        (
            {b"grpc-timeout": b"zz"},
            b"400",
            b"13",
            b'malformed grpc-timeout: transport: timeout unit is not recognized: "zz"',
        ),
        (
            {b"grpc-encoding": b"snappy"},
            b"200",
            b"12",
            b'grpc: Decompressor is not installed for grpc-encoding "snappy"',
        ),
        ({b":path": b"/nope"}, b"200", b"12", b'malformed method name: "/nope"'),
    ],
)
async def test_what_is_no_proper_call_is_answered_as_dapr_does(
    change: dict[bytes, bytes], status: bytes, code: bytes, text: bytes
) -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        raw.send(raw.call(b"/echo.Echo/Unary", b"x", change=change))
        head, _, tail = await raw.answer()
        raw.close()
    said = dict(head + tail)
    assert (said[b":status"], said[b"grpc-status"], said[b"grpc-message"]) == (status, code, text)


async def test_a_unary_call_without_a_message_ends_in_eof() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        raw.send(raw.headers(b"/echo.Echo/Unary", end=True))
        head, _, _ = await raw.answer()
        raw.close()
    assert (dict(head)[b"grpc-status"], dict(head)[b"grpc-message"]) == (b"2", b"EOF")


async def test_the_first_settings_are_those_of_dapr() -> None:
    async with served() as here:
        raw = await RawClient.dial(here.port)
        kind, flags, _, payload = await raw.frame()
        raw.close()
    assert (kind, flags, payload) == (
        4,
        0,
        b"\0\5" + (16384).to_bytes(4, "big") + b"\0\6" + (4194304).to_bytes(4, "big"),
    )


# Life of a connection.


async def test_closing_lets_running_calls_end() -> None:
    async with served() as here, dial(here) as channel:
        slow = asyncio.ensure_future(unary(channel, "Slow")(b"still here"))
        await eventually(lambda: here.server.calls)
        await here.server.close(grace=5)
        assert await slow == b"still here"


async def test_closing_cuts_what_does_not_end_in_time() -> None:
    async with served() as here:
        call = asyncio.ensure_future(here.channel.unary(b"/echo.Echo/Never", b""))
        await eventually(lambda: here.service.running)
        await here.server.close(grace=0.05)
        with pytest.raises(RpcError) as caught:
            await call
    assert caught.value.code == Code.UNAVAILABLE and not caught.value.remote and here.service.cancelled == 1


async def test_a_silent_client_is_asked_and_one_that_does_not_answer_is_dropped() -> None:
    async with served(GrpcLimits(keepalive_after=0.05, keepalive_timeout=0.05)) as here:
        raw = await RawClient.greeted(here.port)
        kind, flags, _, _ = await raw.until(6)
        assert (kind, flags) == (6, 0)
        assert await raw.reader.read() == b""
        raw.close()


async def test_an_idle_connection_is_closed_in_peace() -> None:
    async with served(GrpcLimits(idle_timeout=0.05)) as here:
        raw = await RawClient.greeted(here.port)
        kind, _, _, payload = await raw.until(7)
        raw.close()
    assert kind == 7 and payload[4:8] == bytes(4)


async def test_a_client_that_pings_too_often_is_sent_away_at_the_fourth() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        for number in range(3):
            raw.ping(b"ping%04d" % number)
            assert (await raw.until(6))[3] == b"ping%04d" % number
        raw.ping(b"ping0003")
        _, _, _, payload = await raw.until(7)
        raw.close()
    assert (payload[4:8], payload[8:]) == ((11).to_bytes(4, "big"), b"too_many_pings")


async def test_pings_that_follow_an_answer_are_forgiven() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        for _ in range(8):
            raw.send(raw.call(b"/echo.Echo/Unary", b"x"))
            await raw.answer()
            raw.ping(b"measure!")
            assert (await raw.until(6))[3] == b"measure!"
        raw.close()


async def test_a_unix_socket_is_served(tmp_path: Any) -> None:
    server, path = GrpcServer(Echo()), str(tmp_path / "grpc.sock")
    await server.listen_unix(path)
    channel = GrpcChannel(path=path)
    assert (await channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
    async with grpc.aio.insecure_channel(f"unix:{path}") as official:
        assert await unary(official, "Unary")(b"y") == b"y"
    await channel.close()
    await server.close()
    assert not (tmp_path / "grpc.sock").exists()


async def test_a_unix_socket_is_taken_over_from_the_dead_and_not_from_the_living(tmp_path: Any) -> None:
    path = str(tmp_path / "grpc.sock")
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(path)
    server, second = GrpcServer(Echo()), GrpcServer(Echo())
    await server.listen_unix(path)
    with pytest.raises(OSError, match="in use"):
        await second.listen_unix(path)
    await second.close()
    channel = GrpcChannel(path=path)
    assert (await channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
    await channel.close()
    await server.close()


async def test_equal_heads_are_read_once_and_served_apart() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)

        async def edit(call: Any, message: bytes) -> bytes:
            call.metadata.append((b"x-added", b"1"))
            return b"%d" % len(call.metadata)

        here.service.unary[b"/echo.Echo/Unary"] = edit
        raw.send(raw.call(b"/echo.Echo/Unary", b""), raw.call(b"/echo.Echo/Unary", b""))
        answers = [(await raw.answer())[1] for _ in range(2)]
        raw.close()
    assert answers[0] == answers[1]


def test_header_blocks_of_answers_stay_out_of_the_table() -> None:
    block = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
    decoder = Decoder(65536)
    assert decoder.decode(block) is decoder.decode(block)


@pytest.mark.parametrize(
    "volatile",
    [
        [(b"grpc-timeout", b"5S")],
        [(b"traceparent", b"00-a-b-01"), (b"grpc-timeout", b"7m")],
        [(b"grpc-timeout", b"zz")],
    ],
)
def test_a_head_known_but_for_its_deadline_reads_as_if_it_were_new(
    volatile: list[tuple[bytes, bytes]],
) -> None:
    steady = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a/b"), (b":authority", b"h")]
    steady += [(b"content-type", b"application/grpc"), (b"x-a-bin", b"AAE")]
    heads = Heads()
    heads.read(HeaderBlock([*steady, (b"grpc-timeout", b"1H")]))
    block = HeaderBlock([*steady, *volatile])
    known, new = heads.read(block), Heads().read(block)
    for name in ("path", "metadata", "timeout", "encoding", "refusal"):
        assert getattr(known, name) == getattr(new, name)
    assert (known.path, known.length, known.authority) == (new.path, new.length, new.authority)


def test_a_volatile_field_before_a_pseudo_field_is_malformed() -> None:
    good = [
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/a/b"),
        (b"content-type", b"application/grpc"),
    ]
    heads = Heads()
    heads.read(HeaderBlock([*good, (b"traceparent", b"1")]))
    with pytest.raises(StreamFault):
        heads.read(HeaderBlock([good[0], (b"traceparent", b"1"), *good[1:]]))
    with pytest.raises(StreamFault):
        heads.read(HeaderBlock([*good, (b"traceparent", b"1\r\n2")]))


@pytest.mark.parametrize(
    ("path", "message", "change"),
    [
        (b"/echo.Echo/Unary", b"x", {}),
        (b"/echo.Echo/Unary", b"", {b"grpc-timeout": b"5S"}),
        (b"/echo.Echo/Unary", b"x", {b"grpc-timeout": b"1n"}),
        (b"/echo.Echo/Unary", b"x", {b"grpc-encoding": b"snappy"}),
        (b"/echo.Echo/Unary", b"x", {b"grpc-encoding": b"gzip"}),
        (b"/echo.Echo/Unary", b"x", {b"content-type": b"text/plain"}),
        (b"/echo.Echo/Unary", b"x", {b"content-length": b"6"}),
        (b"/echo.Echo/Slow", b"x", {}),
        (b"/echo.Echo/Both", b"x", {}),
        (b"/echo.Echo/None", b"x", {}),
    ],
)
async def test_a_call_whose_frames_come_together_is_answered_as_one_whose_do_not(
    path: bytes, message: bytes, change: dict[bytes, bytes]
) -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        raw.send(raw.call(path, message, change=change))
        together = await raw.answer()
        head = raw.headers(path, change=change)
        body = frame(DATA, END_STREAM, raw.sid, b"\0" + len(message).to_bytes(4, "big") + message)
        raw.send(head, frame(PING, 0, 0, b"between."), body)
        apart = await raw.answer()
        raw.send(raw.call(b"/echo.Echo/Unary", b"last"))
        assert (await raw.answer())[1] == b"last"
        (connection,) = here.server.connections
        assert not connection.streams
        raw.close()
    assert together == apart


async def test_a_body_of_another_length_than_announced_costs_the_stream() -> None:
    async with served() as here:
        raw = await RawClient.greeted(here.port)
        raw.send(raw.call(b"/echo.Echo/Unary", b"x", change={b"content-length": b"7"}))
        assert (await raw.until(RST_STREAM))[3] == b"\0\0\0\x01"
        raw.send(raw.call(b"/echo.Echo/Unary", b"last"))
        assert (await raw.answer())[1] == b"last"
        raw.close()
