"""A body on its way: one producer pushes, one consumer takes, neither runs ahead."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

HIGH_WATER = 64 * 1024
"""Bytes waiting in a stream before its producer is told to pause."""


class StreamClosed(ConnectionError):
    """The other side of a stream went away before the body was complete."""


class BodyTooLarge(ValueError):
    """More bytes came than the reader was ready to keep."""


class Stream:
    """A body of unknown length, handed from one connection to another in pieces.

    The producer calls `push`, then exactly one of `finish` and `abort`. The consumer either awaits
    `read` or takes pieces by callback (`attach`); it may give up with `cancel`. Back-pressure is told
    through `on_pause` and `on_resume`, which the producer sets; `on_cancel` tells it that nobody listens.
    All calls are made on the loop's own thread. Safe to finish, abort and cancel more than once: the first wins.
    """

    __slots__ = (
        "_chunks", "_size", "_ended", "_error", "_waiter", "_sink", "_done", "_paused", "_held", "_flowing",
        "on_pause", "on_resume", "on_cancel", "length",
    )  # fmt: skip

    def __init__(
        self,
        *,
        length: int | None = None,
        on_pause: Callable[[], None] | None = None,
        on_resume: Callable[[], None] | None = None,
        on_cancel: Callable[[], None] | None = None,
    ) -> None:
        self.length = length
        """The number of bytes to come, where the sender announced it."""
        self.on_pause = on_pause
        self.on_resume = on_resume
        self.on_cancel = on_cancel
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._error: BaseException | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._sink: Callable[[bytes], None] | None = None
        self._done: Callable[[BaseException | None], None] | None = None
        self._paused = False
        self._held = False
        self._flowing = False

    @property
    def ended(self) -> bool:
        """No more will be pushed: finished, aborted or cancelled."""
        return self._ended

    # The producer's side.

    def push(self, chunk: bytes) -> None:
        """Give the next piece. Dropped silently once the stream has ended."""
        if self._ended or not chunk:
            return
        if self._sink is not None and not (self._held or self._flowing or self._chunks):
            self._sink(chunk)
            return
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._wake()
        if self._size >= HIGH_WATER and not self._paused:
            self._paused = True
            if self.on_pause:
                self.on_pause()

    def finish(self) -> None:
        """The body is complete."""
        self._end(None)

    def abort(self, error: BaseException | None = None) -> None:
        """The body will never be complete; the consumer sees `error`."""
        self._end(error or StreamClosed("the body was cut off"))

    # The consumer's side.

    async def read(self) -> bytes:
        """The next piece, `b""` at the end; raises what the producer aborted with."""
        while not self._chunks:
            if self._ended:
                if self._error is not None:
                    raise self._error
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._take()

    async def read_all(self, limit: int | None = None) -> bytes:
        """The whole rest. Raises `BodyTooLarge` (and cancels) past `limit` bytes."""
        parts: list[bytes] = []
        size = 0
        while chunk := await self.read():
            size += len(chunk)
            if limit is not None and size > limit:
                self.cancel()
                raise BodyTooLarge("stream too large")
            parts.append(chunk)
        return b"".join(parts)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        while chunk := await self.read():
            yield chunk

    def attach(self, sink: Callable[[bytes], None], done: Callable[[BaseException | None], None]) -> None:
        """Take pieces by callback from now on; `done` is called once, with the error or None.

        Between `hold` and `release` nothing is handed over and the producer is paused in turn.
        """
        self._sink, self._done = sink, done
        self._flow()

    def hold(self) -> None:
        """The consumer cannot take more for now."""
        self._held = True

    def release(self) -> None:
        """The consumer can take more again."""
        if self._held:
            self._held = False
            self._flow()

    def cancel(self) -> None:
        """The consumer gives up; what waits is dropped and the producer is told once, resumed first if it was paused."""
        told = self._ended
        self._chunks.clear()
        self._size = 0
        self._sink = None
        self._done = None
        self._end(StreamClosed("the reader gave up"))
        self._resume()
        if not told and self.on_cancel:
            self.on_cancel()

    def _take(self) -> bytes:
        chunk = self._chunks.popleft()
        self._size -= len(chunk)
        if self._paused and self._size < HIGH_WATER // 2:
            self._resume()
        return chunk

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self.on_resume:
                self.on_resume()

    def _flow(self) -> None:
        if self._flowing:
            return
        self._flowing = True  # a resumed producer may push from inside `_take`: its piece must queue behind
        try:
            while self._chunks and self._sink is not None and not self._held:
                self._sink(self._take())
        finally:
            self._flowing = False
        if self._ended and not self._chunks and self._done is not None and not self._held:
            done, self._done = self._done, None
            done(self._error)

    def _end(self, error: BaseException | None) -> None:
        if self._ended:
            return
        self._ended = True
        self._error = error
        self._wake()
        self._flow()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


Body = bytes | Stream
"""A body: `bytes` when it is complete and small, else a `Stream`."""


async def whole(body: Body, limit: int | None = None) -> bytes:
    """A body's bytes, read to its end; raises `BodyTooLarge` past `limit`."""
    if isinstance(body, Stream):
        return await body.read_all(limit)
    if limit is not None and len(body) > limit:
        raise BodyTooLarge("stream too large")
    return body


def discard(body: Body) -> None:
    """Nobody will read this body."""
    if isinstance(body, Stream):
        body.cancel()
