"""Bodies cut into numbered pieces, and numbered pieces put together to bodies: the same both ways of a streamed call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from pillion.net.rpc import RpcError
from pillion.toolbox.stream import Body, Stream, StreamClosed
from pillion.wire.internals import piece, read_piece
from pillion.wire.scan import Malformed

PIECE: Final = 64 * 1024
"""The most bytes of a body in one message."""

Send = Callable[[bytes], Awaitable[None]]
Receive = Callable[[], Awaitable[bytes | None]]


class OutOfOrder(ValueError):
    """A piece came that cannot be the next one."""


def first_piece(body: bytes) -> bytes:
    """What of a complete body goes along with the head."""
    return body if len(body) <= PIECE else body[:PIECE]


async def send_rest(body: Body, send: Send) -> None:
    """Send a body in pieces behind the head's; of complete bytes the first piece went with the head."""
    seq = 1
    if not isinstance(body, Stream):
        for start in range(PIECE, len(body), PIECE):
            await send(piece(body[start : start + PIECE], seq))
            seq += 1
        return
    while chunk := await body.read():
        for start in range(0, len(chunk), PIECE):
            await send(piece(chunk[start : start + PIECE], seq))
            seq += 1


class Feed:
    """Puts what a call receives into a stream, no faster than the stream's reader takes it.

    `error` is what ended it too early: the transport's error or a piece that could not be. The stream is aborted then.
    """

    def __init__(self, receive: Receive, first: bytes, seq: int) -> None:
        self.stream = Stream(on_pause=self._pause, on_resume=self._resume)
        self.error: Exception | None = None
        self._receive = receive
        self._next = seq + 1
        self._gate: asyncio.Future[None] | None = None
        self._told: asyncio.Future[None] | None = None
        self._empty = not first
        self.stream.push(first)

    async def ends_empty(self, patience: float) -> bool:
        """Whether the body ends without a byte in it; no as well where that is not known after `patience` seconds."""
        if self._empty and not self.stream.ended:
            self._told = asyncio.get_running_loop().create_future()
            timer = asyncio.get_running_loop().call_later(patience, self._tell)
            try:
                await self._told
            finally:
                timer.cancel()
        return self._empty and self.stream.ended and self.error is None

    async def run(self) -> None:
        """Receive until the end, or until nobody reads any more."""
        try:
            if self._next > 1:
                raise OutOfOrder(f"invalid sequence number received: {self._next - 1} (expected: 0)")
            while not self.stream.ended:
                if self._gate is not None:
                    await self._gate
                message = await self._receive()
                if message is None:
                    break
                self._take(message)
        except asyncio.CancelledError:
            self.stream.abort()
            raise
        except (RpcError, OutOfOrder, Malformed) as error:
            self.error = error
            self.stream.abort(StreamClosed(error.message if isinstance(error, RpcError) else str(error)))
        else:
            self.stream.finish()
        finally:
            self._tell()

    def _take(self, message: bytes) -> None:
        data, seq, headed = read_piece(message)
        if headed:
            raise OutOfOrder("request metadata found in non-leading chunk")
        if seq < 0:
            return
        if seq != self._next:
            raise OutOfOrder(f"invalid sequence number received: {seq} (expected: {self._next})")
        self._next += 1
        self.stream.push(data)
        if data and self._empty:
            self._empty = False
            self._tell()

    def _tell(self) -> None:
        if self._told is not None and not self._told.done():
            self._told.set_result(None)

    def _pause(self) -> None:
        if self._gate is None:
            self._gate = asyncio.get_running_loop().create_future()

    def _resume(self) -> None:
        gate, self._gate = self._gate, None
        if gate is not None and not gate.done():
            gate.set_result(None)
