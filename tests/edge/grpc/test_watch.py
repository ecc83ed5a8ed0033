"""What is told of each call when it is over."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import grpc
import pytest
from support.waiting import eventually

from pillion.edge.grpc.api import GrpcApi
from pillion.edge.grpc.watch import watch
from pillion.model.call import Call
from pillion.net.grpc.server import GrpcServer
from pillion.net.rpc import Code, RpcError, ServerCall

Told = list[tuple[str, int]]


async def echo(call: Call, rpc: ServerCall, message: bytes) -> bytes:
    if message == b"wait":
        await asyncio.Event().wait()
    if message == b"fail":
        raise RpcError(Code.NOT_FOUND, "no")
    return message


async def each(call: Call, rpc: ServerCall) -> None:
    while (message := await rpc.receive()) is not None:
        await rpc.send(await echo(call, rpc, message))


async def passed_on(rpc: ServerCall) -> None:
    raise RpcError(Code.UNAVAILABLE, "nobody is there")


@asynccontextmanager
async def watched(admit: Callable[[ServerCall], None] | None = None) -> AsyncIterator[tuple[str, Told]]:
    told: Told = []
    api = GrpcApi(admit, lambda *_: None)
    api.serve(b"/s.S/", {"Echo": echo}, {"Each": each})
    api.fallback = passed_on
    watch(api, lambda call, code, seconds: told.append((call.path.decode(), code)))
    server = GrpcServer(api)
    port = await server.listen(["127.0.0.1"], 0)
    try:
        yield f"127.0.0.1:{port}", told
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("path", "message", "code"),
    [("/s.S/Echo", b"x", 0), ("/s.S/Echo", b"fail", 5), ("/s.S/Each", b"x", 0), ("/s.S/Each", b"fail", 5), ("/o.O/Pe", b"", 14)],
)  # fmt: skip
async def test_a_call_is_told_with_its_status(path: str, message: bytes, code: int) -> None:
    async with watched() as (address, told), grpc.aio.insecure_channel(address) as channel:
        call = channel.unary_unary(path)(message)
        assert (await call.code()).value[0] == code
        assert told == [(path, code)]


@pytest.mark.parametrize("path", ["/s.S/Echo", "/s.S/Each"])
async def test_a_call_that_ran_out_of_time_is_told_as_such(path: str) -> None:
    async with watched() as (address, told), grpc.aio.insecure_channel(address) as channel:
        late = channel.unary_unary(path)(b"wait", timeout=0.1)
        assert await late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(lambda: told == [(path, Code.DEADLINE_EXCEEDED)])


async def test_a_client_that_leaves_has_cancelled() -> None:
    async with watched() as (address, told), grpc.aio.insecure_channel(address) as channel:
        call = channel.stream_stream("/s.S/Each")()
        await call.write(b"x")
        assert await call.read() == b"x"
        call.cancel()
        await eventually(lambda: told == [("/s.S/Each", Code.CANCELLED)])


async def test_a_refused_call_is_not_told() -> None:
    def refuse(call: ServerCall) -> None:
        raise RpcError(Code.UNAUTHENTICATED, "Unauthorized")

    async with watched(refuse) as (address, told), grpc.aio.insecure_channel(address) as channel:
        assert await channel.unary_unary("/s.S/Echo")(b"").code() is grpc.StatusCode.UNAUTHENTICATED
        assert told == []
