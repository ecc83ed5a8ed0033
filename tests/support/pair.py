"""Sidecars put together for invocation alone, in this process, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from pillion.contracts.names import Announced, Announcement
from pillion.edge.app.grpc import GrpcApp
from pillion.edge.app.http import HttpApp
from pillion.edge.app.slots import Slots
from pillion.edge.grpc.api import DAPR, GrpcApi
from pillion.edge.grpc.invoke import InvokeRpcs
from pillion.edge.grpc.proxy import Proxy
from pillion.edge.grpc.reflection import INTERNAL_SERVICES, Reflection
from pillion.edge.http.api import Front, HttpApi
from pillion.edge.http.invoke import Invocations
from pillion.edge.outside import OutsideHttp
from pillion.edge.peer.client import PeerCalls
from pillion.edge.peer.links import Links
from pillion.edge.peer.server import PREFIX, PeerRpcs
from pillion.host.telemetry import Metrics
from pillion.net.grpc import GrpcChannel, GrpcServer
from pillion.net.http import HttpHandler, Response
from pillion.net.http_client import Http1Client
from pillion.net.listen import HttpServer
from pillion.net.rpc import LaneCall, RpcError
from pillion.plug.component import Context
from pillion.ports.app import App
from pillion.rules.invoke import Caller
from pillion.services.invoke import AppGate, Endpoint, InvokeService
from pillion.services.names import Resolver
from pillion.testing.clock import HandClock
from pillion.toolbox.stream import Body
from support.waiting import eventually


@dataclass
class Known:
    """A resolver that knows what the test tells it; `contracts.names.Names` in shape."""

    apps: dict[str, list[str]] = field(default_factory=dict)
    dropped: list[str] = field(default_factory=list)
    asked: int = 0
    context: Context = field(default_factory=lambda: Context(name="known"))

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        self.asked += 1
        return [each for each in self.apps.get(app_id, []) if each not in self.dropped]

    async def announce(self, who: Announcement) -> Announced:
        raise AssertionError("nobody announces here")

    def drop(self, app_id: str, address: str) -> None:
        self.dropped.append(address)


@dataclass
class Sidecar:
    """One sidecar's invocation: both APIs, the internal port, its app."""

    app_id: str
    names: Known
    clock: HandClock
    metrics: Metrics
    gate: AppGate
    links: Links
    service: InvokeService
    http_port: int = 0
    grpc_port: int = 0
    internal_port: int = 0
    internal: GrpcServer | None = None
    client: Http1Client | None = None
    laned: int = 0
    """Calls from other sidecars that came in the lane."""

    async def ask(
        self, method: str, target: str, body: Body = b"", headers: list[tuple[bytes, bytes]] | None = None
    ) -> Response:
        assert self.client is not None
        return await self.client.request(method.encode(), target.encode(), headers or [], body)

    async def open_lane(self, address: str) -> None:
        """Have the settings of both ends cross, so that the next call to the sidecar there takes the lane."""
        with self.links.hold(address) as link:
            with suppress(RpcError):
                await link.channel.unary(PREFIX + b"CallActor", b"")
            await eventually(lambda: link.channel.has_lane)


def _nothing_served(*_: Any) -> None: ...


@asynccontextmanager
async def sidecar(
    app_id: str,
    *,
    app: App | None = None,
    app_channel: GrpcChannel | None = None,
    names: Known | None = None,
    endpoints: dict[str, Endpoint] | None = None,
    admits: Callable[[Any], bool] | None = None,
    slots: Slots | None = None,
    lane: bool = False,
) -> AsyncIterator[Sidecar]:
    """`lane`: it offers one to other sidecars, as every `pilliond` does."""
    names = names or Known()
    clock, metrics, gate = HandClock(), Metrics(app_id), AppGate(app)
    links = Links(lambda address: GrpcChannel("127.0.0.1", int(address.rpartition(":")[2]), lane=lane))
    peers, outside = PeerCalls(links), OutsideHttp()
    resolver = Resolver([names], clock)  # type: ignore[list-item]
    service = InvokeService(
        app_id=app_id, namespace="default", caller=Caller(app_id.encode(), b"default", b"box", b"10.0.0.1"), gate=gate,
        peers=peers, names=resolver, outside=outside, endpoints=endpoints or {}, telemetry=metrics, admits=admits, clock=clock,
    )  # fmt: skip
    made = Sidecar(app_id, names, clock, metrics, gate, links, service)
    rpcs = PeerRpcs(service)
    proxies = [
        Proxy(
            app_id=app_id, service=service, links=links, gate=gate, app=app_channel, telemetry=metrics, internal=internal,
            app_token="sesame" if internal else "", slots=slots,
        )
        for internal in (False, True)
    ]  # fmt: skip
    api = GrpcApi(None, _nothing_served)
    api.serve(DAPR, InvokeRpcs(service).unary())
    Reflection().join(api)
    api.fallback = proxies[0].serve
    inner = GrpcApi(None, _nothing_served)
    inner.serve(PREFIX, rpcs.unary(), rpcs.streams())
    Reflection(INTERNAL_SERVICES).join(inner)
    inner.fallback = proxies[1].serve

    async def counted(rpc: LaneCall, message: bytes) -> bytes | None:
        made.laned += 1
        return await rpcs.lane(rpc, message)

    if lane:
        inner.serve_lane(PREFIX + b"CallLocalStream", counted)
    http = HttpServer(HttpApi([], Invocations(service).fallback, Front(served=_nothing_served)).handle)
    grpc, made.internal = GrpcServer(api), GrpcServer(inner, lane=inner.lane)
    made.http_port = (await http.listen(["127.0.0.1"], 0))[0][1]
    made.grpc_port = await grpc.listen(["127.0.0.1"], 0)
    made.internal_port = await made.internal.listen(["127.0.0.1"], 0)
    made.client = Http1Client("127.0.0.1", made.http_port)
    try:
        yield made
    finally:
        await made.client.close()
        await http.close()
        await grpc.close()
        await made.internal.close()
        for each in (rpcs, *proxies, peers, outside, resolver):
            await each.close()
        if app is not None:
            await app.close()


@asynccontextmanager
async def web_app(handler: HttpHandler) -> AsyncIterator[int]:
    """An HTTP app of one handler, on a free port."""
    server = HttpServer(handler)
    try:
        yield (await server.listen(["127.0.0.1"], 0))[0][1]
    finally:
        await server.close()


def http_app(port: int) -> HttpApp:
    """The app at a port, as its sidecar calls it."""
    return HttpApp(
        Http1Client("127.0.0.1", port),
        base=f"http://127.0.0.1:{port}",
        app_id="back",
        telemetry=Metrics("back"),
    )


def rpc_app(port: int, slots: Slots | None = None) -> tuple[GrpcApp, GrpcChannel]:
    """The gRPC app at a port, and the channel to it."""
    channel = GrpcChannel("127.0.0.1", port)
    return GrpcApp(channel, telemetry=Metrics("back"), slots=slots), channel


class Pair:
    """A caller's sidecar and a callee's, the first knowing where the second is."""

    def __init__(self, front: Sidecar, back: Sidecar) -> None:
        self.front = front
        self.back = back


@asynccontextmanager
async def pair(
    app: App | None, channel: GrpcChannel | None = None, *, lane: bool = False, **more: Any
) -> AsyncIterator[Pair]:
    """`front` calls, `back` has the app. With a `lane` it is open from the first call on."""
    async with AsyncExitStack() as stack:
        back = await stack.enter_async_context(
            sidecar("back", app=app, app_channel=channel, lane=lane, **more)
        )
        names = Known({"back": [f"127.0.0.1:{back.internal_port}"]})
        front = await stack.enter_async_context(sidecar("front", names=names, lane=lane))
        if lane:
            await front.open_lane(f"127.0.0.1:{back.internal_port}")
        yield Pair(front, back)


async def collected(work: Awaitable[Any]) -> Any:
    """What the work raises, as a value."""
    return (await asyncio.gather(work, return_exceptions=True))[0]
