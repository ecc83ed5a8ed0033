"""The way in: sockets that accept HTTP connections, and their orderly end."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from pillion.net import sockets
from pillion.net.http import HttpHandler, HttpLimits
from pillion.net.http1.server import Http2Factory, ServerConnection, Site
from pillion.net.wheel import Wheel

BACKLOG = 1024
POLL = 0.02
"""Seconds between two looks at whether the last connection has ended, while closing."""


@runtime_checkable
class Drains(Protocol):
    """A protocol that can be told to take no more work and close when it is done."""

    def drain(self) -> None: ...


class HttpServer:
    """Serves one handler on any number of addresses.

    `http2` makes the protocol for clients that speak HTTP/2 in clear text, or negotiate it under TLS.
    """

    def __init__(
        self,
        handler: HttpHandler,
        limits: HttpLimits | None = None,
        *,
        wheel: Wheel | None = None,
        http2: Http2Factory | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._wheel = wheel or Wheel()
        self._own_wheel = wheel is None
        self._tls = tls
        self._site = Site(handler, limits or HttpLimits(), self._wheel, http2)
        self._site.on_takeover = self._taken_over
        self._servers: list[asyncio.Server] = []
        self._paths: list[str] = []
        self._others: dict[asyncio.Transport, asyncio.Protocol] = {}
        self._draining = False

    @property
    def handler(self) -> HttpHandler:
        """Who serves the requests."""
        return self._site.handler

    def hand_to(self, handler: HttpHandler) -> None:
        """Let another serve the requests from now on."""
        self._site.handler = handler

    async def listen(self, hosts: Iterable[str], port: int) -> list[tuple[str, int]]:
        """Accept on every host; the addresses bound. With port 0 all hosts share the port the first one got.

        Raises OSError if an address is taken; then nothing of this call stays bound.
        """
        made: list[asyncio.Server] = []
        bound: list[tuple[str, int]] = []
        try:
            for host in hosts:
                server = await sockets.serve(self._accept, host, port, tls=self._tls, backlog=BACKLOG)
                made.append(server)
                bound += [socket.getsockname()[:2] for socket in server.sockets]
                port = bound[0][1]
        except BaseException:
            for server in made:
                server.close()
            raise
        self._servers += made
        return bound

    async def listen_unix(self, path: str) -> None:
        """Accept on a unix socket; a socket left there by a process that is gone is replaced."""
        loop = asyncio.get_running_loop()
        await sockets.remove_stale(path)
        self._servers.append(
            await loop.create_unix_server(self._accept, path, ssl=self._tls, backlog=BACKLOG)
        )
        self._paths.append(path)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._site.connections) + len(self._open_others())

    async def close(self, grace: float = 0.0) -> None:
        """Accept no more, let running requests end within `grace` seconds, then cut. Safe to call twice."""
        self._draining = True
        for server in self._servers:
            server.close()
        for path in self._paths:
            sockets.unlink(path)
        self._paths.clear()
        self._drain()
        await self._wait_empty(grace)
        self._cut()
        await self._wait_empty(1.0)
        self._servers.clear()
        if self._own_wheel:
            self._wheel.close()

    def _accept(self) -> asyncio.Protocol:
        connection = ServerConnection(self._site)
        if self._draining:
            connection.drain()
        return connection

    def _drain(self) -> None:
        for connection in tuple(self._site.connections):
            connection.drain()
        for transport, protocol in self._open_others().items():
            if isinstance(protocol, Drains):
                protocol.drain()
            else:
                transport.close()

    def _cut(self) -> None:
        for connection in tuple(self._site.connections):
            connection.cut()
        for transport in self._open_others():
            transport.abort()

    async def _wait_empty(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        # Connections of another protocol do not tell when they end, so we look.
        while self.connections and (left := deadline - loop.time()) > 0:  # noqa: ASYNC110
            await asyncio.sleep(min(left, POLL))

    def _taken_over(self, transport: asyncio.Transport, protocol: asyncio.Protocol) -> None:
        self._open_others()
        self._others[transport] = protocol
        if self._draining and isinstance(protocol, Drains):
            protocol.drain()

    def _open_others(self) -> dict[asyncio.Transport, asyncio.Protocol]:
        """The connections that speak HTTP/2; those that are over are forgotten."""
        over = [transport for transport in self._others if transport.is_closing()]
        for transport in over:
            del self._others[transport]
        return self._others
