"""One call as a server serves it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TYPE_CHECKING, cast

from pillion.net.grpc.messages import Assembly, unknown_encoding
from pillion.net.grpc.words import PREFIX_BYTES, CallHead, prefixed, status_fields, wire_fields
from pillion.net.http2.exchange import HIGH_WATER, Exchange
from pillion.net.http2.fields import RequestHead, Trailers
from pillion.net.http2.frames import (
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    HEADERS,
    ErrorCode,
    frame,
)
from pillion.net.http2.hpack import encode
from pillion.net.rpc import NO_METADATA, Code, Metadata, RpcError, StreamHandler, UnaryHandler
from pillion.toolbox.tasks import Light, light

if TYPE_CHECKING:
    from pillion.net.grpc.server import ServerConnection

log = logging.getLogger("pillion.net")

AT_ONCE = 0.001
"""A deadline this close, in seconds, has passed."""
CLIENT_FIRST = 0.01
"""Seconds by which our clock rings after the client's: a reset that came before it would read as a cancellation."""

HEAD = encode([(b":status", b"200"), (b"content-type", b"application/grpc")])
OK = encode([(b"grpc-status", b"0")])


def _opening(flags: int, block: bytes) -> bytes:
    return len(block).to_bytes(3, "big") + bytes((HEADERS, flags))


# A unary answer: HEADERS and the start of DATA up to the message, the message, HEADERS again.
_HEAD_FRAME = _opening(END_HEADERS, HEAD)
_BEFORE = Struct(f">{len(_HEAD_FRAME)}sI{len(HEAD)}sBHBBIBI").pack
_OK_FRAME = _opening(END_HEADERS | END_STREAM, OK)
_PREFIX = Struct(">BI").pack
_AFTER = Struct(f">{len(_OK_FRAME)}sI{len(OK)}s").pack


class ServedCall(Exchange):
    """A call's stream, and what its handler sees of it (`ServerCall`).

    The handler, if it still waits for something, is cancelled when the client goes away or the deadline passes; the call is
    counted as over when the handler is.
    """

    __slots__ = (
        "path",
        "metadata",
        "peer",
        "deadline",
        "_head",
        "_unary",
        "_half_closed",
        "_running",
        "_began",
        "_received",
        "_sent",
        "_counted",
    )

    connection: "ServerConnection"
    path: bytes
    metadata: Metadata
    peer: str
    deadline: float | None

    _going: Light | None = None
    _timer: asyncio.TimerHandle | None = None
    _assembly: Assembly | None = None
    _queue: deque[bytes] | None = None
    _queued = 0
    _withheld = 0
    _reader: asyncio.Future[None] | None = None
    _writer: asyncio.Future[None] | None = None
    _initial: Sequence[tuple[bytes, bytes]] = NO_METADATA
    _trailers: Sequence[tuple[bytes, bytes]] = NO_METADATA
    _head_sent = False
    _tellers: list[Callable[[], None]] | None = None
    _verdict: RpcError | None = None
    """Why the call ended before its handler did."""
    _broken: RpcError | None = None
    """What is wrong with the messages that came."""
    _zombie = False
    _waiting: StreamHandler | RpcError | None = None
    """A stream's handler before it is started: its first message is mostly in the same read, and then need not be waited for."""
    _finished = False
    """The handler has sent its last message together with the status."""

    def __init__(self, connection: "ServerConnection", sid: int) -> None:
        super().__init__(connection, sid)
        self._unary: UnaryHandler | None = None
        self._running = self._half_closed = False
        self._received = self._sent = 0
        self._counted = True  # nothing to tell `completed`

    # What comes in.

    def opened(self, head: RequestHead, end: bool) -> None:
        known = self._head = cast(CallHead, head)  # the connection has no others
        site = self.connection.site
        self.path = path = known.path
        self.metadata = known.metadata.copy()
        self.peer = self.connection.peer
        self.deadline = None
        self._began = site.time()
        self._counted = False
        if known.refusal is not None:
            self._decline(*known.refusal)
            return
        if known.timeout is not None and not self._set_deadline(known.timeout):
            return
        self._half_closed = end
        if known.encoding and known.encoding != b"gzip":
            self._fail(unknown_encoding(known.encoding))
            return
        self._unary = site.unary.get(path)
        if self._unary is None:
            self._waiting = site.stream_handler(path)
            if end:
                self.open()
            elif self.deadline is None:
                self.connection.unopened.append(self)
        elif end:
            self._fail(RpcError(Code.UNKNOWN, "EOF"))

    def opened_whole(self, head: RequestHead, body: bytes) -> None:
        known = cast(CallHead, head)
        connection = self.connection
        site = connection.site
        unary = site.unary.get(known.path)
        size, limit = len(body) - PREFIX_BYTES, site.message_bytes
        if (
            unary is None
            or known.refusal is not None
            or known.encoding
            or size < 0
            or body[:PREFIX_BYTES] != _PREFIX(0, size)
            or (limit is not None and size > limit)
        ):
            super().opened_whole(head, body)
            return
        self.remote_closed = self._half_closed = True
        self._head = known
        self.path = known.path
        self.metadata = known.metadata.copy()
        self.peer = connection.peer
        self.deadline = None
        self._began = site.time()
        self._counted = False
        if known.timeout is not None and not self._set_deadline(known.timeout):
            return
        self._unary = unary
        self._received = size
        self._serve(body[PREFIX_BYTES:])

    def data(self, chunk: bytes, end: bool) -> None:
        if end:
            self._half_closed = True
            if self._unary is not None and self._assembly is None:
                size = len(chunk) - PREFIX_BYTES
                limit = self.connection.site.message_bytes
                if (
                    size >= 0
                    and not chunk[0]
                    and int.from_bytes(chunk[1:PREFIX_BYTES], "big") == size
                    and (limit is None or size <= limit)
                ):
                    self._received = size
                    self._serve(chunk[PREFIX_BYTES:])
                    return
        if self._broken is not None or (self._running and self._unary is not None):
            return
        try:
            self._assemble(chunk, end)
        except RpcError as error:
            self._break(error)

    def trailed(self, trailers: Trailers) -> None:
        self.data(b"", True)

    def cut(self, code: int, text: str, *, remote: bool) -> None:
        self._give_up(RpcError(Code.CANCELLED, "context canceled"))

    def drained(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _assemble(self, chunk: bytes, end: bool) -> None:
        assembly = self._assembly
        message = self._complete(chunk) if assembly is None else None
        if message is None and assembly is None:
            assembly = self._assembly = Assembly(self.connection.site.message_bytes, self._head.encoding)
        for each in (message,) if message is not None else assembly.feed(chunk):  # type: ignore[union-attr]
            self._received += len(each)
            if self._queue is None:
                self._queue = deque()
            self._queue.append(each)
            self._queued += len(each)
        if end:
            self._end_of_messages()
        elif self._queued < HIGH_WATER:
            self.consumed(len(chunk))
            if assembly is not None:
                self.expect(assembly.wanted)
        else:
            self._withheld += len(chunk)
            self.connection.hold(len(chunk))
        self._arrived()

    def _complete(self, chunk: bytes) -> bytes | None:
        """The one message that a piece is, uncompressed; None where it is anything else."""
        size = len(chunk) - PREFIX_BYTES
        if size < 0 or chunk[0] or int.from_bytes(chunk[1:PREFIX_BYTES], "big") != size:
            return None
        limit = self.connection.site.message_bytes
        return chunk[PREFIX_BYTES:] if limit is None or size <= limit else None

    def _break(self, error: RpcError) -> None:
        """The messages cannot be read on: a streaming handler learns it where it receives."""
        self._broken = error
        if self._unary is not None:
            self._fail(error)
        else:
            self._arrived()

    def _end_of_messages(self) -> None:
        if self._assembly is not None and self._assembly.partial:
            raise RpcError(Code.INTERNAL, "unexpected EOF")
        if self._unary is not None and not self._queue and not self._running:
            raise RpcError(Code.UNKNOWN, "EOF")

    def _arrived(self) -> None:
        if self._unary is not None:
            if self._queue and not self._running:
                self._queued = 0
                self._serve(self._queue.popleft())
        elif self._waiting is not None:
            self.open()
        elif self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # Running the handler.

    def open(self) -> None:
        """Start a stream's handler, if that has not been done."""
        handler, self._waiting = self._waiting, None
        if handler is not None and not self.gone:
            self._open_stream(handler)

    def _serve(self, message: bytes) -> None:
        unary = self._unary
        assert unary is not None
        self._running = True
        try:
            self.connection.site.admit(self)
        except RpcError as error:
            self._fail(error)
            return
        going = light(unary(self, message), self._answered)  # type: ignore[arg-type]
        if going is not None:
            self._keep(going)

    def _open_stream(self, handler: StreamHandler | RpcError) -> None:
        if isinstance(handler, RpcError):
            self._fail(handler)
            return
        self._running = True
        try:
            self.connection.site.admit(self)
        except RpcError as error:
            self._fail(error)
            return
        going = light(handler(self), self._streamed)  # type: ignore[arg-type]
        if going is not None:
            self._keep(going)

    def _keep(self, going: Light) -> None:
        self._going = going
        self.connection.site.calls.add(self)
        if self._verdict is not None:  # the handler made us give up before its first wait
            going.cancel()

    def _answered(self, message: bytes | None, error: BaseException | None) -> None:
        if self.__dict__ and (self._going is not None or self._timer is not None):
            self._stop()
        if error is not None or message is None:
            self._fail(self._fault(error))
            return
        if self.gone or self.local_closed:
            self._over(self._verdict.code if self._verdict else Code.CANCELLED)
            return
        try:
            self._reply(message)
        except RpcError as unsendable:
            self._fail(unsendable)
            return
        self._sent += len(message)
        self._over(0)

    def _streamed(self, _: object, error: BaseException | None) -> None:
        self._stop()
        if self._finished:
            self._over(Code.OK)
            return
        if error is not None:
            self._fail(self._fault(error))
            return
        if self.gone or self.local_closed:
            self._over(self._verdict.code if self._verdict else Code.CANCELLED)
            return
        try:
            self._end(Code.OK, "", b"", self._trailers)
        except RpcError as unsendable:
            self._fail(unsendable)
            return
        self._over(Code.OK)

    def _fault(self, error: BaseException | None) -> RpcError:
        if isinstance(error, RpcError):
            return error
        if isinstance(error, asyncio.CancelledError):
            return self._verdict or RpcError(Code.CANCELLED, "context canceled")
        log.error("%s: the handler failed", self.path.decode("latin-1"), exc_info=error)
        return RpcError(Code.INTERNAL, "the call could not be served")

    def _stop(self) -> None:
        """The handler is done."""
        if self._going is not None:
            self._going = None
            self.connection.site.over(self)
        if self._zombie:
            self._zombie = False
            self.connection.zombies -= 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _over(self, code: int) -> None:
        """The call is over: what was received and never read is forgotten, and the service is told once."""
        if self.__dict__:
            if self._queue is not None:
                self._release()
            self._tellers = None
        if not self._counted:
            self._counted = True
            site = self.connection.site
            site.completed(self.path, code, site.time() - self._began, self._received, self._sent)

    # Giving up.

    def _set_deadline(self, seconds: float) -> bool:
        loop = self.connection.site.loop
        self.deadline = loop.time() + seconds
        if seconds < AT_ONCE:
            self._fail(RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))
            return False
        self.connection.unopened.append(self)
        return True

    def settle(self) -> None:
        """The read that brought the head is over: what still goes on is started, and its deadline watched.

        A call that was answered within the read needs no timer.
        """
        if self._waiting is not None:
            self.open()
        if self.deadline is not None and not self._counted and self._verdict is None and self._timer is None:
            loop = self.connection.site.loop
            left = min(self.deadline - loop.time(), 10**8)
            self._timer = loop.call_later(max(0.0, left) + CLIENT_FIRST, self._expired)

    def _expired(self) -> None:
        """The client's own clock has rung as well: it is told by a reset, as it expects."""
        self._timer = None
        if not self.gone and not self.local_closed:
            self.connection.drop(self, ErrorCode.CANCEL)
            self._give_up(RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))

    def _give_up(self, verdict: RpcError) -> None:
        """The stream is gone: the handler, if it runs, is told in every way."""
        if self._verdict is not None:
            return
        self._verdict = verdict
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        tellers, self._tellers = self._tellers, None
        for tell in tellers or ():
            tell()
        self._release()
        if self._going is not None:
            self._zombie = True
            self.connection.zombies += 1
            self._going.cancel()
        elif not self._running:
            self._over(verdict.code)

    def _release(self) -> None:
        """What was received and never read is forgotten."""
        self._queue = None
        self._queued = 0
        if self._withheld:
            self.connection.hold(-self._withheld)
            self._withheld = 0

    # Answering.

    def _reply(self, message: bytes) -> None:
        """A unary call's whole answer."""
        size = len(message)
        framed = size + PREFIX_BYTES
        connection = self.connection
        limit = connection.site.message_bytes
        if (
            framed > FRAME_BYTES
            or framed > self.send_window
            or framed > connection.window
            or (self.__dict__ and (self._head_sent or self._trailers))
            or connection.paused
            or connection.notice
            or (limit is not None and size > limit)
        ):
            self._push(message)
            self._end(Code.OK, "", b"", self._trailers)
            return
        sid = self.sid
        if self.__dict__ and self._initial:
            block = HEAD + connection.site.block_of(self._initial)
            if len(block) > FRAME_BYTES:
                self._push(message)
                self._end(Code.OK, "", b"", self._trailers)
                return
            data = frame(DATA, 0, sid, prefixed(message))
            connection.out += (frame(HEADERS, END_HEADERS, sid, block), data, _AFTER(_OK_FRAME, sid, OK))
        else:
            connection.out += (
                _BEFORE(_HEAD_FRAME, sid, HEAD, 0, framed, DATA, 0, sid, 0, size),
                message,
                _AFTER(_OK_FRAME, sid, OK),
            )
        self.send_window -= framed
        connection.window -= framed
        connection.answered = True
        self.local_closed = True
        if self.remote_closed:
            connection.forget(self)
        if not connection.busy:
            connection.touch()

    def _push(self, message: bytes) -> None:
        size, limit = len(message), self.connection.site.message_bytes
        if limit is not None and size > limit:
            text = f"grpc: trying to send message larger than max ({size} vs. {limit})"
            raise RpcError(Code.RESOURCE_EXHAUSTED, text)
        self._send_head()
        self.send_data(prefixed(message))

    def _send_head(self) -> None:
        if self._head_sent:
            return
        block = HEAD
        if self._initial:
            block += self.connection.site.block_of(self._initial)
        self._head_sent = True
        self.send_headers(block)

    def _end(self, code: int, message: str, details: bytes, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        """The status: behind the head and messages sent, or alone with the head."""
        encoder = self.connection.site.encoder
        block = OK if code == 0 else encode(status_fields(code, message, details))
        if trailers:
            block += encoder.encode(wire_fields(trailers))
        if self._head_sent:
            self.send_trailers(block)
            return
        initial = self.connection.site.block_of(self._initial) if self._initial else b""
        self._head_sent = True
        self.send_headers(HEAD + initial + block, end=True)

    def _fail(self, error: RpcError) -> None:
        """End the call with another status than OK."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.gone and not self.local_closed:
            if error.initial and not self._head_sent:
                self._initial = [*self._initial, *error.initial]
            try:
                self._end(error.code, error.message, error.details, [*self._trailers, *error.trailers])
            except RpcError as unsendable:
                self._initial = NO_METADATA
                self._end(unsendable.code, unsendable.message, b"", NO_METADATA)
        self._verdict = self._verdict or error
        self._over(error.code)

    def _decline(self, status: int, code: int, text: str) -> None:
        """Not a gRPC request: an HTTP status too, and for whoever is just looking a line to read."""
        self._counted = True
        fields = [(b":status", b"%d" % status)]
        browsed = self._head.browsed
        fields.append((b"content-type", b"text/plain; charset=utf-8" if browsed else b"application/grpc"))
        block = encode(fields + status_fields(code, text, b""))
        if browsed:
            self.send_headers(block)
            self.send_data(f"{text}\n".encode(), end=True)
        else:
            self.send_headers(block, end=True)

    # What the handler calls.

    @property
    def ended(self) -> bool:
        return self._half_closed and not self._queue

    async def receive(self) -> bytes | None:
        while not self._queue:
            if self._verdict or self._broken:
                raise self._verdict or self._broken  # type: ignore[misc]
            if self._half_closed:
                return None
            self._reader = self.connection.site.loop.create_future()
            await self._reader
        message = self._queue.popleft()
        self._queued -= len(message)
        if self._withheld and self._queued < HIGH_WATER // 2:
            self.connection.hold(-self._withheld)
            self.consumed(self._withheld)
            self._withheld = 0
        return message

    async def send(self, message: bytes, *, end: bool = False) -> None:
        if self.gone or self.local_closed:
            raise self._verdict or RpcError(Code.CANCELLED, "context canceled")
        if end:
            self._reply(message)
            self._sent += len(message)
            self._finished = True
            return
        self._push(message)
        self._sent += len(message)
        while self.pending_bytes > HIGH_WATER and not self.gone:
            self._writer = self.connection.site.loop.create_future()
            await self._writer

    def send_initial(self, metadata: Sequence[tuple[bytes, bytes]]) -> None:
        self.set_initial(metadata)
        self._send_head()

    def set_initial(self, metadata: Sequence[tuple[bytes, bytes]]) -> None:
        self._initial = [*self._initial, *metadata]

    def set_trailers(self, metadata: Sequence[tuple[bytes, bytes]]) -> None:
        self._trailers = [*self._trailers, *metadata]

    def on_cancel(self, tell: Callable[[], None]) -> None:
        if self._verdict is not None:
            tell()
            return
        if self._tellers is None:
            self._tellers = []
        self._tellers.append(tell)
