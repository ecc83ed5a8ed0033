"""The protocol between sidecars, spoken by hand with the generated classes: what another runtime would send and expect."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from support.apps import PlainApp, answer, plain_app
from support.pair import Known, Sidecar, http_app, sidecar, web_app
from support.waiting import eventually

from pillion.net.http import Request, Responder
from pillion.toolbox.stream import Stream, whole
from pillion.wire.proto import internals

PREFIX = "/dapr.proto.internals.v1.ServiceInvocation/"
Asking = internals.InternalInvokeRequestStream
Answering = internals.InternalInvokeResponseStream


def leading(method: str = "m1", data: bytes | None = b"", seq: int = 0) -> Any:
    made = Asking()
    made.request.ver = internals.V1
    made.request.metadata["User-Agent"].values.append("Go-http-client/1.1")
    made.request.metadata["X-Many"].values.extend(["a", "b"])
    made.request.message.method = method
    made.request.message.data.SetInParent()
    made.request.message.content_type = "text/x"
    made.request.message.http_extension.verb = 3
    if data is not None:
        made.payload.data = data
        made.payload.seq = seq
    return made


def piece(data: bytes, seq: int) -> Any:
    made = Asking()
    made.payload.data = data
    made.payload.seq = seq
    return made


@asynccontextmanager
async def served(app: PlainApp) -> AsyncIterator[tuple[Sidecar, grpc.aio.Channel]]:
    async with plain_app(app) as port, sidecar("back", app=http_app(port)) as side:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{side.internal_port}") as channel:
            yield side, channel


async def call(channel: grpc.aio.Channel, *messages: Any) -> list[Any]:
    sent = iter([message.SerializeToString() for message in messages])
    return [
        Answering.FromString(data) async for data in channel.stream_stream(PREFIX + "CallLocalStream")(sent)
    ]


async def refusal(channel: grpc.aio.Channel, *messages: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(channel, *messages)
    return caught.value.code().name, caught.value.details() or ""


async def test_an_answer_has_its_status_its_headers_and_its_body_in_pieces() -> None:
    app = PlainApp({"/m1": answer(404, b"gone", "Content-Type: text/y", "X-Foo: bar")})
    async with served(app) as (_, channel):
        found = await call(channel, leading(data=b"hello"))
        first = found[0].response
        assert (first.status.code, first.message.content_type) == (404, "text/y")
        assert list(first.headers["x-foo"].values) == ["bar"]
        assert b"".join(each.payload.data for each in found) == b"gone"
        assert [each.payload.seq for each in found] == list(range(len(found)))
        asked = app.asked[0]
        assert asked.line == "POST /m1 HTTP/1.1" and asked.body == b"hello"
        assert asked.header("x-many") == ["a", "b"] and asked.header("content-type") == ["text/x"]


@pytest.mark.parametrize("first", [b"", None])
async def test_a_body_in_small_pieces_arrives_whole(first: bytes | None) -> None:
    app = PlainApp()
    pieces = [b"x" * 2048] * 9
    async with served(app) as (_, channel):
        start = 0 if first is None else 1
        await call(channel, leading(data=first), *(piece(each, start + at) for at, each in enumerate(pieces)))
        assert app.asked[0].header("transfer-encoding") == ["chunked"]


async def test_a_body_whose_length_the_caller_told_is_not_chunked() -> None:
    app, first = PlainApp(), leading(data=b"")
    first.request.metadata["Content-Length"].values.append("6")
    async with served(app) as (_, channel):
        await call(channel, first, piece(b"abc", 1), piece(b"def", 2))
        asked = app.asked[0]
        assert (asked.header("content-length"), asked.header("transfer-encoding")) == (["6"], [])
        assert asked.body == b"abcdef"


@pytest.mark.parametrize("told, body", [("2", b"ab"), ("9" * 30, b"abc"), ("x", b"abc")])
async def test_a_length_that_is_not_so_cannot_reach_into_the_next_request(told: str, body: bytes) -> None:
    app, first = PlainApp(), leading(data=b"")
    first.request.metadata["content-length"].values.append(told)
    async with served(app) as (_, channel):
        await call(channel, first, piece(b"abc", 1))
        if told == "2":
            assert app.asked[0].body == body
        else:
            assert app.asked[0].header("transfer-encoding") == ["chunked"]


@pytest.mark.parametrize("verb, framing", [("GET", []), ("DELETE", []), ("POST", ["chunked"])])
async def test_a_get_without_a_body_reaches_the_app_without_one(verb: str, framing: list[str]) -> None:
    """Dapr's sidecars end the request behind its first message."""
    app, first = PlainApp(), leading(data=b"")
    first.request.message.http_extension.verb = {"GET": 1, "POST": 3, "DELETE": 5}[verb]
    async with served(app) as (_, channel):
        await call(channel, first, piece(b"", 1))
        assert app.asked[0].line == f"{verb} /m1 HTTP/1.1"
        assert app.asked[0].header("transfer-encoding") == framing


async def test_a_get_whose_body_comes_late_is_called_meanwhile() -> None:
    called = asyncio.Event()

    def app(request: Request, responder: Responder) -> None:
        called.set()
        responder.respond(200, [], b"")

    async with web_app(app) as port, sidecar("back", app=http_app(port)) as side:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{side.internal_port}") as channel:
            first = leading(data=b"")
            first.request.message.http_extension.verb = 1

            async def messages() -> AsyncIterator[bytes]:
                yield first.SerializeToString()
                await called.wait()
                yield piece(b"late", 1).SerializeToString()

            assert [data async for data in channel.stream_stream(PREFIX + "CallLocalStream")(messages())]


async def test_pieces_out_of_order_are_told_in_daprs_words() -> None:
    async with web_app(_silent) as port, sidecar("back", app=http_app(port)) as side:
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{side.internal_port}")
        code, text = await refusal(channel, leading(data=b"a"), piece(b"b", 3))
        assert code == "INTERNAL"
        assert text.startswith('error invoking app channel: Post "http://127.0.0.1:')
        assert text.endswith('/m1": invalid sequence number received: 3 (expected: 1)')
        code, text = await refusal(channel, leading(data=b"a"), leading(data=b"b", seq=1))
        assert text.endswith("request metadata found in non-leading chunk")
        code, text = await refusal(channel, leading(data=b"a", seq=2))
        assert text.endswith("invalid sequence number received: 2 (expected: 0)")
        await channel.close()


def _silent(request: Request, responder: Responder) -> None:
    """An app that takes its time."""


async def test_a_call_without_a_request_is_refused() -> None:
    async with served(PlainApp()) as (_, channel):
        for messages in ([piece(b"x", 0)], []):
            assert await refusal(channel, *messages) == (
                "INVALID_ARGUMENT",
                "parsing InternalInvokeRequest error: request does not contain the required fields in the leading chunk",
            )


async def test_a_method_that_would_change_the_target_is_refused_from_peers_too() -> None:
    async with served(PlainApp()) as (_, channel):
        code, text = await refusal(channel, leading("a?b"))
        assert code == "INVALID_ARGUMENT" and "forbidden character" in text


async def test_the_unary_form_is_served() -> None:
    app = PlainApp({"/m1": answer(200, b"back", "Content-Type: text/y")})
    async with served(app) as (_, channel):
        request = leading().request
        request.message.data.value = b"hello"
        data = await channel.unary_unary(PREFIX + "CallLocal")(request.SerializeToString())
        found = internals.InternalInvokeResponse.FromString(data)
        assert (found.status.code, found.message.data.value, app.asked[0].body) == (200, b"back", b"hello")


async def test_actors_are_not_served() -> None:
    async with served(PlainApp()) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(PREFIX + "CallActor")(b"")
        assert "placement" in (caught.value.details() or "")


async def test_the_runtimes_api_is_not_served_on_the_internal_port() -> None:
    async with served(PlainApp()) as (_, channel):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/dapr.proto.runtime.v1.Dapr/GetMetadata")(b"")
        assert caught.value.details() == (
            "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
        )


class OtherRuntime(grpc.GenericRpcHandler):
    """A sidecar that is not ours."""

    def __init__(self, *, streams: bool) -> None:
        self.streams = streams
        self.asked: list[Any] = []
        self.wait = asyncio.Event()

    def service(self, details: Any) -> Any:
        if details.method == PREFIX + "CallLocalStream" and self.streams:
            return grpc.stream_stream_rpc_method_handler(self.stream)
        if details.method == PREFIX + "CallLocal":
            return grpc.unary_unary_rpc_method_handler(self.unary)
        return None

    async def unary(self, data: bytes, context: Any) -> bytes:
        self.asked.append(internals.InternalInvokeRequest.FromString(data))
        made = internals.InternalInvokeResponse()
        made.status.code = 200
        made.message.data.value = b"unary:" + self.asked[-1].message.data.value
        return made.SerializeToString()

    async def stream(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        async for data in messages:
            self.asked.append(Asking.FromString(data))
        made = Answering()
        made.response.status.code = 201
        made.response.headers["X-H"].values.extend(["1", "2"])
        made.payload.data = b"aa"
        yield made.SerializeToString()
        await self.wait.wait()
        made = Answering()
        made.payload.data = b"bb"
        made.payload.seq = 1 if self.asked[0].request.message.method != "gap" else 5
        yield made.SerializeToString()


@asynccontextmanager
async def calling(other: OtherRuntime) -> AsyncIterator[Sidecar]:
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((other,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with sidecar("front", names=Known({"back": [f"127.0.0.1:{port}"]})) as side:
            yield side
    finally:
        await server.stop(None)


async def test_a_call_goes_out_as_dapr_sends_it() -> None:
    other = OtherRuntime(streams=True)
    other.wait.set()
    async with calling(other) as side:
        reply = await side.ask(
            "PUT", "/v1.0/invoke/back/method/h/y?q=1", b"body", [(b"content-type", b"text/x")]
        )
        assert (reply.status, await whole(reply.body)) == (201, b"aabb")
        assert [value for name, value in reply.headers if name == b"x-h"] == [b"1", b"2"]
        request = other.asked[0].request
        assert request.ver == internals.V1 and request.message.http_extension.querystring == "q=1"
        assert list(request.metadata["dapr-caller-app-id"].values) == ["front"]
        assert list(request.metadata["destination-app-id"].values) == ["back"]
        assert (other.asked[0].payload.data, other.asked[0].payload.seq) == (b"body", 0)


async def test_a_streamed_body_goes_out_in_numbered_pieces() -> None:
    other = OtherRuntime(streams=True)
    other.wait.set()
    async with calling(other) as side:
        body = Stream()
        for _ in range(3):
            body.push(b"x" * 100_000)
        body.finish()
        await side.ask("POST", "/v1.0/invoke/back/method/m", body)
        assert [each.payload.seq for each in other.asked] == list(range(len(other.asked)))
        assert max(len(each.payload.data) for each in other.asked) <= 65_536
        assert sum(len(each.payload.data) for each in other.asked) == 300_000


async def test_the_first_piece_of_an_answer_does_not_wait_for_the_rest() -> None:
    other = OtherRuntime(streams=True)
    async with calling(other) as side:
        reply = await side.ask("GET", "/v1.0/invoke/back/method/m")
        assert isinstance(reply.body, Stream) and await reply.body.read() == b"aa"
        other.wait.set()
        assert await reply.body.read_all() == b"bb"


async def test_an_answer_with_a_gap_is_cut_off() -> None:
    other = OtherRuntime(streams=True)
    async with calling(other) as side:
        reply = await side.ask("GET", "/v1.0/invoke/back/method/gap")
        assert isinstance(reply.body, Stream) and await reply.body.read() == b"aa"
        other.wait.set()
        with pytest.raises(ConnectionError):
            await reply.body.read_all()


async def test_a_sidecar_without_streams_is_called_in_the_old_way_and_remembered() -> None:
    other = OtherRuntime(streams=False)
    async with calling(other) as side:
        for _ in range(2):
            reply = await side.ask("POST", "/v1.0/invoke/back/method/m", b"body")
            assert (reply.status, await whole(reply.body)) == (200, b"unary:body")


async def test_what_is_no_sidecar_is_an_error_with_a_reason() -> None:
    async with (
        web_app(_silent) as port,
        sidecar("front", names=Known({"back": [f"127.0.0.1:{port}"]})) as side,
    ):
        asked = asyncio.get_running_loop().create_task(side.ask("GET", "/v1.0/invoke/back/method/m"))
        for _ in range(6):
            await eventually(lambda: asked.done() or side.clock.sleepers)
            if asked.done():
                break
            await side.clock.advance(1)
        reply = await asked
        assert reply.status == 500 and json.loads(await whole(reply.body))["errorCode"] == "ERR_DIRECT_INVOKE"
