"""Bodies crossing a connection: what both ends of HTTP/1.1 do alike."""

import asyncio
from collections.abc import Callable
from typing import cast

from pillion.toolbox.stream import BodyTooLarge, Stream, StreamClosed

BARREN = 64 * 1024
"""Bytes a peer may send inside a body (chunk extensions, trailers) without any of the body in them."""


class Outflow:
    """Puts a stream's pieces on a connection, as they are or chunked, no faster than it takes them.

    `done` is told once: None when the body went out whole, else what went wrong. With a length, what is
    too much is cut off and what is missing counts as wrong.
    """

    __slots__ = ("_stream", "_emit", "_done", "_left", "_chunked")

    def __init__(
        self,
        stream: Stream,
        emit: Callable[[bytes], None],
        done: Callable[[BaseException | None], None],
        *,
        chunked: bool,
        length: int | None = None,
    ) -> None:
        self._stream = stream
        self._emit = emit
        self._done = done
        self._chunked = chunked
        self._left = length

    def start(self) -> None:
        self._stream.attach(self._chunk if self._chunked else self._piece, self._end)

    def hold(self) -> None:
        """The connection takes no more for now."""
        self._stream.hold()

    def release(self) -> None:
        """The connection takes more again."""
        self._stream.release()

    def cancel(self) -> None:
        """The connection is gone; `done` is not told."""
        self._stream.cancel()

    def _chunk(self, piece: bytes) -> None:
        self._emit(b"%x\r\n%b\r\n" % (len(piece), piece))

    def _piece(self, piece: bytes) -> None:
        if self._left is None:
            self._emit(piece)
            return
        self._emit(piece[: self._left])
        self._left = max(0, self._left - len(piece))

    def _end(self, error: BaseException | None) -> None:
        if error is None and self._left:
            error = StreamClosed(f"the body ended {self._left} bytes short of its announced length")
        if error is None and self._chunked:
            self._emit(b"0\r\n\r\n")
        self._done(error)


class Link(asyncio.Protocol):
    """One connection, either end: its transport, the body coming in and the one going out.

    A body coming in is collected in `_parts` until it is known to be small and complete, or becomes a stream.
    """

    __slots__ = (
        "_transport",
        "_parts",
        "_size",
        "_limit",
        "_stream",
        "_reading",
        "_writable",
        "_outflow",
        "_barren",
    )

    def __init__(self, limit: int | None = None) -> None:
        self._transport: asyncio.Transport | None = None
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._stream: Stream | None = None
        self._outflow: Outflow | None = None
        self._reading = True
        self._writable = True
        self._barren = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    # The body going out.

    def pause_writing(self) -> None:
        self._writable = False
        if self._outflow is not None:
            self._outflow.hold()

    def resume_writing(self) -> None:
        self._writable = True
        if self._outflow is not None:
            self._outflow.release()

    def _send_stream(self, outflow: Outflow) -> None:
        self._outflow = outflow
        if not self._writable:
            outflow.hold()
        outflow.start()

    # The body coming in.

    def on_body(self, piece: bytes) -> None:
        self._barren = -1
        self._size += len(piece)
        if self._limit is not None and self._size > self._limit:
            self._too_large()
        elif self._stream is None:
            self._parts.append(piece)
        else:
            self._stream.push(piece)

    def _too_large(self) -> None:
        self._parts.clear()
        self._open_stream(None).abort(BodyTooLarge("stream too large"))

    def _open_stream(self, length: int | None) -> Stream:
        """The stream of this body, from what has come so far."""
        if self._stream is None:
            self._stream = Stream(
                length=length,
                on_pause=self._hold_reading,
                on_resume=self._resume_reading,
                on_cancel=self._reader_gone,
            )
            for piece in self._parts:
                self._stream.push(piece)
            self._parts.clear()
        return self._stream

    def _collected(self) -> bytes:
        """The body that came whole."""
        parts = self._parts
        if len(parts) == 1:
            return parts.pop()
        body = b"".join(parts)
        parts.clear()
        return body

    def _is_barren(self, size: int) -> bool:
        """Count bytes of a read that ended inside a body; whether too many came without any of the body among them."""
        self._barren = self._barren + size if self._barren >= 0 else 0
        return self._barren > BARREN

    def _hold_reading(self) -> None:
        transport = self._transport
        if self._reading and transport is not None and not transport.is_closing():
            self._reading = False
            transport.pause_reading()

    def _resume_reading(self) -> None:
        transport = self._transport
        if not self._reading and transport is not None and not transport.is_closing():
            self._reading = True
            transport.resume_reading()

    def _reader_gone(self) -> None:
        """Nobody listens to the body coming in."""
        raise NotImplementedError
