"""A gRPC port: listeners, their connections, and which handler a path has."""

import asyncio
import logging
import socket
import ssl
import time
from collections.abc import Sequence

from pillion.net import sockets
from pillion.net.grpc.call import ServedCall
from pillion.net.grpc.heads import Heads
from pillion.net.grpc.lane import LaneServed
from pillion.net.grpc.words import wire_fields
from pillion.net.http2.connection import Http2Connection
from pillion.net.http2.fields import RequestHead
from pillion.net.http2.frames import (
    FRAME_BYTES,
    LANE_CALLS,
    LANE_VERSION,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    settings_frame,
)
from pillion.net.http2.hpack import Encoder, HeaderBlock
from pillion.net.http2.limits import Http2Limits
from pillion.net.rpc import Code, GrpcLimits, GrpcService, LaneHandler, RpcError, StreamHandler
from pillion.net.wheel import Wheel

log = logging.getLogger("pillion.net")

_MOST_BLOCKS = 256
_LONGEST_BLOCK = 1024
CUT_SECONDS = 2.0
"""How long calls may take to end once their connections are cut."""


class ServerConnection(Http2Connection):
    """One client of a gRPC port."""

    is_server = True

    def __init__(self, site: "GrpcServer") -> None:
        super().__init__(site.http2_limits, site.wheel)
        self.site = site
        self.unopened: list[ServedCall] = []
        """Calls whose head came in this read, and which want a word at its end."""
        site.connections.add(self)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.unopened:
            unopened, self.unopened = self.unopened, []
            for call in unopened:
                call.settle()

    def greeting(self) -> bytes:
        return settings_frame(
            {MAX_FRAME_SIZE: FRAME_BYTES, MAX_HEADER_LIST_SIZE: self.limits.header_list_bytes}
        )

    def settled(self) -> None:
        # In a frame of its own: the first says what Dapr's first says, and nothing else.
        settings = {MAX_CONCURRENT_STREAMS: self.limits.max_streams}
        if self.settings.lane:
            settings[LANE_CALLS] = LANE_VERSION
        self.out.append(settings_frame(settings))

    def request(self, block: HeaderBlock) -> RequestHead:
        return self.site.heads.read(block)

    def accept(self, sid: int) -> ServedCall:
        return ServedCall(self, sid)

    def laned(self, sid: int, payload: bytes) -> None:
        lane = self.site.lane
        if lane is not None and self.admits(sid):  # without one no peer's settings bring us here
            call = LaneServed(self, sid)
            self.streams[sid] = call
            call.asked(*lane, payload)

    def ended(self, error: str) -> None:
        self.site.left(self)


class GrpcServer:
    """Serves one `GrpcService` on any number of addresses.

    `close` lets running calls end (GOAWAY first, so that clients go elsewhere), and cuts what is left after its
    grace. Safe to close unopened and twice.
    """

    def __init__(
        self,
        service: GrpcService,
        limits: GrpcLimits | None = None,
        *,
        wheel: Wheel | None = None,
        lane: tuple[bytes, LaneHandler] | None = None,
    ) -> None:
        """`lane` serves calls that come in one frame, counted under its path."""
        limits = limits or GrpcLimits()
        self.service = service
        self.lane = lane
        self.unary = service.unary
        self.admit = service.admit
        self.completed = service.completed
        self.message_bytes = limits.message_bytes
        self.loop = asyncio.get_running_loop()
        self.wheel = wheel or Wheel(self.loop)
        self._own_wheel = wheel is None
        self.http2_limits = Http2Limits(
            header_list_bytes=limits.header_list_bytes,
            keepalive_after=limits.keepalive_after,
            keepalive_timeout=limits.keepalive_timeout,
            min_ping_interval=limits.min_ping_interval,
            idle_timeout=limits.idle_timeout,
            lane=lane is not None,
        )
        self.encoder = Encoder()
        self.heads = Heads()
        self._blocks: dict[tuple[tuple[bytes, bytes], ...], bytes] = {}
        self.time = time.perf_counter
        self.connections: set[ServerConnection] = set()
        self.calls: set[ServedCall] = set()
        """Those whose handlers wait for something."""
        self._quiet: asyncio.Future[None] | None = None
        """Handlers that wait for something."""
        self._listeners: list[asyncio.Server] = []
        self._paths: list[str] = []
        self._emptied: asyncio.Future[None] | None = None

    async def listen(self, hosts: Sequence[str], port: int, *, tls: ssl.SSLContext | None = None) -> int:
        """Serve TCP on every host; the port, chosen if 0. Raises OSError and listens nowhere if one is taken."""
        opened: list[asyncio.Server] = []
        try:
            for host in hosts:
                opened.append(await sockets.serve(self._connection, host, port, tls=tls, backlog=1024))
                port = opened[-1].sockets[0].getsockname()[1]
        except OSError:
            for listener in opened:
                listener.close()
            raise
        self._listeners += opened
        return port

    async def listen_unix(self, path: str) -> None:
        """Serve a Unix socket; one left there by a process that is gone is replaced."""
        await sockets.remove_stale(path)
        self._paths.append(path)
        self._listeners.append(await self.loop.create_unix_server(self._connection, path, backlog=1024))

    async def accept(self, listening: Sequence[socket.socket], path: str = "") -> None:
        """Serve sockets that somebody opened; `path` is that of a Unix socket, removed at the end."""
        if path:
            self._paths.append(path)
        for each in listening:
            create = self.loop.create_unix_server if path else self.loop.create_server
            self._listeners.append(await create(self._connection, sock=each, backlog=1024))

    async def close(self, grace: float = 0.0) -> None:
        """Stop listening; wait up to `grace` seconds for running calls; cut the rest."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener.close()
        while self._paths:
            sockets.unlink(self._paths.pop())
        for connection in list(self.connections):
            connection.drain()
        if grace > 0:
            await self._empty(grace)
        for connection in list(self.connections):
            connection.cut()
        await self._empty(CUT_SECONDS)
        if self.calls:
            self._quiet = self.loop.create_future()
            await asyncio.wait([self._quiet], timeout=CUT_SECONDS)
        for call in self.calls:
            log.warning("a call did not end within %.1f s: %s", CUT_SECONDS, call.path.decode("latin-1"))
        if self._own_wheel:
            self.wheel.close()

    def stream_handler(self, path: bytes) -> StreamHandler | RpcError:
        """Who serves a path that is not unary, or why nobody does."""
        handler = self.service.streams.get(path)
        if handler is not None:
            return handler
        shown = path.decode("latin-1")
        service, slash, method = path.removeprefix(b"/").rpartition(b"/")
        if not slash:
            return RpcError(Code.UNIMPLEMENTED, f'malformed method name: "{shown}"')
        if self.service.fallback is not None:
            return self.service.fallback
        start = b"/" + service + b"/"
        if any(known.startswith(start) for table in (self.unary, self.service.streams) for known in table):
            return RpcError(
                Code.UNIMPLEMENTED,
                f"unknown method {method.decode('latin-1')} for service {service.decode('latin-1')}",
            )
        return RpcError(Code.UNIMPLEMENTED, f"unknown service {service.decode('latin-1')}")

    def block_of(self, metadata: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Metadata as a header block, remembered where it is short. Raises RpcError for what cannot be sent."""
        key = tuple(metadata)
        block = self._blocks.get(key)
        if block is None:
            block = self.encoder.encode(wire_fields(key))
            if len(block) <= _LONGEST_BLOCK:
                if len(self._blocks) >= _MOST_BLOCKS:
                    self._blocks.clear()
                self._blocks[key] = block
        return block

    def over(self, call: ServedCall) -> None:
        """A handler that waited is done."""
        self.calls.discard(call)
        if not self.calls and self._quiet is not None and not self._quiet.done():
            self._quiet.set_result(None)

    def left(self, connection: ServerConnection) -> None:
        """A connection is over."""
        self.connections.discard(connection)
        if not self.connections and self._emptied is not None and not self._emptied.done():
            self._emptied.set_result(None)

    def _connection(self) -> ServerConnection:
        return ServerConnection(self)

    async def _empty(self, deadline: float) -> None:
        """Wait until no connection is left, up to `deadline` seconds."""
        if not self.connections:
            return
        self._emptied = self.loop.create_future()
        await asyncio.wait([self._emptied], timeout=deadline)
        self._emptied = None
