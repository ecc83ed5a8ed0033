"""Pings between our transport and grpcio's, in both directions, each with its own idea of how many are too many."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from support.grpc import served
from support.waiting import eventually
from support.wiretap import Wiretap, wiretap

from pillion.net.grpc import GrpcChannel
from pillion.net.rpc import GrpcLimits

SECOND = {
    "grpc.keepalive_time_ms": 1000,
    "grpc.keepalive_timeout_ms": 500,
    "grpc.http2.max_pings_without_data": 0,
}
"""grpcio's client asks no more often than once a second."""
TOO_MANY = (11).to_bytes(4, "big") + b"too_many_pings"


@asynccontextmanager
async def asking(limits: GrpcLimits, **options: int) -> AsyncIterator[tuple[Wiretap, Any]]:
    """A grpcio client of our server."""
    async with served(limits) as here, wiretap(here.port) as tap:
        told = [(name.replace("__", "."), value) for name, value in options.items()]
        target = f"127.0.0.1:{tap.port}"
        async with grpc.aio.insecure_channel(target, options=[*SECOND.items(), *told]) as channel:
            yield tap, channel


async def echoed(channel: Any) -> bytes:
    return await channel.unary_unary("/echo.Echo/Unary")(b"x")  # type: ignore[no-any-return]


async def test_an_idle_client_that_asks_as_seldom_as_it_may_keeps_its_connection() -> None:
    limits = GrpcLimits(min_ping_interval=0.8)  # a tenth of the real one, and of a client's ten seconds
    async with asking(limits, grpc__keepalive_permit_without_calls=1) as (tap, channel):
        assert await echoed(channel) == b"x"
        await eventually(lambda: tap.up.pings() >= 4, timeout=15)
        assert await echoed(channel) == b"x"
        assert tap.down.goodbyes() == [] and tap.up.opened == 1


async def test_a_client_in_a_call_may_ask_as_well() -> None:
    async with asking(GrpcLimits(min_ping_interval=0.8)) as (tap, channel):
        talk = channel.stream_stream("/echo.Echo/Both")()
        await talk.write(b"x")
        assert await talk.read() == b"x"
        await eventually(lambda: tap.up.pings() >= 4, timeout=15)
        await talk.write(b"y")
        assert await talk.read() == b"y" and tap.down.goodbyes() == []
        talk.cancel()


async def test_an_idle_client_that_asks_too_often_is_sent_away_and_comes_back() -> None:
    limits = GrpcLimits(min_ping_interval=8)
    async with asking(limits, grpc__keepalive_permit_without_calls=1) as (tap, channel):
        assert await echoed(channel) == b"x"
        await eventually(lambda: tap.down.goodbyes() == [TOO_MANY], timeout=15)
        assert tap.up.pings() == 4
        assert await echoed(channel) == b"x" and tap.up.opened == 2


async def test_a_client_that_answers_is_kept_however_long_it_is_silent() -> None:
    async with asking(GrpcLimits(keepalive_after=0.05, keepalive_timeout=0.5)) as (tap, channel):
        assert await echoed(channel) == b"x"
        await eventually(lambda: tap.down.pings() >= 2)
        assert await echoed(channel) == b"x" and tap.up.opened == 1


@asynccontextmanager
async def strict(*options: tuple[str, int]) -> AsyncIterator[tuple[Wiretap, GrpcChannel]]:
    """Our client of a grpcio server."""
    server = grpc.aio.server(options=options)

    async def back(message: bytes, context: Any) -> bytes:
        return message

    handlers = {"Unary": grpc.unary_unary_rpc_method_handler(back)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("echo.Echo", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with wiretap(port) as tap:
            channel = GrpcChannel("127.0.0.1", tap.port)
            yield tap, channel
            await channel.close()
    finally:
        await server.stop(None)


async def test_a_server_that_asks_is_answered() -> None:
    asks = {**SECOND, "grpc.keepalive_time_ms": 200, "grpc.keepalive_permit_without_calls": 1}
    async with strict(*asks.items()) as (tap, channel):
        assert (await channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
        await eventually(lambda: tap.down.pings() >= 3, timeout=10)
        assert (await channel.unary(b"/echo.Echo/Unary", b"x")).message == b"x"
        assert tap.up.opened == 1 and tap.down.goodbyes() == []


async def test_we_ask_no_app_whether_it_lives_so_that_none_finds_us_too_curious() -> None:
    async with strict() as (tap, channel):
        for _ in range(20):
            assert (await channel.unary(b"/echo.Echo/Unary", bytes(70_000))).message == bytes(70_000)
            await asyncio.sleep(0)
        assert tap.up.pings() == 0
