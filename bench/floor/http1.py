"""HTTP/1 at both ends of the floor: the server for the caller, and the pooled connections to the app."""

import asyncio
from collections.abc import Callable
from typing import cast

import httptools

Headers = list[tuple[bytes, bytes]]
Reply = Callable[[int, Headers, bytes], None]

_REASONS = {200: b"OK", 204: b"No Content", 404: b"Not Found", 500: b"Internal Server Error"}
_OWN = frozenset((b"connection", b"content-length", b"host", b"keep-alive", b"transfer-encoding"))


def render(first: bytes, headers: Headers, body: bytes) -> bytes:
    parts = [first]
    parts += [b"%b: %b\r\n" % pair for pair in headers]
    parts.append(b"content-length: %d\r\n\r\n%b" % (len(body), body))
    return b"".join(parts)


class Served(asyncio.Protocol):
    """A caller's connection. `receive` gets one complete request at a time and answers through `reply`."""

    def __init__(self, receive: Callable[["Served", bytes, bytes, Headers, bytes], None]) -> None:
        self._receive = receive
        self._parser = httptools.HttpRequestParser(self)
        self._url = self._body = b""
        self._headers: Headers = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._url = self._body = b""
        self._headers = []

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name not in _OWN:
            self._headers.append((name, value))

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        self._receive(self, self._parser.get_method(), self._url, self._headers, self._body)

    def reply(self, status: int, headers: Headers, body: bytes) -> None:
        first = b"HTTP/1.1 %d %b\r\n" % (status, _REASONS.get(status, b""))
        self._transport.write(render(first, headers, body))


class AppConnection(asyncio.Protocol):
    """One kept-alive connection to the app; it carries one call at a time and then goes back to its pool."""

    def __init__(self, pool: "AppPool") -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._headers: Headers = []
        self._body = b""
        self._reply: Reply | None = None
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False

    def call(self, request: bytes, reply: Reply) -> None:
        self._reply = reply
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_begin(self) -> None:
        self._headers = []
        self._body = b""

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if name not in _OWN:
            self._headers.append((name, value))

    def on_body(self, piece: bytes) -> None:
        self._body += piece

    def on_message_complete(self) -> None:
        reply, self._reply = self._reply, None
        self._pool.idle.append(self)
        if reply is not None:
            reply(self._parser.get_status_code(), self._headers, self._body)


class AppPool:
    """The connections to the app that wait for work, the last used first."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._opening: set[asyncio.Task[None]] = set()
        self.idle: list[AppConnection] = []

    def call(self, request: bytes, reply: Reply) -> None:
        while self.idle:
            connection = self.idle.pop()
            if connection.is_open:
                connection.call(request, reply)
                return
        task = asyncio.get_running_loop().create_task(self._open(request, reply))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _open(self, request: bytes, reply: Reply) -> None:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: AppConnection(self), self._host, self._port)
        connection.call(request, reply)
