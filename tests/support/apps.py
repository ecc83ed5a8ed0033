"""Apps on loopback that are not ours: a plain HTTP server that keeps what it is sent, and a grpcio server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc


@dataclass
class Asked:
    """One request as it came off the wire."""

    line: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key == name]

    @property
    def names(self) -> set[str]:
        return {key for key, _ in self.headers}


@dataclass
class PlainApp:
    """Answers every request with what `answers` holds for its path, or with 200 and nothing."""

    answers: dict[str, bytes] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    hold: Callable[[], Awaitable[Any]] | None = None
    at_once: int = 0
    most_at_once: int = 0

    def reply(self, asked: Asked) -> bytes:
        """The answer's bytes."""
        return self.answers.get(asked.line.split(" ")[1], answer(200))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await _request(reader)) is not None:
                self.asked.append(request)
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                if self.hold is not None:
                    await self.hold()
                self.at_once -= 1
                writer.write(self.reply(request))
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def answer(status: int, body: bytes = b"", *headers: str) -> bytes:
    """An answer's bytes."""
    fields = "".join(f"{header}\r\n" for header in headers)
    return f"HTTP/1.1 {status} X\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = [(name.lower(), value) for name, value in (each.split(": ", 1) for each in lines)]
    named = dict(headers)
    if named.get("transfer-encoding") == "chunked":
        body = b""
        while size := int(await reader.readline(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return Asked(line, headers, body)
    return Asked(line, headers, await reader.readexactly(int(named.get("content-length", "0"))))


@asynccontextmanager
async def plain_app(app: PlainApp) -> AsyncIterator[int]:
    """The app on a free port."""
    tasks: set[asyncio.Task[Any]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(app.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


Callback = Callable[[bytes, Any], Awaitable[bytes]]
"""The request's bytes and grpcio's context, to the answer's bytes."""


@asynccontextmanager
async def grpc_app(callbacks: dict[str, Callback]) -> AsyncIterator[int]:
    """A grpcio server with these methods (full names), raw bytes in and out."""

    class Handlers(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:
            found = callbacks.get(details.method)
            return None if found is None else grpc.unary_unary_rpc_method_handler(found)

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield port
    finally:
        await server.stop(None)
