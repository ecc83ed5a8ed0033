"""A raw peer for HTTP/1.1: bytes out, bytes in, nothing tidied up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pillion.net.http import HttpHandler, HttpLimits, Request, Responder
from pillion.net.listen import HttpServer


class Raw:
    """One TCP connection to a server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """The next answer that says how long it is."""
        status, headers = await self.head()
        if status < 200 or status in (204, 304):
            return status, headers, b""
        if headers.get("Transfer-Encoding") == "chunked":
            return status, headers, await self._chunks()
        return status, headers, await self.reader.readexactly(int(headers["Content-Length"]))

    async def head(self) -> tuple[int, dict[str, str]]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        return int(head[0].split(" ")[1]), headers

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def rest(self) -> bytes:
        """Everything until the server closes."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        try:
            await self.writer.wait_closed()
        except ConnectionError:
            pass


@asynccontextmanager
async def serving(
    handler: HttpHandler, limits: HttpLimits | None = None, **more: object
) -> AsyncIterator[tuple[HttpServer, int]]:
    """A server on a free port of loopback."""
    server = HttpServer(handler, limits, **more)  # type: ignore[arg-type]
    [(_, port)] = await server.listen(["127.0.0.1"], 0)
    try:
        yield server, port
    finally:
        await server.close()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Raw]:
    """A raw connection to a port of loopback."""
    raw = Raw(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield raw
    finally:
        await raw.close()


@asynccontextmanager
async def talking(
    handler: HttpHandler, limits: HttpLimits | None = None, **more: object
) -> AsyncIterator[Raw]:
    """A server and one raw connection to it."""
    async with serving(handler, limits, **more) as (_, port), connected(port) as raw:
        yield raw


def echo(request: Request, responder: Responder) -> None:
    """Answers with the request's own body, as it comes, and its target in a header."""
    responder.respond(200, [(b"x-target", request.target), (b"x-host", request.host)], request.body)


class Desk:
    """A handler that keeps requests until the test answers them, and counts the clients that did not wait for it."""

    def __init__(self) -> None:
        self.open: list[tuple[Request, Responder]] = []
        self.left = 0

    def __call__(self, request: Request, responder: Responder) -> None:
        responder.on_disconnect(self._gone)
        self.open.append((request, responder))

    def _gone(self) -> None:
        self.left += 1


@asynccontextmanager
async def scripted(script: Callable[[Raw], object]) -> AsyncIterator[int]:
    """A server that does what `script` (an async function of a raw connection) says to every connection; its port."""

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = Raw(reader, writer)
        try:
            await script(raw)  # type: ignore[misc]
        except (ConnectionError, asyncio.IncompleteReadError, RuntimeError):
            pass  # the other side went first; uvloop calls writing then a RuntimeError
        finally:
            await raw.close()

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
