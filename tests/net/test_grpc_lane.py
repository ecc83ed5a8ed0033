"""Small calls in one frame each way, between our own server and our own channel, and under raw frames."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import pytest
from support.grpc import Echo
from support.http2 import Frame, RawClient
from support.waiting import eventually

from pillion.net.grpc import GrpcChannel, GrpcServer
from pillion.net.grpc.channel import LaneAsked
from pillion.net.http2.connection import RECENT
from pillion.net.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    GOAWAY,
    HEADERS,
    LANE,
    LANE_CALLS,
    LANE_VERSION,
    MAX_CONCURRENT_STREAMS,
    PING,
    RST_STREAM,
    SETTINGS,
    ErrorCode,
    frame,
    settings_frame,
)
from pillion.net.http2.hpack import encode
from pillion.net.rpc import LANE_BYTES, Code, LaneCall, RpcError

PATH = b"/echo.Echo/Lane"
OFFER = {LANE_CALLS: LANE_VERSION}
NO_TIMEOUT = bytes(4)


class LaneEcho(Echo):
    """What a call in the lane says is what happens to it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.fitted: list[bool] = []
        self.deadlines: list[float | None] = []

    async def lane(self, call: LaneCall, message: bytes) -> bytes | None:
        self.deadlines.append(call.deadline)
        match message:
            case b"fail":
                return bytes(await self.fail(call, message))
            case b"crash":
                return bytes(await self.crash(call, message))
            case b"never":
                return await self.never(call, message)
            case b"held":
                self.running += 1
                await self.gate.wait()
            case b"listen":
                return repr((call.ended, await call.receive())).encode()
            case b"stubborn":
                self.running += 1
                with contextlib.suppress(asyncio.CancelledError):
                    await self.gate.wait()
            case b"stream":
                for piece in (b"a", b"b", b"c"):
                    await call.send(piece)
                return None
        answer = message if not message.startswith(b"times ") else b"x" * int(message[6:])
        self.fitted.append(call.fits(len(answer)))
        if self.fitted[-1]:
            return answer
        await call.send(answer, end=True)
        return None


class Laned:
    """A server with a lane, and a channel that offers one."""

    def __init__(self, service: LaneEcho, server: GrpcServer, port: int) -> None:
        self.service = service
        self.server = server
        self.port = port
        self.channel = GrpcChannel("127.0.0.1", port, lane=True)

    async def warm(self) -> "Laned":
        """Once the settings of both ends have crossed."""
        await self.channel.unary(b"/echo.Echo/Unary", b"")
        await eventually(lambda: self.channel.has_lane)
        self.service.done.clear()
        return self

    def ask(self, message: bytes, timeout: float | None = None) -> LaneAsked:
        assert self.channel.has_lane
        return self.channel.lane(message, timeout=timeout)


@asynccontextmanager
async def laned(*, max_streams: int = 0) -> AsyncIterator[Laned]:
    service = LaneEcho()
    server = GrpcServer(service, lane=(PATH, service.lane))
    if max_streams:
        server.http2_limits = type(server.http2_limits)(max_streams=max_streams, lane=True)
    here = Laned(service, server, await server.listen(["127.0.0.1"], 0))
    try:
        yield here
    finally:
        await here.channel.close()
        await server.close()


async def said(call: LaneAsked) -> tuple[bool, list[bytes]]:
    """Whether the answer came in the lane, and what it was; of gRPC's, every message."""
    whole = await call.reply
    if whole is not None:
        assert call.ended
        return True, [whole]
    found = []
    while (message := await call.receive()) is not None:
        found.append(message)
    return False, found


async def ended(call: LaneAsked) -> RpcError:
    with pytest.raises(RpcError) as caught:
        await said(call)
    return caught.value


def numbers(payload: bytes) -> dict[int, int]:
    return dict(struct.iter_unpack(">HL", payload))


# Agreement.


async def test_a_lane_is_there_once_both_have_offered_it() -> None:
    async with laned() as here:
        assert not here.channel.has_lane
        await here.warm()
        assert await said(here.ask(b"hello")) == (True, [b"hello"])


async def test_a_channel_that_offers_none_has_none() -> None:
    async with laned() as here:
        channel = GrpcChannel("127.0.0.1", here.port)
        for _ in range(3):
            assert (await channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
            assert not channel.has_lane
        await channel.close()


async def test_a_server_without_a_lane_announces_none() -> None:
    service = Echo()
    server = GrpcServer(service)
    channel = GrpcChannel("127.0.0.1", await server.listen(["127.0.0.1"], 0), lane=True)
    for _ in range(3):
        assert (await channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
    assert not channel.has_lane
    await channel.close()
    await server.close()


@pytest.mark.parametrize(
    ("offer", "known"), [({}, False), (OFFER, True), ({LANE_CALLS: 2}, False), ({3: 100}, False)]
)
async def test_only_who_offers_this_version_hears_of_it(offer: dict[int, int], known: bool) -> None:
    async with laned() as here:
        raw = await RawClient.dial(here.port, offer)
        first = await raw.until(SETTINGS)
        second = await raw.until(SETTINGS)
        raw.close()
    assert numbers(first[3]).keys() == {5, 6}, "the first says what Dapr's first says"
    assert numbers(second[3]) == {MAX_CONCURRENT_STREAMS: 4096} | (OFFER if known else {})


async def test_an_official_client_is_served_by_a_server_with_a_lane() -> None:
    async with laned() as here, grpc.aio.insecure_channel(f"127.0.0.1:{here.port}") as channel:
        for _ in range(3):
            assert await channel.unary_unary("/echo.Echo/Unary")(b"x") == b"x"


async def test_an_official_server_is_called_by_a_channel_that_offers_a_lane() -> None:
    class Official(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            async def back(message: bytes, context: Any) -> bytes:
                return message

            return grpc.unary_unary_rpc_method_handler(back)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Official(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel = GrpcChannel("127.0.0.1", port, lane=True)
    for _ in range(3):
        assert (await channel.unary(b"/a.B/C", b"x")).message == b"x" and not channel.has_lane
    await channel.close()
    await server.stop(0)


# Calls and answers.


@pytest.mark.parametrize("size", [0, 1, 1000, LANE_BYTES])
async def test_a_call_of_any_size_up_to_the_limit_comes_back(size: int) -> None:
    async with laned() as here:
        await here.warm()
        assert await said(here.ask(b"x" * size)) == (True, [b"x" * size])
    assert here.service.done == [(PATH, 0, size, size)] and not here.server.calls


@pytest.mark.parametrize(
    ("size", "fits"), [(FRAME_BYTES, True), (FRAME_BYTES + 1, False), (3_000_000, False)]
)
async def test_an_answer_too_large_for_one_frame_comes_as_grpc(size: int, fits: bool) -> None:
    async with laned() as here:
        await here.warm()
        assert await said(here.ask(b"times %d" % size)) == (fits, [b"x" * size])
        assert here.service.fitted == [fits]
    assert here.service.done == [(PATH, 0, len(b"times %d" % size), size)]


async def test_a_streamed_answer_comes_piece_by_piece_as_grpc() -> None:
    async with laned() as here:
        await here.warm()
        assert await said(here.ask(b"stream")) == (False, [b"a", b"b", b"c"])
    assert here.service.done == [(PATH, 0, 6, 3)]


async def test_another_status_comes_as_grpc_with_all_that_belongs_to_it() -> None:
    async with laned() as here:
        await here.warm()
        error = await ended(here.ask(b"fail"))
        assert (error.code, error.message, error.remote) == (9, "not today: 100 % « nein »", True)
        assert error.details == b"\x08\x09" and (b"x-late-bin", b"\0\xff") in error.trailers
        assert await said(here.ask(b"next")) == (True, [b"next"])
    assert here.service.done == [(PATH, 9, 4, 0), (PATH, 0, 4, 4)]


async def test_a_handler_that_crashes_tells_nobody_why(caplog: pytest.LogCaptureFixture) -> None:
    async with laned() as here:
        await here.warm()
        error = await ended(here.ask(b"crash"))
    assert (error.code, error.message) == (Code.INTERNAL, "the call could not be served")
    assert "a secret" in caplog.text


async def test_a_call_that_is_not_admitted_never_reaches_the_handler() -> None:
    async with laned() as here:
        await here.warm()
        here.service.refuses = RpcError(Code.UNAUTHENTICATED, "who are you")
        error = await ended(here.ask(b"x"))
    assert (error.code, error.message, here.service.deadlines) == (Code.UNAUTHENTICATED, "who are you", [])
    assert here.service.done == [(PATH, 16, 1, 0)]


async def test_a_hundred_at_once_share_the_connection_with_other_calls() -> None:
    async with laned() as here:
        await here.warm()
        calls = [here.ask(b"held") for _ in range(100)]
        assert (await here.channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
        await eventually(lambda: here.service.running == 100)
        here.service.gate.set()
        assert [await said(call) for call in calls] == [(True, [b"held"])] * 100
        assert len(here.server.connections) == 1
        assert not next(iter(here.server.connections)).streams and not here.server.calls
    assert len(here.service.done) == 101


async def test_a_call_has_no_message_behind_its_first() -> None:
    async with laned() as here:
        await here.warm()
        assert await said(here.ask(b"listen")) == (True, [b"(True, None)"])


# Ends.


async def test_a_timeout_travels_and_ends_the_call_on_both_sides() -> None:
    async with laned() as here:
        await here.warm()
        began = asyncio.get_running_loop().time()
        error = await ended(here.ask(b"never", timeout=0.1))
        assert error.code == Code.DEADLINE_EXCEEDED
        await eventually(lambda: here.service.done)
    assert (here.service.cancelled, here.service.told, here.service.running) == (1, 1, 0)
    [deadline] = here.service.deadlines
    assert deadline is not None and 0.05 < deadline - began < 0.15
    assert [code for _, code, _, _ in here.service.done] in ([Code.DEADLINE_EXCEEDED], [Code.CANCELLED])


async def test_the_server_watches_a_timeout_by_itself() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, (20).to_bytes(4, "big") + b"never"))
        assert await raw.until(RST_STREAM) == reset(1, ErrorCode.CANCEL)
        raw.close()
        await eventually(lambda: here.service.done)
    assert here.service.done == [(PATH, Code.DEADLINE_EXCEEDED, 5, 0)] and here.service.cancelled == 1


async def test_a_call_answered_in_time_leaves_no_timer_behind() -> None:
    async with laned() as here:
        await here.warm()
        calls = [
            here.ask(b"held", timeout=30),
            here.ask(b"x", timeout=30),
            here.ask(b"times 20000", timeout=30),
        ]
        await eventually(lambda: here.service.running)
        here.service.gate.set()
        assert [len((await said(call))[1][0]) for call in calls] == [4, 1, 20_000]
        assert all(call._timer is None or call._timer.cancelled() for call in calls)
    assert [code for _, code, _, _ in here.service.done] == [0, 0, 0]


async def test_a_caller_that_gives_up_cancels_the_handler() -> None:
    async with laned() as here:
        await here.warm()
        call = here.ask(b"never")
        await eventually(lambda: here.service.running)
        call.cancel()
        assert (await ended(call)).code == Code.CANCELLED
        await eventually(lambda: here.service.done)
        assert await said(here.ask(b"next")) == (True, [b"next"])
    assert here.service.cancelled == 1 and here.service.done[0] == (PATH, Code.CANCELLED, 5, 0)


async def test_an_answer_that_crosses_the_callers_reset_is_let_go() -> None:
    async with laned() as here:
        await here.warm()
        call = here.ask(b"held")
        await eventually(lambda: here.service.running)
        here.service.gate.set()
        call.cancel()
        assert (await ended(call)).code == Code.CANCELLED
        await eventually(lambda: here.service.done)
        assert await said(here.ask(b"next")) == (True, [b"next"])
    assert len(here.service.done) == 2


async def test_a_handler_that_goes_on_all_the_same_answers_nobody() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"stubborn"))
        await eventually(lambda: here.service.running)
        raw.send(bytes_of(reset(1, ErrorCode.CANCEL)))
        await eventually(lambda: here.service.done)
        raw.send(frame(LANE, END_STREAM, 3, NO_TIMEOUT + b"x"))
        assert await raw.frame() == answer(3, b"x")
        raw.close()
    assert [code for _, code, _, _ in here.service.done] == [Code.CANCELLED, 0]


async def test_a_client_that_vanishes_cancels_its_calls() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"never"))
        await eventually(lambda: here.service.running)
        raw.writer.transport.abort()
        await eventually(lambda: here.service.done and not here.server.calls)
    assert here.service.cancelled == 1 and here.service.done == [(PATH, Code.CANCELLED, 5, 0)]


async def test_a_server_that_closes_lets_calls_in_the_lane_end() -> None:
    async with laned() as here:
        await here.warm()
        call = here.ask(b"held")
        await eventually(lambda: here.service.running)
        closing = asyncio.ensure_future(here.server.close(grace=5))
        await eventually(lambda: not here.channel.has_lane)
        here.service.gate.set()
        assert await said(call) == (True, [b"held"])
        await asyncio.wait_for(closing, 2)
    assert here.service.done == [(PATH, 0, 4, 4)]


async def test_a_server_that_closes_cuts_what_does_not_end_in_time() -> None:
    async with laned() as here:
        await here.warm()
        call = here.ask(b"never")
        await eventually(lambda: here.service.running)
        await here.server.close(grace=0.05)
        error = await ended(call)
    assert error.code == Code.UNAVAILABLE and not error.remote and here.service.cancelled == 1
    assert len(here.service.done) == 1


async def test_a_full_server_has_no_lane_until_there_is_room_again() -> None:
    async with laned(max_streams=2) as here:
        await here.warm()
        calls = [here.ask(b"held") for _ in range(2)]
        assert not here.channel.has_lane
        waiting = asyncio.ensure_future(here.channel.unary(b"/echo.Echo/Unary", b"later"))
        await eventually(lambda: here.service.running == 2)
        here.service.gate.set()
        assert [await said(call) for call in calls] == [(True, [b"held"])] * 2
        assert (await waiting).message == b"later" and here.channel.has_lane


async def test_a_call_past_the_servers_limit_is_refused_and_nothing_else_is_lost() -> None:
    async with laned(max_streams=2) as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(*(frame(LANE, END_STREAM, sid, NO_TIMEOUT + b"held") for sid in (1, 3, 5)))
        assert await raw.until(RST_STREAM) == reset(5, ErrorCode.REFUSED_STREAM)
        here.service.gate.set()
        assert [await raw.until(LANE) for _ in range(2)] == [answer(1, b"held"), answer(3, b"held")]
        raw.send(frame(LANE, END_STREAM, 7, NO_TIMEOUT + b"more"))
        assert await raw.until(LANE) == answer(7, b"more")
        raw.close()
    assert len(here.service.done) == 3


async def test_a_refused_call_counts_as_one_the_server_never_saw() -> None:
    async with scripted(frame(RST_STREAM, 0, 3, (7).to_bytes(4, "big"))) as channel:
        error = await ended(channel.lane(b"x"))
    assert (error.code, error.remote) == (Code.UNAVAILABLE, False)


# A peer that does not read.


async def test_answers_that_nobody_reads_wait_as_grpc_under_flow_control() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
        asked = 0
        while all(here.service.fitted):
            raw.send(*(frame(LANE, END_STREAM, asked * 2 + 2 * at + 1, NO_TIMEOUT + b"times 16000") for at in range(20)))  # fmt: skip
            asked += 20
            await eventually(lambda asked=asked: len(here.service.fitted) == asked)
            assert asked < 2000, "it never said that it does not fit"
        [connection] = here.server.connections
        assert connection.paused and connection.streams, "what waits, waits in its stream"
        assert connection.transport is not None
        assert connection.transport.get_write_buffer_size() < 1 << 20
        raw.writer.transport.resume_reading()  # type: ignore[attr-defined]
        laned_ones, streamed = 0, 0
        while laned_ones + streamed < asked:
            kind, flags, _, payload = await raw.frame()
            laned_ones += kind == LANE
            streamed += kind == HEADERS and flags & END_STREAM
            if kind == DATA:
                raw.send(frame(8, 0, 0, len(payload).to_bytes(4, "big")))
        assert (laned_ones, streamed) == (here.service.fitted.count(True), here.service.fitted.count(False))
        raw.close()
        await eventually(lambda: len(here.service.done) == asked)


# Frames that nobody should send.


def reset(sid: int, code: int) -> Frame:
    return RST_STREAM, 0, sid, code.to_bytes(4, "big")


def answer(sid: int, payload: bytes) -> Frame:
    return LANE, END_STREAM, sid, payload


async def goodbye(raw: RawClient) -> int:
    """The code with which the server hangs up."""
    _, _, _, payload = await raw.until(GOAWAY)
    assert await asyncio.wait_for(raw.reader.read(), 5) == b""
    raw.close()
    return int.from_bytes(payload[4:8], "big")


@pytest.mark.parametrize("sid", [0, 2])
async def test_a_call_on_what_is_no_stream_of_a_client_ends_the_connection(sid: int) -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, sid, NO_TIMEOUT + b"x"))
        assert await goodbye(raw) == ErrorCode.PROTOCOL_ERROR
    assert not here.service.done


async def test_a_call_on_a_stream_that_was_used_ends_the_connection() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"x"), frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"y"))
        assert await goodbye(raw) == ErrorCode.STREAM_CLOSED
    assert [code for _, code, _, _ in here.service.done] == [0]


async def test_a_call_on_a_stream_that_was_skipped_ends_the_connection() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 5, NO_TIMEOUT + b"x"), frame(LANE, END_STREAM, 3, NO_TIMEOUT + b"y"))
        assert await goodbye(raw) == ErrorCode.PROTOCOL_ERROR


@pytest.mark.parametrize("payload", [b"", b"\0", b"\0\0\0"])
async def test_a_call_too_short_for_its_timeout_costs_its_stream(payload: bytes) -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, payload), frame(LANE, END_STREAM, 3, NO_TIMEOUT))
        assert await raw.until(RST_STREAM) == reset(1, ErrorCode.FRAME_SIZE_ERROR)
        assert await raw.until(LANE) == answer(3, b"")
        raw.close()
    assert here.service.done == [(PATH, 0, 0, 0)]


async def test_a_second_try_on_a_stream_that_was_refused_is_passed_over() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, b""), frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"x"))
        raw.send(frame(LANE, END_STREAM, 3, NO_TIMEOUT + b"y"))
        assert await raw.until(RST_STREAM) == reset(1, ErrorCode.FRAME_SIZE_ERROR)
        assert await raw.frame() == answer(3, b"y")
        raw.close()
    assert len(here.service.done) == 1


@pytest.mark.parametrize(
    "behind", [frame(DATA, END_STREAM, 1, b"x"), frame(HEADERS, 5, 1, encode([(b"x", b"y")]))]
)
async def test_what_follows_a_call_on_its_stream_costs_the_stream(behind: bytes) -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"never"))
        await eventually(lambda: here.service.running)
        raw.send(behind)
        assert await raw.until(RST_STREAM) == reset(1, ErrorCode.STREAM_CLOSED)
        raw.close()
        await eventually(lambda: here.service.done)
    assert here.service.cancelled == 1 and len(here.service.done) == 1


async def test_a_call_inside_a_header_block_ends_the_connection() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(HEADERS, 0, 1, b""), frame(LANE, END_STREAM, 3, NO_TIMEOUT))
        assert await goodbye(raw) == ErrorCode.PROTOCOL_ERROR


async def test_a_call_larger_than_a_frame_may_be_ends_the_connection() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        raw.send(frame(LANE, END_STREAM, 1, bytes(FRAME_BYTES + 1)))
        assert await goodbye(raw) == ErrorCode.FRAME_SIZE_ERROR


@pytest.mark.parametrize("offer", [{}, {LANE_CALLS: 2}])
async def test_without_agreement_the_frame_is_one_nobody_knows(offer: dict[int, int]) -> None:
    """RFC 9113, 5.5: unknown frames are passed over."""
    async with laned() as here:
        raw = await RawClient.greeted(here.port, offer)
        raw.send(
            frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"x"), frame(LANE, 0, 0), frame(PING, 0, 0, bytes(8))
        )
        assert await raw.frame() == (PING, ACK, 0, bytes(8))
        raw.send(raw.call(b"/echo.Echo/Unary", b"x"))
        assert (await raw.answer())[1] == b"x"
        raw.close()
    assert here.service.done == [(b"/echo.Echo/Unary", 0, 1, 1)]


async def test_who_offers_and_hears_no_offer_is_not_served_in_the_lane() -> None:
    server = GrpcServer(Echo())
    raw = await RawClient.greeted(await server.listen(["127.0.0.1"], 0), OFFER)
    raw.send(frame(LANE, END_STREAM, 1, NO_TIMEOUT + b"x"), frame(PING, 0, 0, bytes(8)))
    assert await raw.frame() == (PING, ACK, 0, bytes(8))
    raw.close()
    await server.close()


async def test_calls_reset_as_soon_as_made_end_the_connection() -> None:
    async with laned() as here:
        raw = await RawClient.greeted(here.port, OFFER)
        with contextlib.suppress(ConnectionError):
            for sid in range(1, 8 * RECENT, 2):
                raw.send(frame(LANE, END_STREAM, sid, NO_TIMEOUT + b"never"), bytes_of(reset(sid, 8)))
        assert await goodbye(raw) == ErrorCode.ENHANCE_YOUR_CALM
        await eventually(lambda: not here.service.running and not here.server.calls)


def bytes_of(made: Frame) -> bytes:
    return frame(*made)


# A server that misbehaves.


@asynccontextmanager
async def scripted(*answers: bytes, offer: bool = True) -> AsyncIterator[GrpcChannel]:
    """A channel that offers a lane and has made one call, to a server that answers its next with `answers` (stream 3)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SM\r\n\r\n")
        writer.write(settings_frame(OFFER if offer else {}))
        await sent(reader, 1)
        block = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
        tail = encode([(b"grpc-status", b"0")])
        writer.write(frame(HEADERS, 4, 1, block) + frame(DATA, 0, 1, bytes(5)) + frame(HEADERS, 5, 1, tail))
        await sent(reader, 3)
        writer.write(b"".join(answers))
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    async def sent(reader: asyncio.StreamReader, sid: int) -> None:
        """Until the client has ended its half of a stream."""
        while True:
            head = await reader.readexactly(9)
            await reader.readexactly(int.from_bytes(head[:3], "big"))
            if int.from_bytes(head[5:], "big") == sid and head[3] in (DATA, LANE) and head[4] & END_STREAM:
                return

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    channel = GrpcChannel("127.0.0.1", server.sockets[0].getsockname()[1], lane=True)
    await channel.unary(b"/a.B/C", b"")
    assert channel.has_lane is offer
    try:
        yield channel
    finally:
        await channel.close()
        server.close()


async def test_an_answer_in_the_lane_to_an_ordinary_call_is_an_error() -> None:
    async with scripted(frame(LANE, END_STREAM, 3, b"x")) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.unary(b"/a.B/C", b"")
        assert caught.value.code == Code.UNAVAILABLE and channel.has_lane, "it costs the stream alone"


async def test_a_second_answer_is_passed_over() -> None:
    async with scripted(frame(LANE, END_STREAM, 3, b"x") * 2) as channel:
        assert await said(channel.lane(b"x")) == (True, [b"x"]) and channel.has_lane


async def test_an_answer_in_the_lane_behind_grpcs_head_is_an_error() -> None:
    head = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
    async with scripted(frame(HEADERS, END_HEADERS, 3, head), frame(LANE, END_STREAM, 3, b"x")) as channel:
        assert (await ended(channel.lane(b"x"))).code == Code.UNAVAILABLE and channel.has_lane


@pytest.mark.parametrize("sid", [0, 2, 5])
async def test_an_answer_on_a_stream_nobody_opened_ends_the_connection(sid: int) -> None:
    async with scripted(frame(LANE, END_STREAM, sid, b"x")) as channel:
        assert (await ended(channel.lane(b"x"))).code == Code.UNAVAILABLE
        assert not channel.has_lane


async def test_an_answer_without_agreement_is_a_frame_nobody_knows() -> None:
    block = encode([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"5")])
    async with scripted(frame(LANE, 1, 3, b"x"), frame(HEADERS, 5, 3, block), offer=False) as channel:
        with pytest.raises(RpcError) as caught:
            await channel.unary(b"/a.B/C", b"")
    assert caught.value.code == Code.NOT_FOUND


async def test_a_channel_that_offered_nothing_has_no_lane_whatever_the_server_says() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(settings_frame(OFFER))
        block = encode([(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")])
        await reader.readuntil(b"/a.B/C")
        writer.write(frame(HEADERS, 5, 1, block))
        await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    channel = GrpcChannel("127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        call = await channel.stream(b"/a.B/C")
        assert await call.receive() is None and not channel.has_lane
    finally:
        await channel.close()
        server.close()


async def test_a_connection_lost_in_a_call_is_unavailable_and_dialled_again() -> None:
    async with laned() as here:
        await here.warm()
        call = here.ask(b"never")
        await eventually(lambda: here.service.running)
        for connection in list(here.server.connections):
            connection.cut()
        error = await ended(call)
        assert (error.code, error.remote) == (Code.UNAVAILABLE, False) and not here.channel.has_lane
        await here.warm()
        assert await said(here.ask(b"again")) == (True, [b"again"])
