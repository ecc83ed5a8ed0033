"""Calls between two sidecars of our own kind: the same to app and caller as by the messages of other runtimes."""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from support.apps import PlainApp, answer, grpc_app, plain_app
from support.http2 import RawClient
from support.pair import Known, Pair, http_app, pair, rpc_app, sidecar
from support.waiting import eventually

from pillion.edge.grpc.api import DAPR
from pillion.edge.peer.client import PeerCalls
from pillion.edge.peer.links import Link, Links
from pillion.model.invoke import Invocation, Outcome
from pillion.net.grpc import GrpcServer
from pillion.net.grpc.channel import GrpcChannel
from pillion.net.http2.frames import (
    DATA,
    END_STREAM,
    HEADERS,
    LANE,
    LANE_CALLS,
    LANE_VERSION,
    ErrorCode,
    frame,
    reset_frame,
    settings_frame,
)  # fmt: skip
from pillion.net.rpc import AGAIN, LANE_BYTES, Code, LaneCall, RpcError
from pillion.ports.peers import PeerFailed, PeerUnreachable
from pillion.toolbox.stream import whole
from pillion.wire.lane import Lane
from pillion.wire.proto import common, runtime

Pairs = list[tuple[bytes, bytes]]
TRACE = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
INVOKE = (DAPR + b"InvokeService").decode()
ANSWERS = {
    "/ok": answer(200, b"fine", "Content-Type: text/x", "X-Two: a", "X-Other: -", "X-Two: b"),
    "/empty": answer(204),
    "/moved": answer(302, b"there", "Location: /elsewhere"),
    "/gone": answer(404, b'{"no":1}', "Content-Type: application/json", "Retry-After: 3"),
    "/broken": answer(503, b"oh", f"X-Trace: {'t' * 300}"),
    "/untyped": answer(200, b"\x00\xff"),
    "/large": answer(200, b"x" * 40_000),
    "/edge": answer(200, b"x" * LANE_BYTES),
    "/over": answer(200, b"x" * LANE_BYTES, f"X-Head: {'v' * 300}"),
    "/heads": answer(200, b"h", *(f"X-{number}: {'v' * 1000}" for number in range(20))),
}


@dataclass
class Seen:
    """What the app was asked, and what the caller was answered."""

    line: str
    asked: list[tuple[str, str]]
    body: bytes
    status: int
    headers: Pairs
    answer: bytes


@asynccontextmanager
async def both_ways() -> AsyncIterator[tuple[PlainApp, Pair, Pair]]:
    """One app behind two pairs of sidecars: by messages, and in the lane."""
    app = PlainApp(ANSWERS)
    async with (
        plain_app(app) as port,
        pair(http_app(port)) as messages,
        pair(http_app(port), lane=True) as lane,
    ):
        yield app, messages, lane


async def seen(app: PlainApp, through: Pair, verb: str, path: str, body: Any, headers: Pairs) -> Seen:
    reply = await through.front.ask(verb, f"/v1.0/invoke/back/method{path}", body, headers)
    got = await whole(reply.body)
    asked = app.asked[-1]
    dated = [pair for pair in reply.headers if pair[0] != b"date"]
    return Seen(asked.line, sorted(asked.headers), asked.body, reply.status, sorted(dated), got)


CALLS: list[tuple[str, str, bytes, Pairs]] = [
    ("GET", "/ok?q=1&q=2", b"", []),
    ("GET", "/ok", b"", [TRACE, (b"tracestate", b"a=1"), (b"baggage", b"k=v")]),
    ("POST", "/ok", b"body", [(b"content-type", b"text/y; charset=x"), (b"x-h", b"1"), (b"x-o", b""), (b"x-h", b"2")]),
    ("POST", "/ok", b"", []),
    ("PUT", "/a%20b/%C3%BC?x=%20", b"\x00\xff", [(b"x-utf", "naïve ☃".encode())]),
    ("PATCH", "/ok", b"x", [(b"grpc-timeout", b"1S"), (b"grpc-mine", b"2"), (b"te", b"trailers")]),
    ("DELETE", "/empty", b"", []),
    ("OPTIONS", "/empty", b"", [(b"origin", b"http://x")]),
    ("GET", "/moved", b"", []),
    ("POST", "/gone", b"b", []),
    ("POST", "/broken", b"b", []),
    ("GET", "/untyped", b"", [(b"accept-encoding", b"gzip")]),
    ("GET", "/large", b"", []),
    ("GET", "/edge", b"", []),
    ("GET", "/over", b"", []),
    ("GET", "/heads", b"", []),
    ("POST", "/ok", b"x" * 40_000, []),
    ("POST", "/ok", b"x" * LANE_BYTES, []),
    ("GET", "/ok", b"", [(b"x-long", b"v" * 3000)]),
    ("GET", "/ok", b"", [(b"dapr-caller-app-id", b"spoof"), (b"x-forwarded-for", b"9.9.9.9")]),
]  # fmt: skip


@pytest.mark.parametrize(("verb", "path", "body", "headers"), CALLS)
async def test_app_and_caller_see_the_same_either_way(
    verb: str, path: str, body: bytes, headers: Pairs
) -> None:
    async with both_ways() as (app, messages, lane):
        expected = await seen(app, messages, verb, path, body, headers)
        for _ in range(3):
            assert await seen(app, lane, verb, path, body, headers) == expected
        assert messages.back.laned == 0
        assert lane.back.laned == (3 if len(body) < LANE_BYTES else 0)


@pytest.mark.parametrize("path", ["/a%0Ab", "/a%FFb", "/a%00b", "/q%3Fx", "/..%2F..", "/%25"])
async def test_an_odd_method_ends_the_same_either_way(path: str) -> None:
    async with both_ways() as (app, messages, lane):
        found = []
        for through in (messages, lane):
            app.asked.clear()
            reply = await through.front.ask("GET", f"/v1.0/invoke/back/method{path}")
            found.append((reply.status, await whole(reply.body), [asked.line for asked in app.asked]))
        assert found[0] == found[1]


async def test_the_first_call_on_a_connection_brings_the_lane_for_those_behind_it() -> None:
    app = PlainApp(ANSWERS)
    async with plain_app(app) as port, sidecar("back", app=http_app(port), lane=True) as back:
        names = Known({"back": [f"127.0.0.1:{back.internal_port}"]})
        async with sidecar("front", names=names, lane=True) as front:
            for _ in range(3):
                assert (await front.ask("GET", "/v1.0/invoke/back/method/ok")).status == 200
            assert back.laned in (2, 3) and len(app.asked) == 3


@pytest.mark.parametrize(("front_lane", "back_lane"), [(True, False), (False, True)])
async def test_one_end_alone_makes_no_lane(front_lane: bool, back_lane: bool) -> None:
    app = PlainApp(ANSWERS)
    async with plain_app(app) as port, sidecar("back", app=http_app(port), lane=back_lane) as back:
        names = Known({"back": [f"127.0.0.1:{back.internal_port}"]})
        async with sidecar("front", names=names, lane=front_lane) as front:
            for _ in range(3):
                assert (await front.ask("POST", "/v1.0/invoke/back/method/ok", b"x")).status == 200
            assert back.laned == 0 and len(app.asked) == 3


async def test_every_link_is_given_back_however_the_call_ends() -> None:
    app = PlainApp(ANSWERS)
    async with plain_app(app) as port, pair(http_app(port), lane=True) as both:
        for path in ("/ok", "/gone", "/large", "/q%3Fx", "/a%FFb", "/a%0Ab"):
            reply = await both.front.ask("GET", f"/v1.0/invoke/back/method{path}")
            await whole(reply.body)
        gate = asyncio.Event()
        app.hold = gate.wait
        leaver = asyncio.ensure_future(both.front.ask("GET", "/v1.0/invoke/back/method/ok"))
        await eventually(lambda: app.at_once)
        leaver.cancel()
        [link] = both.front.links._links.values()
        await eventually(lambda: link.calls == 0)
        gate.set()


async def test_calls_at_once_each_get_their_own_answer() -> None:
    async with both_ways() as (_, _, lane):
        paths = [f"/{word}" for word in ("ok", "gone", "large", "untyped", "broken")] * 20
        replies = await asyncio.gather(
            *(lane.front.ask("GET", f"/v1.0/invoke/back/method{path}") for path in paths)
        )
        for path, reply in zip(paths, replies, strict=True):
            assert (
                answer(reply.status, await whole(reply.body)).split(b"\r\n\r\n")[1]
                == (ANSWERS[path].split(b"\r\n\r\n")[1])
            )


async def test_metrics_count_a_call_once_either_way() -> None:
    async with both_ways() as (_, messages, lane):
        counted = []
        for through in (messages, lane):
            for path in ("/ok", "/gone", "/large"):
                await whole((await through.front.ask("GET", f"/v1.0/invoke/back/method{path}")).body)
            lines = [
                line
                for side in (through.front, through.back)
                for line in side.metrics.text().splitlines()
                if "service_invocation" in line and "_total" in line and not line.startswith("#")
            ]
            counted.append(sorted(lines))
        assert counted[0] == counted[1] and counted[0]


# gRPC callers and apps.


class RpcApp:
    """OnInvoke: shows what it was asked, fails where told."""

    def __init__(self) -> None:
        self.asked: list[tuple[common.InvokeRequest, Any]] = []

    async def on_invoke(self, data: bytes, context: Any) -> bytes:
        wanted = common.InvokeRequest.FromString(data)
        self.asked.append((wanted, sorted(context.invocation_metadata())))
        context.set_trailing_metadata((("x-trail", "tv"), ("x-tr-bin", b"\x01\x02")))
        if wanted.method == "err":
            await context.abort(grpc.StatusCode.NOT_FOUND, "app says 5")
        made = common.InvokeResponse(content_type="text/plain")
        made.data.value = b"echo:" + wanted.data.value
        made.data.type_url = wanted.data.type_url
        return made.SerializeToString()


@asynccontextmanager
async def both_ways_of_grpc() -> AsyncIterator[tuple[RpcApp, list[Pair]]]:
    served = RpcApp()
    async with contextlib.AsyncExitStack() as stack:
        port = await stack.enter_async_context(grpc_app({"/dapr.proto.runtime.v1.AppCallback/OnInvoke": served.on_invoke}))  # fmt: skip
        pairs = []
        for lane in (False, True):
            app, channel = rpc_app(port)
            pairs.append(await stack.enter_async_context(pair(app, channel, lane=lane)))
        yield served, pairs


async def told(through: Pair, method: str, type_url: str = "") -> tuple[Any, ...]:
    """All that a gRPC caller hears."""
    made = runtime.InvokeServiceRequest(id="back")
    made.message.method = method
    made.message.data.value = b"hi"
    made.message.data.type_url = type_url
    made.message.content_type = "text/plain"
    async with grpc.aio.insecure_channel(f"127.0.0.1:{through.front.grpc_port}") as channel:
        call = channel.unary_unary(INVOKE)(
            made.SerializeToString(), metadata=(("x-a", "1"), ("x-a", "2"), ("x-b-bin", b"\xff")), timeout=10
        )
        try:
            data = await call
        except grpc.aio.AioRpcError as error:
            return error.code(), error.details(), sorted(error.trailing_metadata() or ())
        return data, sorted(await call.initial_metadata()), sorted(await call.trailing_metadata())


@pytest.mark.parametrize("type_url", ["", "type/x"])
@pytest.mark.parametrize("method", ["m", "err"])
async def test_a_grpc_app_and_a_grpc_caller_see_the_same_either_way(method: str, type_url: str) -> None:
    async with both_ways_of_grpc() as (app, [messages, lane]):
        expected = await told(messages, method, type_url)
        for _ in range(3):
            assert await told(lane, method, type_url) == expected
        assert app.asked[0][0].data.type_url == type_url
        assert app.asked[0] == app.asked[1] == app.asked[3] and lane.back.laned == 3


# A peer of our own kind that is broken.


def call_bytes(words: bytes = b"GET\nok\n\n\n", steady: bytes = b"h", body: bytes = b"") -> bytes:
    return bytes(4) + struct.pack(">HHH", len(words), len(steady), 0) + words + steady + body


async def test_a_call_that_cannot_be_read_is_refused_in_grpcs_words() -> None:
    async with both_ways() as (app, _, lane):
        raw = await RawClient.greeted(lane.back.internal_port, {LANE_CALLS: LANE_VERSION})
        raw.send(frame(LANE, END_STREAM, 1, call_bytes()))
        assert (await raw.until(LANE))[2] == 1 and len(app.asked) == 1
        for sid, payload in (
            (3, bytes(4) + b"\xff"),
            (5, call_bytes(steady=b"")),
            (7, call_bytes(words=b"GET")),
        ):
            raw.send(frame(LANE, END_STREAM, sid, payload))
            fields = dict(raw.decoder.decode((await raw.until(HEADERS))[3]).fields)
            assert fields[b"grpc-status"] == b"3"
            assert fields[b"grpc-message"].startswith(b"parsing InternalInvokeRequest error")
        raw.close()
        assert len(app.asked) == 1


@asynccontextmanager
async def answering(lane: Any) -> AsyncIterator[Any]:
    """A front sidecar whose peer's lane answers so."""

    class Nothing:
        unary: dict[bytes, Any] = {}
        streams: dict[bytes, Any] = {}
        fallback = None

        def admit(self, call: Any) -> None: ...

        def completed(self, *_: Any) -> None: ...

    server = GrpcServer(Nothing(), lane=(b"/x.Y/Z", lane))
    address = f"127.0.0.1:{await server.listen(['127.0.0.1'], 0)}"
    try:
        async with sidecar("front", names=Known({"back": [address]}), lane=True) as front:
            await front.open_lane(address)
            yield front
    finally:
        await server.close()


@pytest.mark.parametrize("said", [b"", b"\0\0", b"\0\x09\0\0\0\0nonsense!", bytes(6)])
async def test_an_answer_that_cannot_be_read_is_an_error_with_a_reason(said: bytes) -> None:
    async def lane(call: LaneCall, message: bytes) -> bytes:
        return said

    async with answering(lane) as front:
        reply = await front.ask("GET", "/v1.0/invoke/back/method/m")
        text = await whole(reply.body)
        assert reply.status == 500 and b"code = Internal" in text and b"in the lane" in text
        [link] = front.links._links.values()
        assert link.calls == 0


async def test_a_peer_that_cannot_take_the_call_is_asked_again_after_a_second() -> None:
    calls = []

    async def lane(call: LaneCall, message: bytes) -> bytes:
        calls.append(message)
        if len(calls) == 1:
            raise RpcError(Code.UNAVAILABLE, "not now")
        return struct.pack(">HHH", 5, 0, 0) + b"200\n\nyes"

    async with answering(lane) as front:
        asked = asyncio.ensure_future(front.ask("GET", "/v1.0/invoke/back/method/m"))
        await eventually(lambda: front.clock.sleepers)
        await front.clock.advance(1)
        reply = await asked
        assert (reply.status, await whole(reply.body), len(calls)) == (200, b"yes", 2)
        [link] = front.links._links.values()
        assert link.calls == 0


# Calls that the other sidecar never looked at.


class Unwilling:
    """A sidecar that refuses its first streams, and answers the others in the lane."""

    def __init__(self, refuses: int) -> None:
        self.refuses = refuses
        self.asked: list[int] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"SM\r\n\r\n")
        writer.write(settings_frame({LANE_CALLS: LANE_VERSION}))
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] in (DATA, LANE) and head[4] & END_STREAM:
                    self.asked.append(head[3])
                    writer.write(self.reply(int.from_bytes(head[5:], "big")))
        writer.close()

    def reply(self, sid: int) -> bytes:
        if len(self.asked) <= self.refuses:
            return reset_frame(sid, ErrorCode.REFUSED_STREAM)
        return frame(LANE, END_STREAM, sid, Lane().answer(Outcome(200, [], b""), b"at last") or b"")


@asynccontextmanager
async def unwilling(refuses: int) -> AsyncIterator[tuple[Unwilling, PeerCalls, Link]]:
    other = Unwilling(refuses)
    server = await asyncio.start_server(other.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    links = Links(lambda address: GrpcChannel("127.0.0.1", port, lane=True))
    calls = PeerCalls(links)
    link = links.take("there")
    links.give(link)
    try:
        yield other, calls, link
    finally:
        await calls.close()
        server.close()


@pytest.mark.parametrize("body", [b"small", b"x" * 20_000])
async def test_a_call_that_was_refused_unseen_is_made_again_at_once(body: bytes) -> None:
    async with unwilling(2) as (other, calls, link):
        with contextlib.suppress(PeerUnreachable):  # a large body is answered by what its form does not know
            async with asyncio.timeout(0.9):
                outcome = await calls.invoke("there", Invocation("back", "m", "POST", [], body))
                assert (outcome.status, outcome.body) == (200, b"at last")
        assert other.asked == ([DATA, LANE, LANE] if len(body) < LANE_BYTES else [DATA] * 3)
        assert link.calls == 0


async def test_a_call_that_is_refused_unseen_again_and_again_is_given_up() -> None:
    async with unwilling(100) as (other, calls, link):
        with pytest.raises(PeerUnreachable):
            await calls.invoke("there", Invocation("back", "m", "POST", [], b""))
        assert other.asked == [DATA, *[LANE] * len(AGAIN)] and link.calls == 0


async def test_a_call_whose_time_is_up_is_not_sent_and_gives_its_link_back() -> None:
    async with unwilling(0) as (other, calls, link):
        (await link.channel.stream(b"/a.B/C")).cancel()  # connects
        assert link.channel.has_lane
        late = Invocation("back", "m", "POST", [], b"", deadline=asyncio.get_running_loop().time() - 1)
        with pytest.raises(PeerFailed) as failed:
            await calls.invoke("there", late)
        assert failed.value.code == Code.DEADLINE_EXCEEDED
        assert other.asked == [] and link.calls == 0


async def test_a_call_that_cannot_be_written_gives_its_link_back() -> None:
    async with unwilling(0) as (_, calls, link):
        (await link.channel.stream(b"/a.B/C")).cancel()
        with pytest.raises(UnicodeEncodeError):
            await calls.invoke("there", Invocation("back", "\ud800", "POST", [], b""))
        assert link.calls == 0
