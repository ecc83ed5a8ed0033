"""Our gRPC channel against the official server library, and against servers that misbehave."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from support.grpc import Echo, served
from support.tls import contexts
from support.waiting import eventually

from pillion.net.grpc import GrpcChannel, GrpcServer
from pillion.net.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    RST_STREAM,
    frame,
    settings_frame,
)
from pillion.net.http2.hpack import encode
from pillion.net.rpc import Code, GrpcLimits, RpcError

MEBI = 1024 * 1024


def plain(message: bytes) -> bytes:
    return message


class Official(grpc.GenericRpcHandler):
    """The methods of a grpcio server, by name and kind."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.seen: dict[str, Any] = {}

    def service(self, details: Any) -> Any:
        name = details.method.rpartition("/")[2]
        kinds = {
            "Unary": grpc.unary_unary_rpc_method_handler,
            "Never": grpc.unary_unary_rpc_method_handler,
            "Fail": grpc.unary_unary_rpc_method_handler,
            "Both": grpc.stream_stream_rpc_method_handler,
        }
        if name not in kinds:
            return None
        return kinds[name](getattr(self, name.lower()), plain, plain)

    async def unary(self, message: bytes, context: Any) -> bytes:
        self.seen = dict(context.invocation_metadata())
        self.left = context.time_remaining()
        await context.send_initial_metadata((("x-i", "1"), ("x-i-bin", b"\0\xfe")))
        context.set_trailing_metadata((("x-t-bin", b"t,t"),))
        return message

    async def never(self, message: bytes, context: Any) -> bytes:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b""

    async def fail(self, message: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("grpc-status-details-bin", b"\x01\x02"), ("x-late", "y")))
        await context.abort(grpc.StatusCode.DATA_LOSS, "lost: 50 % « weg »")
        return b""

    async def both(self, messages: Any, context: Any) -> AsyncIterator[bytes]:
        async for message in messages:
            yield message


@asynccontextmanager
async def official(**options: Any) -> AsyncIterator[tuple[Official, GrpcChannel]]:
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", -1), *options.items()])
    methods = Official()
    server.add_generic_rpc_handlers((methods,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = GrpcChannel("127.0.0.1", port)
    try:
        yield methods, channel
    finally:
        await channel.close()
        await server.stop(0)


async def refused(work: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await work
    return caught.value


async def test_a_unary_call_brings_message_and_metadata_back() -> None:
    async with official() as (methods, channel):
        reply = await channel.unary(b"/a.B/Unary", b"hi", [(b"x-a", b"1"), (b"x-a-bin", b"\0\1")], timeout=9)
    assert reply.message == b"hi"
    assert reply.initial == [(b"x-i", b"1"), (b"x-i-bin", b"\0\xfe")] and reply.trailers == [
        (b"x-t-bin", b"t,t")
    ]
    assert methods.seen["x-a"] == "1" and methods.seen["x-a-bin"] == b"\0\1" and 8 < methods.left <= 9


@pytest.mark.parametrize("size", [0, 16_379, 16_380, 70_000, 4 * MEBI])
async def test_a_message_of_any_size_comes_back(size: int) -> None:
    async with official() as (_, channel):
        assert (await channel.unary(b"/a.B/Unary", b"m" * size)).message == b"m" * size


async def test_an_answer_past_the_limit_is_refused() -> None:
    async with official() as (_, channel):
        channel.message_bytes = 10
        call = await channel.exchange(b"/a.B/Both", [b"m" * 6])
        call._channel.message_bytes = 5
        error = await refused(call.receive())
    assert (error.code, error.message) == (8, "grpc: received message larger than max (6 vs. 5)")


async def test_gzipped_answers_are_read() -> None:
    options = {"grpc.default_compression_algorithm": grpc.Compression.Gzip.value}
    server = grpc.aio.server(compression=grpc.Compression.Gzip, options=list(options.items()))
    server.add_generic_rpc_handlers((Official(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = GrpcChannel("127.0.0.1", port)
    reply = await channel.unary(b"/a.B/Unary", b"z" * 9999, [(b"grpc-accept-encoding", b"gzip")])
    await channel.close()
    await server.stop(0)
    assert reply.message == b"z" * 9999


async def test_a_status_keeps_its_text_details_and_metadata() -> None:
    async with official() as (_, channel):
        error = await refused(channel.unary(b"/a.B/Fail", b""))
    assert (error.code, error.message, error.details) == (15, "lost: 50 % « weg »", b"\x01\x02")
    assert list(error.trailers) == [(b"x-late", b"y")] and error.remote


async def test_an_unknown_method_is_unimplemented() -> None:
    async with official() as (_, channel):
        error = await refused(channel.unary(b"/a.B/Nope", b""))
    assert error.code == Code.UNIMPLEMENTED and error.remote


async def test_both_sides_may_stream_at_once() -> None:
    async with official() as (_, channel):
        call = await channel.stream(b"/a.B/Both")
        for number in range(20):
            await call.send(b"%d" % number)
            assert await call.receive() == b"%d" % number
        call.half_close()
        assert await call.receive() is None


async def test_megabytes_stream_both_ways() -> None:
    async with official() as (_, channel):
        call = await channel.stream(b"/a.B/Both")
        pieces = [bytes([number]) * 300_000 for number in range(40)]

        async def send() -> None:
            for piece in pieces:
                await call.send(piece)
            call.half_close()

        sending = asyncio.ensure_future(send())
        got = []
        while (message := await call.receive()) is not None:
            got.append(message)
        await sending
    assert got == pieces


async def test_a_deadline_ends_the_call_here_and_there() -> None:
    async with official() as (methods, channel):
        error = await refused(channel.unary(b"/a.B/Never", b"", timeout=0.1))
        await eventually(lambda: methods.cancelled)
    assert (error.code, error.remote) == (Code.DEADLINE_EXCEEDED, False)


async def test_a_cancelled_call_is_cancelled_there() -> None:
    async with official() as (methods, channel):
        call = asyncio.ensure_future(channel.unary(b"/a.B/Never", b""))
        await asyncio.sleep(0.05)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await eventually(lambda: methods.cancelled)
        assert (await channel.unary(b"/a.B/Unary", b"on")).message == b"on"


async def test_many_calls_share_one_connection() -> None:
    async with served() as here:
        asked = [here.channel.unary(b"/echo.Echo/Slow", b"%d" % number) for number in range(200)]
        assert [reply.message for reply in await asyncio.gather(*asked)] == [b"%d" % n for n in range(200)]
        assert len(here.server.connections) == 1


async def test_calls_wait_for_room_when_the_server_limits_streams() -> None:
    async with official(**{"grpc.max_concurrent_streams": 3}) as (_, channel):
        asked = [channel.unary(b"/a.B/Unary", b"%d" % number) for number in range(30)]
        assert [reply.message for reply in await asyncio.gather(*asked)] == [b"%d" % n for n in range(30)]


async def test_known_requests_leave_in_one_write() -> None:
    got: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(settings_frame({}))
        while chunk := await reader.read(65536):
            got.append(chunk)
        writer.close()

    async with fake(note) as channel:
        call = await channel.exchange(b"/a.B/Both", [b"one", b"two"])
        await eventually(lambda: b"two" in b"".join(got))
        call.cancel()
    first = next(chunk for chunk in got if b"one" in chunk)
    assert b"/a.B/Both" in first and b"two" in first


async def test_nobody_listening_is_unavailable() -> None:
    channel = GrpcChannel("127.0.0.1", await unused_port())
    error = await refused(channel.unary(b"/a.B/Unary", b""))
    await channel.close()
    assert (error.code, error.remote) == (Code.UNAVAILABLE, False)
    assert error.message.startswith(
        'connection error: desc = "transport: Error while dialing: dial tcp 127.0.0.1:'
    )
    assert error.message.endswith(': connect: connection refused"')


async def test_a_lost_server_is_dialled_again() -> None:
    async with served() as here:
        await here.channel.unary(b"/echo.Echo/Unary", b"")
        port = here.port
        await here.server.close()
        assert (await refused(here.channel.unary(b"/echo.Echo/Unary", b""))).code == Code.UNAVAILABLE
        again = GrpcServer(Echo())
        await again.listen(["127.0.0.1"], port)

        async def answered() -> bool:
            with contextlib.suppress(RpcError):
                return (await here.channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
            return False

        await eventually(answered)
        await again.close()


async def test_a_channel_that_is_closed_refuses_calls() -> None:
    async with served() as here:
        await here.channel.unary(b"/echo.Echo/Unary", b"")
        await here.channel.close()
        assert (await refused(here.channel.unary(b"/echo.Echo/Unary", b""))).code == Code.CANCELLED


async def unused_port() -> int:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    return int(port)


@asynccontextmanager
async def fake(script: Any) -> AsyncIterator[GrpcChannel]:
    """A channel to a server that does as `script` says."""
    ends: list[asyncio.Task[None]] = []

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(asyncio.current_task())  # type: ignore[arg-type]
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await script(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(run, "127.0.0.1", 0)
    channel = GrpcChannel("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        yield channel
    finally:
        await channel.close()
        server.close()
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)


def scripted(*frames: bytes) -> Any:
    """Greets, then answers the first call with these bytes, and waits."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(settings_frame({}))
        while b"/a.B/Unary" not in await reader.read(65536):
            pass
        writer.write(b"".join(frames))
        await reader.read()

    return script


async def test_a_server_that_speaks_http1_is_named_so() -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with fake(old) as channel:
        error = await refused(channel.unary(b"/a.B/Unary", b""))
    assert error.code == Code.UNAVAILABLE
    assert error.message == 'connection error: desc = "error reading server preface: http2: frame too large"'


@pytest.mark.parametrize(
    ("status", "content_type", "code"),
    [
        (b"404", b"text/html", Code.UNIMPLEMENTED),
        (b"503", b"text/plain", Code.UNAVAILABLE),
        (b"401", b"text/plain", Code.UNAUTHENTICATED),
        (b"200", b"text/html", Code.UNKNOWN),
        (b"500", b"text/html", Code.UNKNOWN),
    ],
)
async def test_an_answer_that_is_not_grpc_becomes_a_status(
    status: bytes, content_type: bytes, code: Code
) -> None:
    block = encode([(b":status", status), (b"content-type", content_type)])
    answer = frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, b"<html>")
    async with fake(scripted(answer)) as channel:
        error = await refused(channel.unary(b"/a.B/Unary", b""))
    assert error.code == code and f"received from server: {status.decode()}" in error.message


@pytest.mark.parametrize(
    ("reason", "code"),
    [(2, Code.INTERNAL), (8, Code.CANCELLED), (11, Code.RESOURCE_EXHAUSTED), (12, Code.PERMISSION_DENIED)],
)
async def test_a_reset_becomes_a_status(reason: int, code: Code) -> None:
    async with fake(scripted(frame(RST_STREAM, 0, 1, reason.to_bytes(4, "big")))) as channel:
        error = await refused(channel.unary(b"/a.B/Unary", b""))
    assert error.code == code and "RST_STREAM" in error.message and not error.remote


async def test_a_connection_lost_in_a_call_is_unavailable() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        writer.write(settings_frame({}))
        while b"/a.B/Unary" not in await reader.read(65536):
            pass

    async with fake(hang_up) as channel:
        error = await refused(channel.unary(b"/a.B/Unary", b""))
    assert (error.code, error.remote) == (Code.UNAVAILABLE, False)


async def test_a_call_the_server_never_looked_at_is_made_again() -> None:
    dials = 0

    async def leave_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dials
        dials += 1
        if dials == 1:
            await scripted(frame(GOAWAY, 0, 0, bytes(8)))(reader, writer)
            return
        head = frame(
            HEADERS, END_HEADERS, 1, encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
        )
        tail = frame(HEADERS, END_HEADERS | END_STREAM, 1, encode([(b"grpc-status", b"0")]))
        await scripted(head, frame(DATA, 0, 1, b"\0\0\0\0\1x"), tail)(reader, writer)

    async with fake(leave_once) as channel:
        assert (await channel.unary(b"/a.B/Unary", b"")).message == b"x"
    assert dials == 2


async def test_an_answer_without_trailers_is_an_error() -> None:
    block = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
    answer = frame(HEADERS, END_HEADERS, 1, block) + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0")
    async with fake(scripted(answer)) as channel:
        error = await refused(channel.unary(b"/a.B/Unary", b""))
    assert error.code == Code.INTERNAL and "trailers" in error.message


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes its certificate with openssl")
async def test_tls_carries_calls(tmp_path: Any) -> None:
    inside, outside = contexts(tmp_path)
    server = GrpcServer(Echo(), GrpcLimits())
    port = await server.listen(["127.0.0.1"], 0, tls=inside)
    channel = GrpcChannel("127.0.0.1", port, tls=outside, server_name="localhost")
    assert (await channel.unary(b"/echo.Echo/Unary", b"m" * MEBI)).message == b"m" * MEBI
    await channel.close()
    await server.close()
