"""gRPC from the client's side: one connection, any number of calls."""

import asyncio
import ssl
from collections import deque
from collections.abc import Sequence
from datetime import timedelta
from typing import NoReturn

from pillion.net.grpc.answers import closing, cut_short, lone, opening, unreachable
from pillion.net.grpc.messages import Assembly
from pillion.net.grpc.words import prefixed, timeout_text, wire_fields
from pillion.net.http2.client import STREAM_WINDOW, UNPROCESSED, ClientConnection, Line, Origin
from pillion.net.http2.exchange import HIGH_WATER, Exchange
from pillion.net.http2.fields import ResponseHead, Trailers
from pillion.net.http2.frames import END_STREAM, LANE, ErrorCode
from pillion.net.http2.hpack import Encoder, encode, encode_field
from pillion.net.http2.limits import Http2Limits
from pillion.net.rpc import AGAIN, Code, GrpcLimits, Metadata, Reply, RpcError, Unprocessed
from pillion.net.wheel import Wheel
from pillion.toolbox.backoff import Backoff

BACKOFF = Backoff(timedelta(milliseconds=50), timedelta(seconds=5), multiplier=1.6, jitter=0.2)
_REMEMBERED = 512
USER_AGENT = b"grpc-pillion/1"


class AskedCall(Exchange):
    """A call of ours (`ClientCall`), unary or streaming.

    A unary call is told its whole answer through `answer`; a streaming one collects messages for whoever receives.
    """

    __slots__ = ("_channel", "_queue", "_opened", "_done")

    _assembly: Assembly | None = None
    _encoding = b""
    _queued = 0
    _withheld = 0
    _reader: "asyncio.Future[None] | None" = None
    _writer: "asyncio.Future[None] | None" = None
    _initial: Metadata | None = None
    _trailers: Metadata | None = None
    _error: RpcError | None = None
    _timer: asyncio.TimerHandle | None = None
    _deadline = 0.0
    answer: "asyncio.Future[bytes] | None" = None

    def __init__(self, channel: "GrpcChannel", connection: ClientConnection) -> None:
        super().__init__(connection, connection.next_sid())
        connection.streams[self.sid] = self
        self._channel = channel
        self._queue: deque[bytes] = deque()
        self._opened = self._done = False

    # What comes in.

    def answered(self, head: ResponseHead, end: bool) -> None:
        if head.status < 200:
            return
        found = opening(head)
        self._opened = True
        self._encoding = found.encoding
        if end and (status := lone(head)) is not None:
            self._trailers = status.metadata
            self._conclude(None if status.code == Code.OK else status.error([]))
        elif found.strange is not None:
            strange = found.strange
            self._abandon(RpcError(strange.code, strange.message, remote=True))
        elif end:
            self._conclude(
                RpcError(Code.INTERNAL, "server closed the stream without sending trailers", remote=True)
            )
        else:
            self._initial = found.metadata
            self._wake()

    def data(self, chunk: bytes, end: bool) -> None:
        if self._done:
            return
        try:
            self._assemble(chunk)
        except RpcError as error:
            self._abandon(error)
            return
        if end:
            self._conclude(
                RpcError(Code.INTERNAL, "server closed the stream without sending trailers", remote=True)
            )
        else:
            self._credit(len(chunk))
        self._wake()

    def trailed(self, trailers: Trailers) -> None:
        end = closing(trailers)
        self._trailers = end.metadata
        self._conclude(None if end.code == Code.OK else end.error(self._initial or []))

    def cut(self, code: int, text: str, *, remote: bool) -> None:
        if (
            code == ErrorCode.CANCEL
            and remote
            and self._deadline
            and self.connection.loop.time() >= self._deadline - 0.05
        ):
            self._conclude(RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))
            return
        error = cut_short(code, text, remote=remote, opened=self._opened)
        self._conclude(
            Unprocessed(error)
            if code in (UNPROCESSED, ErrorCode.REFUSED_STREAM) and not self._opened
            else error
        )

    def drained(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def _assemble(self, chunk: bytes) -> None:
        if self._assembly is None:
            size = len(chunk) - 5
            limit = self._channel.message_bytes
            if (
                size >= 0
                and not chunk[0]
                and int.from_bytes(chunk[1:5], "big") == size
                and (limit is None or size <= limit)
            ):
                self._queue.append(chunk[5:])
                self._queued += size
                return
            self._assembly = Assembly(limit, self._encoding)
        for message in self._assembly.feed(chunk):
            self._queue.append(message)
            self._queued += len(message)
        if not self._assembly.partial:
            self._assembly = None

    def _credit(self, size: int) -> None:
        if self._queued < HIGH_WATER or self.answer is not None:
            self.consumed(size)
            if self._assembly is not None:
                self.expect(self._assembly.wanted)
        else:
            self._withheld += size
            self.connection.hold(size)

    def _conclude(self, error: RpcError | None) -> None:
        """The call is over, whichever way; the first wins."""
        if self._done:
            return
        self._done = True
        self._error = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._withheld:
            self.connection.hold(-self._withheld)
            self._withheld = 0
        if self.remote_closed and not self.local_closed and not self.gone:
            self.reset(ErrorCode.NO_ERROR)  # nobody reads what we might still send
        if self.answer is not None:
            self._settle(self.answer, error)
        self._wake()
        self.drained()

    def _settle(self, answer: "asyncio.Future[bytes]", error: RpcError | None) -> None:
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        elif len(self._queue) == 1:
            answer.set_result(self._queue[0])
        else:
            what = "no message" if not self._queue else "more than one message"
            answer.set_exception(
                RpcError(Code.INTERNAL, f"{what} in the answer to a unary call", remote=True)
            )

    def _abandon(self, error: RpcError) -> None:
        """Give up from our side."""
        self.reset(ErrorCode.CANCEL)
        self._conclude(error)

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def expire_at(self, deadline: float) -> None:
        """End the call at a time on the loop's clock."""
        self._deadline = deadline
        self._timer = self.connection.loop.call_at(deadline, self._expired)

    def _expired(self) -> None:
        self._timer = None
        self._abandon(RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded"))

    # What the caller does.

    @property
    def ended(self) -> bool:
        return self._done and not self._queue

    async def send(self, message: bytes, *, end: bool = False) -> None:
        self._check()
        self._channel.check_size(message)
        self.send_data(prefixed(message), end=end)
        while self.pending_bytes > HIGH_WATER and not self._done:
            self._writer = self.connection.loop.create_future()
            await self._writer
        self._check()

    def half_close(self) -> None:
        self.send_data(b"", end=True)

    async def receive(self) -> bytes | None:
        while not self._queue:
            if self._done:
                if self._error is not None:
                    raise self._error
                return None
            self._reader = self.connection.loop.create_future()
            await self._reader
        message = self._queue.popleft()
        self._queued -= len(message)
        if self._withheld and self._queued < HIGH_WATER // 2:
            self.connection.hold(-self._withheld)
            size, self._withheld = self._withheld, 0
            self.consumed(size)
        return message

    async def initial(self) -> Metadata:
        while not self._opened and not self._done:
            self._reader = self.connection.loop.create_future()
            await self._reader
        if not self._opened and self._error is not None:
            raise self._error
        return self._initial or []

    def trailers(self) -> Metadata:
        return self._trailers or []

    def cancel(self) -> None:
        if not self._done:
            self._abandon(RpcError(Code.CANCELLED, "context canceled"))

    def _check(self) -> None:
        """Nothing can be sent on a call that is over: with OK too, for the server has said all it will."""
        if self._done:
            raise self._error or RpcError(Code.INTERNAL, "the call is over")


class LaneAsked(AskedCall):
    """A call of ours in the lane (`net.rpc.LaneAsked`)."""

    __slots__ = ("reply",)

    def __init__(self, channel: "GrpcChannel", connection: ClientConnection) -> None:
        super().__init__(channel, connection)
        self.local_closed = True
        self.reply: asyncio.Future[bytes | None] = connection.loop.create_future()

    def laned(self, payload: bytes) -> None:
        self._done = True
        if self._timer is not None:
            self._timer.cancel()
        if not self.reply.done():
            self.reply.set_result(payload)

    def _wake(self) -> None:
        """Something else than a whole answer came, or nothing will."""
        super()._wake()
        if self.reply.done():
            return
        if self._error is not None and not self._queue:
            self.reply.set_exception(self._error)
        else:
            self.reply.set_result(None)


_LANE_FLAGS = bytes((LANE, END_STREAM))
_NO_TIMEOUT = b"\0\0\0\0"


class GrpcChannel:
    """A `Channel`: dialled when first needed, dialled again with growing waits when lost, shared by all calls.

    A unary call costs a future and, with a timeout, a timer. A call the server provably never looked at is made again a few times.
    """

    def __init__(
        self,
        host: str = "",
        port: int = 0,
        *,
        path: str | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        authority: bytes | None = None,
        limits: GrpcLimits | None = None,
        wheel: Wheel | None = None,
        keepalive: float = 0.0,
        backoff: Backoff = BACKOFF,
        user_agent: bytes = USER_AGENT,
        lane: bool = False,
    ) -> None:
        """`path` is a Unix socket to dial instead of host and port; `keepalive` seconds of silence and the server is asked.

        `lane` offers the server to send it small calls in one frame each.
        """
        limits = limits or GrpcLimits()
        self.message_bytes = limits.message_bytes
        origin = Origin(host, port, path, tls, server_name)
        self._where = f"unix {path}" if path is not None else f"tcp {host}:{port}"
        self._line = Line(
            origin,
            Http2Limits(
                header_list_bytes=limits.header_list_bytes,
                window=STREAM_WINDOW,
                keepalive_after=keepalive,
                keepalive_timeout=limits.keepalive_timeout,
                lane=lane,
            ),
            wheel,
            lambda failures: backoff.seconds(failures - 1),
        )
        self._encoder = Encoder()
        self._heads: dict[bytes, bytes] = {}
        self._scheme = b"https" if tls is not None else b"http"
        self._authority = authority or (
            origin.authority if path is not None or port in (80, 443) else b"%b:%d" % (_bracketed(host), port)
        )
        self._user_agent = user_agent
        self._closed = False

    async def unary(
        self,
        path: bytes,
        message: bytes,
        metadata: Sequence[tuple[bytes, bytes]] = (),
        *,
        timeout: float | None = None,
    ) -> Reply:
        """Ask and wait for the answer; see `Channel`."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            return await self._ask(loop, path, message, metadata, deadline)
        except Unprocessed:
            for wait in AGAIN:
                await asyncio.sleep(wait)
                try:
                    return await self._ask(loop, path, message, metadata, deadline)
                except Unprocessed:
                    continue
            raise

    async def stream(
        self, path: bytes, metadata: Sequence[tuple[bytes, bytes]] = (), *, timeout: float | None = None
    ) -> AskedCall:
        """Open a call of any kind; see `Channel`."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        connection = self._line.ready
        if connection is None or not connection.usable or connection.full:
            connection = await self._connected(loop, deadline)
        return self._open(connection, loop, path, metadata, deadline)

    @property
    def has_lane(self) -> bool:
        """See `Channel`."""
        connection = self._line.ready
        if connection is None:
            return False
        settings = connection.settings
        return (
            settings.lane
            and not connection.paused
            and len(connection.streams) < settings.max_streams
            and connection.usable
        )

    def lane(self, message: bytes, *, timeout: float | None = None) -> LaneAsked:
        """Ask in the lane; see `Channel`."""
        connection = self._line.ready
        if connection is None:
            raise RpcError(Code.UNAVAILABLE, "no connection")
        if timeout is not None and timeout <= 0:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
        call = LaneAsked(self, connection)
        if timeout is None:
            allowed = _NO_TIMEOUT
        else:
            allowed = max(1, min(int(timeout * 1000), 2**32 - 1)).to_bytes(4, "big")
            call.expire_at(connection.loop.time() + timeout)
        connection.out += (
            (len(message) + 4).to_bytes(3, "big"), _LANE_FLAGS, call.sid.to_bytes(4, "big"), allowed, message,
        )  # fmt: skip
        connection.touch()
        return call

    async def exchange(
        self,
        path: bytes,
        messages: Sequence[bytes],
        metadata: Sequence[tuple[bytes, bytes]] = (),
        *,
        timeout: float | None = None,
    ) -> AskedCall:
        """Open a call with all its requests known: they leave together with its head, in one write.

        What comes back is received as from `stream`.
        """
        call = await self.stream(path, metadata, timeout=timeout)
        for message in messages:
            self.check_size(message)
        call.send_data(b"".join([prefixed(message) for message in messages]), end=True)
        return call

    async def close(self) -> None:
        """Refuse new calls; those running end by themselves."""
        self._closed = True
        await self._line.close()

    def check_size(self, message: bytes) -> None:
        """Raises RpcError for a message that is too large to send."""
        limit = self.message_bytes
        if limit is not None and len(message) > limit:
            text = f"trying to send message larger than max ({len(message)} vs. {limit})"
            raise RpcError(Code.RESOURCE_EXHAUSTED, text)

    async def _ask(
        self,
        loop: asyncio.AbstractEventLoop,
        path: bytes,
        message: bytes,
        metadata: Sequence[tuple[bytes, bytes]],
        deadline: float | None,
    ) -> Reply:
        self.check_size(message)
        connection = self._line.ready
        if connection is None or not connection.usable or connection.full:
            connection = await self._connected(loop, deadline)
        call = self._open(connection, loop, path, metadata, deadline)
        answer = call.answer = loop.create_future()
        call.send_data(prefixed(message), end=True)
        try:
            return Reply(await answer, call._initial or [], call._trailers or [])
        except asyncio.CancelledError:
            call.answer = None
            call.cancel()
            raise

    def _open(
        self,
        connection: ClientConnection,
        loop: asyncio.AbstractEventLoop,
        path: bytes,
        metadata: Sequence[tuple[bytes, bytes]],
        deadline: float | None,
    ) -> AskedCall:
        block = self._heads.get(path) or self._head(path)
        if metadata:
            block += self._encoder.encode(wire_fields(metadata))
        if deadline is None:
            call = AskedCall(self, connection)
        else:
            left = deadline - loop.time()
            if left <= 0:
                raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded")
            block += encode_field(b"grpc-timeout", timeout_text(left))
            call = AskedCall(self, connection)
            call.expire_at(deadline)
        call.send_headers(block)
        return call

    def _head(self, path: bytes) -> bytes:
        """The beginning of every request for a path, kept so that it has the same bytes each time."""
        if len(self._heads) >= _REMEMBERED:
            self._heads.clear()
        block = self._heads[path] = encode(
            [
                (b":method", b"POST"),
                (b":scheme", self._scheme),
                (b":path", path),
                (b":authority", self._authority),
                (b"content-type", b"application/grpc"),
                (b"user-agent", self._user_agent),
                (b"te", b"trailers"),
            ]
        )
        return block

    async def _connected(self, loop: asyncio.AbstractEventLoop, deadline: float | None) -> ClientConnection:
        """A connection with room for a call."""
        if self._closed:
            raise RpcError(Code.CANCELLED, "grpc: the client connection is closing")
        try:
            connection = await self._line.connection(
                None if deadline is None else max(0.0, deadline - loop.time())
            )
            if connection.full:
                await connection.room(deadline)
            return connection
        except OSError as error:
            self._unreachable(error, loop, deadline)

    def _unreachable(
        self, error: OSError, loop: asyncio.AbstractEventLoop, deadline: float | None
    ) -> NoReturn:
        if deadline is not None and loop.time() >= deadline:
            raise RpcError(Code.DEADLINE_EXCEEDED, "context deadline exceeded") from error
        raise unreachable(error, self._where) from error


def _bracketed(host: str) -> bytes:
    return f"[{host}]".encode() if ":" in host else host.encode()
