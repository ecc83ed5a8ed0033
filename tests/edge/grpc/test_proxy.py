"""Calls of any gRPC service, passed through one sidecar or two: grpcio on both ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from support.grpc import served as echo_served
from support.pair import Known, Pair, pair, rpc_app, sidecar
from support.waiting import eventually

SERVICE = "/my.pkg.Svc/"
TO = (("dapr-app-id", "back"),)


class Service(grpc.GenericRpcHandler):
    """All four kinds, raw bytes."""

    def __init__(self) -> None:
        self.metadata: list[Any] = []
        self.left: list[float | None] = []
        self.cancelled = 0
        self.produced = 0

    def service(self, details: Any) -> Any:
        kinds = {
            "UU": grpc.unary_unary_rpc_method_handler(self.uu),
            "US": grpc.unary_stream_rpc_method_handler(self.us),
            "SU": grpc.stream_unary_rpc_method_handler(self.su),
            "SS": grpc.stream_stream_rpc_method_handler(self.ss),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "Never": grpc.unary_unary_rpc_method_handler(self.never),
            "Flood": grpc.unary_stream_rpc_method_handler(self.flood),
        }
        return kinds.get(details.method.removeprefix(SERVICE))

    async def uu(self, data: bytes, context: Any) -> bytes:
        self.metadata.append(list(context.invocation_metadata()))
        self.left.append(context.time_remaining())
        await context.send_initial_metadata((("x-init", "iv"), ("x-i-bin", b"\x07")))
        context.set_trailing_metadata((("x-trail", "tv"), ("x-t-bin", b"\x01")))
        return b"pong:" + data

    async def us(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(5):
            yield b"%b%d" % (data, number)

    async def su(self, messages: AsyncIterator[bytes], context: Any) -> bytes:
        return b",".join([message async for message in messages])

    async def ss(self, messages: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        await context.send_initial_metadata((("x-init", "early"),))
        async for message in messages:
            yield b"re:" + message

    async def fail(self, data: bytes, context: Any) -> bytes:
        context.set_trailing_metadata((("x-trail", "tv"), ("x-t-bin", b"\x01")))
        await context.abort(grpc.StatusCode.DATA_LOSS, "pfail")
        return b""

    async def never(self, data: bytes, context: Any) -> bytes:
        self.left.append(context.time_remaining())
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return b""

    async def flood(self, data: bytes, context: Any) -> AsyncIterator[bytes]:
        while True:
            self.produced += 1
            yield b"x" * 50_000


@asynccontextmanager
async def served() -> AsyncIterator[tuple[int, Service]]:
    service = Service()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port, service
    finally:
        await server.stop(None)


@asynccontextmanager
async def proxied() -> AsyncIterator[tuple[Pair, Service]]:
    async with served() as (port, service):
        app, channel = rpc_app(port)
        async with pair(app, channel) as both:
            yield both, service


@asynccontextmanager
async def caller(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


async def refused(call: Any) -> tuple[str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code().name, caught.value.details() or ""


@pytest.mark.parametrize("side", ["front", "back"])
async def test_all_four_kinds_of_call_pass(side: str) -> None:
    async with proxied() as (both, _), caller(getattr(both, side).grpc_port) as channel:
        assert await channel.unary_unary(SERVICE + "UU")(b"x", metadata=TO) == b"pong:x"
        found = [message async for message in channel.unary_stream(SERVICE + "US")(b"n", metadata=TO)]
        assert found == [b"n0", b"n1", b"n2", b"n3", b"n4"]
        assert await channel.stream_unary(SERVICE + "SU")(iter([b"a", b"b", b"c"]), metadata=TO) == b"a,b,c"
        talk = channel.stream_stream(SERVICE + "SS")(metadata=TO)
        for number in range(3):
            await talk.write(b"%d" % number)
            assert await talk.read() == b"re:%d" % number
        await talk.done_writing()
        assert await talk.read() == grpc.aio.EOF and await talk.code() == grpc.StatusCode.OK


async def test_metadata_passes_both_ways_and_the_hops_add_what_is_theirs() -> None:
    async with proxied() as (both, service), caller(both.front.grpc_port) as channel:
        call = channel.unary_unary(SERVICE + "UU")(
            b"x", metadata=(*TO, ("x-c", "1"), ("x-c-bin", b"\xff\x00")), timeout=5
        )
        await call
        assert {"x-init": "iv", "x-i-bin": b"\x07"}.items() <= dict(
            await call.initial_metadata() or ()
        ).items()
        assert {"x-trail": "tv", "x-t-bin": b"\x01"}.items() <= dict(
            await call.trailing_metadata() or ()
        ).items()
        seen = dict(service.metadata[0])
        assert {"x-c": "1", "x-c-bin": b"\xff\x00", "dapr-caller-app-id": "front", "dapr-callee-app-id": "back",
                "dapr-api-token": "sesame"}.items() <= seen.items()  # fmt: skip
        assert not {"dapr-app-id", "dapr-caller-namespace", "x-forwarded-for"} & set(seen)
        assert 3 < (service.left[0] or 0) <= 5


async def test_another_sidecar_is_told_the_app_in_the_old_word_and_in_the_new() -> None:
    async with (
        served() as (port, peer),
        sidecar("front", names=Known({"back": [f"127.0.0.1:{port}"]})) as front,
    ):
        async with caller(front.grpc_port) as channel:
            spoofed = (("dapr-app-id", "back.default"), ("dapr-caller-app-id", "evil"))
            await channel.unary_unary(SERVICE + "UU")(b"x", metadata=spoofed)
    told = sorted((key, value) for key, value in peer.metadata[0] if key.startswith("dapr-"))
    assert told == [("dapr-app-id", "back"), ("dapr-callee-app-id", "back"), ("dapr-caller-app-id", "front")]


async def test_what_a_caller_can_unpack_is_not_what_its_sidecar_can() -> None:
    async with echo_served() as here:
        app, channel = rpc_app(here.port)
        async with pair(app, channel) as both, caller(both.front.grpc_port) as asking:
            heard = await asking.unary_unary("/echo.Echo/Metadata")(b"", metadata=(*TO, ("x-c", "1")))
    assert b"'x-c'" in heard and b"accept-encoding" not in heard


COUNTED = "dapr_runtime_service_invocation_"


async def test_a_call_that_was_passed_on_is_counted_with_its_answer() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        await channel.unary_unary(SERVICE + "UU")(b"x", metadata=TO)
        await refused(channel.unary_unary(SERVICE + "Fail")(b"", metadata=TO))
        told = both.front.metrics.text()
    assert COUNTED + 'req_sent_total{app_id="front",dst_app_id="back",type="unary"} 2' in told
    for status in ("0", "15"):
        labels = f'app_id="front",src_app_id="back",status="{status}"'
        assert f'{COUNTED}res_recv_total{{{labels},type="unary"}} 1' in told
        assert f"{COUNTED}res_recv_latency_ms_count{{{labels}}} 1" in told


async def test_what_its_caller_calls_a_stream_is_counted_as_one() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        talk = channel.stream_stream(SERVICE + "SS")(metadata=(*TO, ("dapr-stream", "true")))
        await talk.done_writing()
        assert await talk.read() == grpc.aio.EOF
        told = both.front.metrics.text()
    assert COUNTED + 'req_sent_total{app_id="front",dst_app_id="back",type="streaming"} 1' in told
    assert COUNTED + "res_recv_total{" not in told


async def test_a_call_of_our_own_app_is_passed_without_additions() -> None:
    async with proxied() as (both, service), caller(both.back.grpc_port) as channel:
        await channel.unary_unary(SERVICE + "UU")(b"x", metadata=(*TO, ("x-c", "1")))
        assert "dapr-caller-app-id" not in dict(service.metadata[0])


async def test_early_headers_pass_before_any_message() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        talk = channel.stream_stream(SERVICE + "SS")(metadata=TO)
        assert dict(await talk.initial_metadata() or ())["x-init"] == "early"
        talk.cancel()


async def test_errors_and_trailers_of_the_app_pass() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(SERVICE + "Fail")(b"", metadata=TO)
        assert (caught.value.code().name, caught.value.details()) == ("DATA_LOSS", "pfail")
        assert {"x-trail": "tv", "x-t-bin": b"\x01"}.items() <= dict(
            caught.value.trailing_metadata() or ()
        ).items()
        assert (await refused(channel.unary_unary(SERVICE + "Nope")(b"", metadata=TO)))[0] == "UNIMPLEMENTED"


async def test_a_deadline_and_a_cancellation_reach_the_app() -> None:
    async with proxied() as (both, service), caller(both.front.grpc_port) as channel:
        code, _ = await refused(channel.unary_unary(SERVICE + "Never")(b"", metadata=TO, timeout=0.3))
        assert code == "DEADLINE_EXCEEDED"
        await eventually(lambda: service.cancelled == 1)
        call = channel.unary_unary(SERVICE + "Never")(b"", metadata=TO)
        await eventually(lambda: len(service.left) == 2)
        call.cancel()
        await eventually(lambda: service.cancelled == 2)


async def test_a_caller_that_does_not_read_holds_the_app_back() -> None:
    async with proxied() as (both, service), caller(both.front.grpc_port) as channel:
        call = channel.unary_stream(SERVICE + "Flood")(b"", metadata=TO)
        assert len(await call.read()) == 50_000
        before = -1
        while before != service.produced:
            before = service.produced
            await asyncio.sleep(0.2)
        assert before * 50_000 < 64 * 1024 * 1024
        call.cancel()


NOT_OURS = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id not found"
TEXTS = [
    ("/my.pkg.Svc/UU", (), "UNKNOWN", "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"),
    ("/grpc.health.v1.Health/Check", (), "UNKNOWN", "cannot proxy request: missing dapr-callee-app-id or dapr-app-id metadata"),
    ("/dapr.proto.runtime.v1.Dapr/Nope", (), "UNKNOWN", NOT_OURS),
    ("/TaskHubSidecarService/Nope", (), "UNKNOWN", NOT_OURS),
    ("/my.pkg.Svc/UU", (("dapr-app-id", "a.b.c"),), "UNKNOWN", "invalid app id a.b.c"),
]  # fmt: skip


async def test_what_cannot_be_proxied_says_why() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        for path, metadata, code, text in TEXTS:
            assert await refused(channel.unary_unary(path)(b"", metadata=metadata)) == (code, text)


async def test_an_absent_app_is_told_after_it_was_looked_for() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        call = channel.unary_unary("/my.pkg.Svc/UU")(b"", metadata=(("dapr-app-id", "nosuch"),))
        while not call.done():
            await both.front.clock.advance(1)
            await asyncio.sleep(0.005)
        assert await refused(call) == ("UNKNOWN", "no host found with the given ID")


async def test_a_sidecar_without_a_grpc_app_says_so() -> None:
    async with pair(None) as both, caller(both.front.grpc_port) as channel:
        code, text = await refused(channel.unary_unary("/my.pkg.Svc/UU")(b"", metadata=TO))
        assert code == "UNAVAILABLE" and "no app that speaks gRPC" in text


async def test_a_message_beyond_the_limit_is_refused() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        code, text = await refused(
            channel.unary_unary(SERVICE + "UU")(b"x" * (4 * 1024 * 1024 + 1), metadata=TO)
        )
        assert (code, text) == (
            "RESOURCE_EXHAUSTED",
            "grpc: received message larger than max (4194305 vs. 4194304)",
        )


async def test_a_dead_replica_is_passed_over() -> None:
    async with proxied() as (both, _), caller(both.front.grpc_port) as channel:
        both.front.names.apps["back"].insert(0, "127.0.0.1:9")
        for _ in range(3):
            assert await channel.unary_unary(SERVICE + "UU")(b"x", metadata=TO) == b"pong:x"
