"""An app that is a synchronous grpcio server, threads and all, and callers that are synchronous too."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from support.pair import Pair, pair, rpc_app
from support.waiting import eventually

from pillion.edge.app.slots import Slots
from pillion.edge.grpc.api import DAPR
from pillion.wire.proto import common, runtime

SERVICE = "/my.pkg.Svc/"
TO = (("dapr-app-id", "back"),)


class App(grpc.GenericRpcHandler):
    """Every kind of call, and the runtime's callback."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.held = self.most = 0
        self._lock = threading.Lock()

    def service(self, details: Any) -> Any:
        return {
            SERVICE + "UU": grpc.unary_unary_rpc_method_handler(self.uu),
            SERVICE + "US": grpc.unary_stream_rpc_method_handler(self.us),
            SERVICE + "SU": grpc.stream_unary_rpc_method_handler(self.su),
            SERVICE + "SS": grpc.stream_stream_rpc_method_handler(self.ss),
            SERVICE + "Held": grpc.unary_unary_rpc_method_handler(self.wait),
            "/dapr.proto.runtime.v1.AppCallback/OnInvoke": grpc.unary_unary_rpc_method_handler(self.invoked),
        }.get(details.method)

    def uu(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        context.send_initial_metadata((("x-init", "iv"), ("x-i-bin", b"\x07")))
        context.set_trailing_metadata((("x-trail", "tv"),))
        if data == b"fail":
            context.abort(grpc.StatusCode.DATA_LOSS, "pfail")
        return b"pong:" + data

    def us(self, data: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        for number in range(3):
            yield b"%b%d" % (data, number)
        context.abort(grpc.StatusCode.OUT_OF_RANGE, "after three")

    def su(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> bytes:
        return b"+".join(asked)

    def ss(self, asked: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
        for each in asked:
            yield b"re:" + each

    def wait(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        with self._lock:
            self.held += 1
            self.most = max(self.most, self.held)
        self.let_go.wait(10)
        with self._lock:
            self.held -= 1
        return data

    def invoked(self, data: bytes, context: grpc.ServicerContext) -> bytes:
        asked = common.InvokeRequest.FromString(data)
        if asked.method == "fail":
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not now")
        answer = common.InvokeResponse(content_type="text/plain")
        answer.data.value = asked.method.encode() + b":" + asked.data.value
        return answer.SerializeToString()


@asynccontextmanager
async def between(app: App, slots: Slots | None = None) -> AsyncIterator[Pair]:
    server = grpc.server(futures.ThreadPoolExecutor(16))
    server.add_generic_rpc_handlers((app,))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    ours, channel = rpc_app(port, slots)
    try:
        async with pair(ours, channel, slots=slots) as both:
            yield both
    finally:
        app.let_go.set()
        await asyncio.to_thread(server.stop(0).wait)


async def asking(port: int, ask: Callable[[grpc.Channel], Any]) -> Any:
    """What a synchronous client gets, in a thread of its own."""

    def run() -> Any:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return ask(channel)

    return await asyncio.to_thread(run)


def talk(channel: grpc.Channel) -> list[bytes]:
    """One question after each answer, so that nothing may wait for the end."""
    answers: list[bytes] = []
    heard = threading.Semaphore(1)

    def questions() -> Iterator[bytes]:
        for number in range(3):
            assert heard.acquire(timeout=10)
            yield b"%d" % number

    for answer in channel.stream_stream(SERVICE + "SS")(questions(), metadata=TO, timeout=10):
        answers.append(answer)
        heard.release()
    return answers


@pytest.mark.parametrize("side", ["front", "back"])
async def test_all_four_kinds_pass_between_synchronous_ends(side: str) -> None:
    async with between(App()) as both:
        port = getattr(both, side).grpc_port
        assert await asking(port, lambda c: c.unary_unary(SERVICE + "UU")(b"x", metadata=TO)) == b"pong:x"
        joined = await asking(port, lambda c: c.stream_unary(SERVICE + "SU")(iter([b"a", b"b"]), metadata=TO))
        assert joined == b"a+b"
        assert await asking(port, talk) == [b"re:0", b"re:1", b"re:2"]


async def test_a_stream_s_messages_come_before_the_status_that_ends_it() -> None:
    def listen(channel: grpc.Channel) -> tuple[list[bytes], grpc.StatusCode, str]:
        call = channel.unary_stream(SERVICE + "US")(b"n", metadata=TO)
        heard: list[bytes] = []
        with pytest.raises(grpc.RpcError):
            for message in call:
                heard.append(message)
        return heard, call.code(), call.details()

    async with between(App()) as both:
        assert await asking(both.front.grpc_port, listen) == (
            [b"n0", b"n1", b"n2"], grpc.StatusCode.OUT_OF_RANGE, "after three",
        )  # fmt: skip


async def test_head_trailers_and_status_of_a_call_pass() -> None:
    def ask(channel: grpc.Channel) -> tuple[dict[str, Any], dict[str, Any], grpc.StatusCode]:
        with pytest.raises(grpc.RpcError) as caught:
            channel.unary_unary(SERVICE + "UU")(b"fail", metadata=TO)
        call: Any = caught.value
        return dict(call.initial_metadata()), dict(call.trailing_metadata()), call.code()

    async with between(App()) as both:
        head, trailers, code = await asking(both.front.grpc_port, ask)
        assert {"x-init": "iv", "x-i-bin": b"\x07"}.items() <= head.items()
        assert (trailers["x-trail"], code) == ("tv", grpc.StatusCode.DATA_LOSS)


@pytest.mark.parametrize("side", ["front", "back"])
async def test_an_invocation_reaches_the_callback(side: str) -> None:
    def invoked(method: str) -> Callable[[grpc.Channel], bytes]:
        request = runtime.InvokeServiceRequest(id="back")
        request.message.method, request.message.data.value = method, b"hi"
        ours = request.SerializeToString()
        return lambda channel: channel.unary_unary(f"{DAPR.decode()}InvokeService")(ours)  # type: ignore[no-any-return]

    async with between(App()) as both:
        port = getattr(both, side).grpc_port
        answer = common.InvokeResponse.FromString(await asking(port, invoked("m1")))
        assert (answer.data.value, answer.content_type) == (b"m1:hi", "text/plain")
        with pytest.raises(grpc.RpcError) as caught:
            await asking(port, invoked("fail"))
        assert (caught.value.code(), caught.value.details()) == (
            grpc.StatusCode.FAILED_PRECONDITION,
            "not now",
        )


def crowd(channel: grpc.Channel) -> list[bytes]:
    calls = [channel.unary_unary(SERVICE + "Held").future(b"%d" % n, metadata=TO) for n in range(6)]
    return [call.result(timeout=10) for call in calls]


def impatient(channel: grpc.Channel) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(SERVICE + "UU")(b"x", metadata=TO, timeout=0.2)
    return caught.value.code()


async def test_the_app_gets_no_more_proxied_calls_at_once_than_it_has_places() -> None:
    app = App()
    async with between(app, Slots(2)) as both:
        ports = (both.front.grpc_port, both.back.grpc_port)
        crowds = [asyncio.ensure_future(asking(port, crowd)) for port in ports]
        await eventually(lambda: app.held == 2)
        for port in ports:
            assert await asking(port, impatient) is grpc.StatusCode.DEADLINE_EXCEEDED
        app.let_go.set()
        for each in crowds:
            assert await each == [b"%d" % number for number in range(6)]
        assert app.most == 2
        patient = await asking(ports[0], lambda c: c.unary_unary(SERVICE + "UU")(b"y", metadata=TO))
        assert patient == b"pong:y"
