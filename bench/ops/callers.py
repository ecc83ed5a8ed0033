"""The callers on the loop of the sidecars: over HTTP/1.1 a connection each, over gRPC streams of one connection."""

import asyncio
from collections.abc import Sequence
from typing import Protocol, cast

from ..floor.link import DATA, END_HEADERS, END_STREAM, HEADERS, PREFACE, frame
from ..works import GrpcCall, HttpCall
from .packing import GoEncoder

_WINDOW = (1 << 30).to_bytes(4, "big")
_OPENING = PREFACE + frame(4, 0, 0, b"\x00\x04" + _WINDOW) + frame(8, 0, 0, _WINDOW)


class CallFailed(Exception):
    """A sidecar refused; counts with refusals among them mean nothing."""


class Callers(Protocol):
    """Some callers who call together until a number of calls has been answered."""

    async def make(self, calls: int) -> None: ...

    def close(self) -> None: ...


class _HttpCaller(asyncio.Protocol):
    def __init__(self, request: bytes) -> None:
        self._request = request
        self._answer = b""
        self._left = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def make(self, calls: int) -> "asyncio.Future[None]":
        self.done = asyncio.get_running_loop().create_future()
        self._left = calls
        self.transport.write(self._request)
        return self.done

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, found, body = self._answer.partition(b"\r\n\r\n")
        if not found or len(body) < _body_size(head):
            return
        if head[9:10] != b"2":
            self.done.set_exception(CallFailed(self._answer.decode(errors="replace")))
            return
        self._answer = b""
        self._left -= 1
        if self._left > 0:
            self.transport.write(self._request)
        else:
            self.done.set_result(None)


def _body_size(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


class HttpCallers:
    """As many connections as callers."""

    def __init__(self, each: Sequence[_HttpCaller]) -> None:
        self._each = each

    @classmethod
    async def connect(cls, call: HttpCall, port: int, count: int) -> "HttpCallers":
        loop, request = asyncio.get_running_loop(), _rendered(call, port)
        made = [
            (await loop.create_connection(lambda: _HttpCaller(request), "127.0.0.1", port))[1]
            for _ in range(count)
        ]
        return cls(made)

    async def make(self, calls: int) -> None:
        await asyncio.gather(*(caller.make(calls // len(self._each)) for caller in self._each))

    def close(self) -> None:
        for caller in self._each:
            caller.transport.close()


def _rendered(call: HttpCall, port: int) -> bytes:
    head = f"{call.method} {call.path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: pillion-bench\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in call.headers)
    body = call.body.replace("@CALLER@", "1")
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return f"{head}\r\n{body}".encode()


class GrpcCallers(asyncio.Protocol):
    """One connection; every answer read makes room for the next calls, which go out together."""

    def __init__(self, call: GrpcCall, count: int) -> None:
        self._path = call.path.encode()
        self._message = b"\0" + len(call.message).to_bytes(4, "big") + call.message
        self._extra = tuple((name.encode(), value.encode()) for name, value in call.headers)
        self._count = count
        self._packing = GoEncoder()
        self._next = 1
        self._buffer = b""
        self._prepared: list[bytes] = []
        self._left = self._flying = 0

    @classmethod
    async def connect(cls, call: GrpcCall, port: int, count: int) -> "GrpcCallers":
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(lambda: cls(call, count), "127.0.0.1", port)
        return made

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(_OPENING)

    async def make(self, calls: int) -> None:
        self._prepared = [self._call() for _ in range(calls)][::-1]
        self._left = calls
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._send(min(self._count, calls))
        await self.done

    def data_received(self, data: bytes) -> None:
        if b"grpc-message" in data:
            self.done.set_exception(CallFailed(repr(data)))
            return
        ended = self._ended(data)
        self._left -= ended
        if ended and self._left:
            self._send(min(ended, len(self._prepared)))
        elif ended:
            self.done.set_result(None)

    def close(self) -> None:
        self._transport.close()

    def _ended(self, data: bytes) -> int:
        """How many streams these bytes end."""
        buffer, ended = self._buffer + data, 0
        while len(buffer) >= 9:
            stop = 9 + int.from_bytes(buffer[:3], "big")
            if len(buffer) < stop:
                break
            ended += buffer[3] in (HEADERS, DATA) and buffer[4] & END_STREAM
            if buffer[3] == 6 and not buffer[4]:
                self._transport.write(frame(6, 1, 0, buffer[9:stop]))
            buffer = buffer[stop:]
        self._buffer = buffer
        return ended

    def _send(self, count: int) -> None:
        self._transport.write(b"".join(self._prepared.pop() for _ in range(count)))

    def _call(self) -> bytes:
        stream, self._next = self._next, self._next + 2
        block = self._packing.block(
            (
                (b":method", b"POST"),
                (b":scheme", b"http"),
                (b":path", self._path),
                (b":authority", b"127.0.0.1:50001"),
                (b"content-type", b"application/grpc"),
                (b"user-agent", b"grpc-go/1.64.1"),
                (b"te", b"trailers"),
                (b"grpc-timeout", b"%du" % (11_999_999 - 137 * stream)),
                *self._extra,
            )
        )
        head = frame(HEADERS, END_HEADERS, stream, block)
        return head + frame(DATA, END_STREAM, stream, self._message)
