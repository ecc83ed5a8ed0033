"""One stream of an HTTP/2 connection: its windows, what waits to be sent on it, and what it is told."""

from collections import deque
from typing import TYPE_CHECKING

from pillion.net.http2.fields import RequestHead, ResponseHead, Trailers
from pillion.net.http2.frames import (
    DATA,
    END_STREAM,
    FRAME_BYTES,
    ErrorCode,
    StreamFault,
    frame,
    header_frames,
    window_frame,
)

if TYPE_CHECKING:
    from pillion.net.http2.connection import Http2Connection

HIGH_WATER = 64 * 1024
"""Bytes waiting in a stream past which its writer should wait for `drained`."""
TURN_BYTES = 64 * 1024
"""The most one stream sends before the others have their turn."""
MESSAGE_BYTES = 4 * 1024 * 1024
"""How far the window is widened for bytes that are sure to come."""
LINGER_BYTES = 32 * 1024
"""What a peer may still send on a stream we have answered in full, before it is told to stop."""


class Exchange:
    """One request and its answer, as either side sees it.

    Below are the methods that a transport overrides; each is called on the loop and must not block. After `cut`
    nothing more is called, and whatever is still sent is dropped silently.
    """

    # What every call touches has a slot; the rest waits in the class until a call needs its own.
    __slots__ = (
        "connection",
        "sid",
        "send_window",
        "receive_window",
        "granted",
        "local_closed",
        "remote_closed",
        "headed",
        "expected",
        "gone",
        "__dict__",
    )

    owed = 0
    """Bytes received and consumed that the peer was not yet given back."""
    pending: deque[bytes] | None = None
    pending_bytes = 0
    offset = 0
    """Into the first pending piece."""
    queued = False
    """Waits for its turn in the connection."""
    ending = False
    """Nothing will follow what is pending."""
    tail: bytes | None = None
    """A block of trailers behind what is pending."""

    def __init__(self, connection: "Http2Connection", sid: int) -> None:
        self.connection = connection
        self.sid = sid
        self.send_window = connection.peer_window
        self.receive_window = self.granted = connection.own_window
        self.local_closed = self.remote_closed = self.headed = self.gone = False
        self.expected = -1  # bytes of the announced body still to come

    # What a transport is told.

    def opened(self, head: RequestHead, end: bool) -> None:
        """A request came (server)."""

    def opened_whole(self, head: RequestHead, body: bytes) -> None:
        """A request came together with its small body (server); `opened` and `data` in one where a transport does not say
        otherwise."""
        self.opened(head, False)
        if self.gone:
            return
        self.remote_closed = True
        if self.local_closed:
            self.connection.forget(self)
        else:
            self.data(body, True)

    def answered(self, head: ResponseHead, end: bool) -> None:
        """The answer's head came, interim ones included (client)."""

    def data(self, chunk: bytes, end: bool) -> None:
        """A piece of the body. Call `consumed` for its bytes once they are out of memory or on their way."""

    def trailed(self, trailers: Trailers) -> None:
        """The body ended with trailers."""

    def laned(self, payload: bytes) -> None:
        """The whole answer came in one `LANE` frame (client)."""
        raise StreamFault(ErrorCode.PROTOCOL_ERROR, "an answer to what was not asked in the lane")

    def cut(self, code: int, text: str, *, remote: bool) -> None:
        """Reset by the peer or by us, or the connection is gone: `code` says why."""

    def drained(self) -> None:
        """What waited to be sent is down to half of `HIGH_WATER`."""

    # Sending.

    def send_headers(self, block: bytes, *, end: bool = False) -> None:
        """The head (or an interim one), at once."""
        if self.gone or self.local_closed:
            return
        connection = self.connection
        connection.out.append(header_frames(self.sid, connection.announced(block), end=end))
        connection.answered = True
        if end:
            self.closed_by_us()
        connection.touch()

    def send_data(self, chunk: bytes, *, end: bool = False) -> None:
        """A piece of the body of any size: sent now where the windows allow, else when they do."""
        if self.gone or self.local_closed or self.ending:
            return
        size = len(chunk)
        connection = self.connection
        if (
            not self.pending
            and size <= FRAME_BYTES
            and size <= self.send_window
            and size <= connection.window
            and not connection.paused
        ):
            self._emit(chunk, end)
            connection.touch()
            return
        if self.pending is None:
            self.pending = deque()
        if chunk:
            self.pending.append(chunk)
            self.pending_bytes += size
        self.ending = end
        connection.enqueue(self)

    def send_trailers(self, block: bytes) -> None:
        """The end of the answer, behind whatever still waits."""
        if self.gone or self.local_closed or self.ending:
            return
        if self.pending:
            self.tail = block
            self.ending = True
        else:
            self.send_headers(block, end=True)

    def reset(self, code: int = ErrorCode.CANCEL) -> None:
        """Give the stream up; the transport is not told again."""
        if not self.gone:
            self.connection.drop(self, code)

    def take_turn(self) -> bool:
        """Send what the windows allow, up to one turn's share; True if more could go."""
        connection, pending = self.connection, self.pending
        budget = min(TURN_BYTES, self.send_window, connection.window)
        before = self.pending_bytes
        while pending and budget > 0:
            piece, start = pending[0], self.offset
            size = min(len(piece) - start, FRAME_BYTES, budget)
            self.offset += size
            self.pending_bytes -= size
            budget -= size
            if self.offset == len(piece):
                pending.popleft()
                self.offset = 0
            last = not pending and self.ending and self.tail is None
            self._emit(piece[start : start + size], last)
        if not pending and self.ending and not self.local_closed:
            self._finish()
        if before > HIGH_WATER // 2 >= self.pending_bytes and not self.gone:
            self.drained()
        return bool(pending) and self.send_window > 0

    def _emit(self, chunk: bytes, end: bool) -> None:
        size = len(chunk)
        self.send_window -= size
        connection = self.connection
        connection.window -= size
        connection.answered = True
        connection.out.append(frame(DATA, END_STREAM if end else 0, self.sid, chunk))
        if end:
            self.closed_by_us()

    def _finish(self) -> None:
        tail, self.tail = self.tail, None
        if tail is not None:
            self.send_headers(tail, end=True)
        else:
            self._emit(b"", True)

    def closed_by_us(self) -> None:
        """Our half is over; with the peer's half over too the stream is done."""
        self.local_closed = True
        if self.remote_closed:
            self.connection.forget(self)

    # Receiving.

    def consumed(self, size: int) -> None:
        """Bytes handed to `data` need no memory any more; the peer may send as many again, and more if we keep up.

        The window starts at the size announced and doubles while its reader is never behind, so that a far peer is not held to one
        small window per round trip, and a slow reader never gets a large one.
        """
        self.owed += size
        if self.remote_closed or self.gone or self.owed * 2 < self.granted:
            return
        granted = self.granted
        keeps_up = self.receive_window + self.owed >= granted
        growth = granted if keeps_up and granted < self.connection.growth else 0
        self.give(self.owed + growth)
        self.owed = 0
        self.granted += growth

    def expect(self, size: int) -> None:
        """So many bytes are sure to come and to be kept: widen the window at once if they do not fit."""
        size = min(size, MESSAGE_BYTES)
        if size > self.receive_window + self.owed and not self.remote_closed:
            wanted = size - self.receive_window
            self.granted += max(0, wanted - self.owed)
            self.owed = 0
            self.give(wanted)

    def give(self, size: int) -> None:
        """Widen the peer's window."""
        self.receive_window += size
        self.connection.out.append(window_frame(self.sid, size))
        self.connection.touch()
