"""A gRPC service to call, and a way to call it with bytes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from pillion.net.grpc import GrpcChannel, GrpcServer
from pillion.net.rpc import GrpcLimits, RpcError, ServerCall


class Echo:
    """Every kind of call, answering with what it was asked; notes what ended and how."""

    def __init__(self) -> None:
        self.unary: dict[bytes, Any] = {
            b"/echo.Echo/Unary": self.back,
            b"/echo.Echo/Slow": self.slow,
            b"/echo.Echo/Never": self.never,
            b"/echo.Echo/Fail": self.fail,
            b"/echo.Echo/Crash": self.crash,
            b"/echo.Echo/Metadata": self.metadata,
        }
        self.streams: dict[bytes, Any] = {
            b"/echo.Echo/Both": self.both,
            b"/echo.Echo/Join": self.join,
            b"/echo.Echo/Split": self.split,
            b"/echo.Echo/Idle": self.idle,
        }
        self.fallback: Any = None
        self.done: list[tuple[bytes, int, int, int]] = []
        self.refuses: RpcError | None = None
        self.running = 0
        self.cancelled = 0
        self.told = 0

    def admit(self, call: ServerCall) -> None:
        if self.refuses is not None:
            raise self.refuses

    def completed(self, path: bytes, code: int, seconds: float, received: int, sent: int) -> None:
        self.done.append((path, int(code), received, sent))

    async def back(self, call: ServerCall, message: bytes) -> bytes:
        return message

    async def slow(self, call: ServerCall, message: bytes) -> bytes:
        await asyncio.sleep(0.05)
        return message

    async def never(self, call: ServerCall, message: bytes) -> bytes:
        call.on_cancel(self.tell)
        self.running += 1
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        return message

    def tell(self) -> None:
        self.told += 1

    async def fail(self, call: ServerCall, message: bytes) -> bytes:
        call.set_initial([(b"x-initial", b"early")])
        raise RpcError(
            9, "not today: 100 % « nein »", details=b"\x08\x09", trailers=[(b"x-late-bin", b"\0\xff")]
        )

    async def crash(self, call: ServerCall, message: bytes) -> bytes:
        raise ZeroDivisionError("a secret")

    async def metadata(self, call: ServerCall, message: bytes) -> bytes:
        call.set_initial([field for field in call.metadata if field[0].startswith(b"x-")])
        call.set_trailers([(b"x-trailer", b"t"), (b"x-t-bin", bytes(range(256)))])
        return repr(call.metadata).encode()

    async def both(self, call: ServerCall) -> None:
        while (message := await call.receive()) is not None:
            await call.send(message)

    async def join(self, call: ServerCall) -> None:
        parts = []
        while (message := await call.receive()) is not None:
            parts.append(message)
        await call.send(b"".join(parts))

    async def split(self, call: ServerCall) -> None:
        message = await call.receive() or b""
        call.send_initial([(b"x-pieces", b"%d" % len(message))])
        for byte in message:
            await call.send(bytes((byte,)))

    async def idle(self, call: ServerCall) -> None:
        self.running += 1
        try:
            await call.receive()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1


class Served:
    """A running server with its service, and a channel of ours to it."""

    def __init__(self, service: Echo, server: GrpcServer, port: int) -> None:
        self.service = service
        self.server = server
        self.port = port
        self.channel = GrpcChannel("127.0.0.1", port)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"


@asynccontextmanager
async def served(limits: GrpcLimits | None = None) -> AsyncIterator[Served]:
    service = Echo()
    server = GrpcServer(service, limits)
    here = Served(service, server, await server.listen(["127.0.0.1"], 0))
    try:
        yield here
    finally:
        await here.channel.close()
        await server.close()
