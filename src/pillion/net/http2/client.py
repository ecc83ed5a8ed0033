"""HTTP/2 from the client's side: connections that many exchanges share, how they are dialled, and an HTTP client."""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable

from pillion.net.http import Headers, Response
from pillion.net.http2.bodies import HttpExchange, sendable
from pillion.net.http2.connection import Http2Connection
from pillion.net.http2.fields import ResponseHead, Trailers
from pillion.net.http2.frames import (
    ENABLE_PUSH,
    INITIAL_WINDOW_SIZE,
    LANE_CALLS,
    LANE_VERSION,
    MAX_HEADER_LIST_SIZE,
    MAX_STREAM,
    PREFACE,
    ErrorCode,
    StreamFault,
    settings_frame,
)
from pillion.net.http2.hpack import Encoder
from pillion.net.http2.limits import Http2Limits
from pillion.net.wheel import Wheel
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.stream import Body, Stream, discard
from pillion.toolbox.tasks import Crew

STREAM_WINDOW = 64 * 1024
CONNECT_SECONDS = 20.0
UNPROCESSED = -1
"""In place of an error code: the server never looked at the stream, so it may safely be tried again."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a server is: host and port, or the path of a Unix socket; in the clear unless `tls` is given."""

    host: str = ""
    port: int = 0
    path: str | None = None
    tls: ssl.SSLContext | None = None
    server_name: str | None = None
    """The name to check and to announce under TLS, where it is not the host's."""

    @property
    def authority(self) -> bytes:
        if self.path is not None:
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = 443 if self.tls else 80
        return host.encode() if self.port == default else f"{host}:{self.port}".encode()


class ClientConnection(Http2Connection):
    """Our end of a connection to a server. `established` is told once its settings are here, `over` when it is gone."""

    is_server = False

    def __init__(
        self, limits: Http2Limits, wheel: Wheel, established: Callable[[], None], over: Callable[[str], None]
    ) -> None:
        super().__init__(limits, wheel)
        self._established = established
        self._over = over
        self._waiting: deque[asyncio.Future[None]] = deque()

    def greeting(self) -> bytes:
        settings = {
            ENABLE_PUSH: 0,
            INITIAL_WINDOW_SIZE: self.limits.window,
            MAX_HEADER_LIST_SIZE: self.limits.header_list_bytes,
        }
        if self.limits.lane:
            settings[LANE_CALLS] = LANE_VERSION
        return PREFACE + settings_frame(settings)

    @property
    def usable(self) -> bool:
        """New streams may be opened, now or when others end."""
        return not (self.closing or self.draining) and self.last_sid < MAX_STREAM - 2

    @property
    def full(self) -> bool:
        """The server wants no more streams at once."""
        return len(self.streams) >= self.settings.max_streams

    async def room(self, deadline: float | None = None) -> None:
        """Wait until a stream may be opened. Raises ConnectionError when the connection ends first, TimeoutError."""
        while self.full and self.usable:
            waiter = self.loop.create_future()
            self._waiting.append(waiter)  # a cancelled one is passed over when its turn comes
            timer = self.loop.call_at(deadline, _no_room, waiter) if deadline is not None else None
            try:
                await waiter
            finally:
                if timer is not None:
                    timer.cancel()
        if not self.usable:
            raise ConnectionError("the connection was closed")

    def next_sid(self) -> int:
        """The id of a stream about to be opened."""
        self.last_sid = sid = self.last_sid + 2 if self.last_sid else 1
        return sid

    def settled(self) -> None:
        self._established()

    def laned(self, sid: int, payload: bytes) -> None:
        stream = self.streams.get(sid)
        if stream is None:
            self.late(sid, "LANE")
            return
        if stream.headed or stream.remote_closed:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, "a second answer")
        stream.headed = stream.remote_closed = True
        stream.laned(payload)
        if not stream.gone:
            self.forget(stream)

    def room_made(self) -> None:
        waiting = self._waiting
        free = self.settings.max_streams - len(self.streams)
        while waiting and (free > 0 or not self.usable):
            waiter = waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                free -= 1

    def goaway(self, last: int, code: int, text: str) -> None:
        """The server goes: streams it has not seen are handed back, the others end in peace."""
        self.draining = True
        for sid in [sid for sid in self.streams if sid > last]:
            stream = self.streams[sid]
            self.take_out(stream)
            stream.cut(UNPROCESSED, f"the server is going away: {text}", remote=True)
        self._final = 0
        if not self.streams:
            self._close_drained()
        self.room_made()

    def ended(self, error: str) -> None:
        self.room_made()
        self._over(error)


class Line:
    """The one connection kept to an origin: dialled when first asked for, and again when it was lost.

    `backoff`, given how many dials have failed in a row, says for how many seconds nobody tries again; those who ask meanwhile get the
    last failure. Whoever waits for a dial may stop waiting without disturbing the others.
    """

    def __init__(
        self,
        origin: Origin,
        limits: Http2Limits,
        wheel: Wheel | None = None,
        backoff: Callable[[int], float] | None = None,
    ) -> None:
        self.origin = origin
        self.ready: ClientConnection | None = None
        """The connection, if there is one that takes streams."""
        self._limits = limits
        self._wheel = wheel
        self._own_wheel = wheel is None
        self._backoff = backoff
        self._crew = Crew("dial")
        self._dialing = False
        self._waiters: list[asyncio.Future[ClientConnection]] = []
        self._open: set[ClientConnection] = set()
        self._failures = 0
        self._failure: OSError | None = None
        self._not_before = 0.0
        self._closed = False

    async def connection(self, timeout: float | None = None) -> ClientConnection:
        """A connection that takes streams. Raises OSError, among them TimeoutError."""
        ready = self.ready
        if ready is not None and ready.usable:
            return ready
        loop = asyncio.get_running_loop()
        if self._closed:
            raise ConnectionError("the client is closed")
        if self._failure is not None and loop.time() < self._not_before:
            raise self._failure.with_traceback(None)
        waiter: asyncio.Future[ClientConnection] = loop.create_future()
        self._waiters.append(waiter)
        if not self._dialing:
            self._dialing = True
            self._crew.start(self._dial(loop), f"dial {self.origin.authority.decode()}")
        timer = loop.call_later(timeout, _too_late, waiter) if timeout is not None else None
        try:
            return await waiter
        finally:
            if timer is not None:
                timer.cancel()

    async def close(self, *, drain: bool = True) -> None:
        """Open no more. Exchanges under way may end, unless `drain` is False."""
        self._closed = True
        self.ready = None
        await self._crew.close()
        for connection in list(self._open):
            connection.drain() if drain else connection.cut()

    async def _dial(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                made = await self._connect(loop)
        except TimeoutError:
            self._failed(
                loop,
                TimeoutError(
                    f"no connection to {self.origin.authority.decode()} within {CONNECT_SECONDS:g} s"
                ),
            )
        except OSError as error:
            self._failed(loop, _plain(error))
        except BaseException:
            self._failed(loop, ConnectionError("the client is closed"))
            raise
        else:
            self._failures, self._failure = 0, None
            self.ready = made
            self._settle(lambda waiter: waiter.set_result(made))

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> ClientConnection:
        """A connection whose server has sent its settings."""
        origin, greeted = self.origin, loop.create_future()
        if self._wheel is None:
            self._wheel = Wheel(loop)
        wheel = self._wheel

        def over(error: str) -> None:
            self._gone(made)
            if not greeted.done():
                greeted.set_exception(ConnectionError(f"error reading server preface: {error}"))

        made = ClientConnection(self._limits, wheel, lambda: _settle(greeted), over)
        name = (origin.server_name or origin.host) if origin.tls is not None else None
        if origin.path is not None:
            _, made = await loop.create_unix_connection(
                lambda: made, origin.path, ssl=origin.tls, server_hostname=name
            )
        else:
            await loop.create_connection(
                lambda: made, origin.host, origin.port, ssl=origin.tls, server_hostname=name
            )
        self._open.add(made)
        try:
            await greeted
        except BaseException:
            made.cut()
            raise
        return made

    def _gone(self, connection: ClientConnection) -> None:
        self._open.discard(connection)
        if self.ready is connection:
            self.ready = None
        if self._closed and self._own_wheel and not self._open and self._wheel is not None:
            self._wheel.close()

    def _failed(self, loop: asyncio.AbstractEventLoop, error: OSError) -> None:
        self._failures += 1
        if self._backoff is not None:
            self._failure = error
            self._not_before = loop.time() + self._backoff(self._failures)
        self._settle(lambda waiter: waiter.set_exception(error))

    def _settle(self, tell: Callable[["asyncio.Future[ClientConnection]"], None]) -> None:
        self._dialing = False
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                tell(waiter)


def _plain(error: OSError) -> OSError:
    """A failed dial as a ConnectionError, refused where every address refused."""
    if isinstance(error, (ConnectionError, TimeoutError)):
        return error
    kind = ConnectionRefusedError if "refused" in str(error) else ConnectionError
    return kind(str(error))


def _no_room(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError("the server took no more streams in time"))


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _too_late(waiter: "asyncio.Future[ClientConnection]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError("no connection in time"))


class AskedRequest(HttpExchange):
    """A request of ours; `answer` is settled with the head of what comes back."""

    __slots__ = ("answer", "touched", "_head", "_method")

    def __init__(
        self, connection: ClientConnection, answer: "asyncio.Future[Response]", method: bytes
    ) -> None:
        super().__init__(connection, connection.next_sid())
        self._reset_bodies(None)
        self.answer = answer
        self.touched = False
        """A byte of the answer has come, or the server may have begun to act."""
        self._head: ResponseHead | None = None
        self._method = method

    def answered(self, head: ResponseHead, end: bool) -> None:
        self.touched = True
        if head.status < 200:
            return
        self._head = head
        if self._method == b"HEAD":
            self.expected = -1
        body = self._begin_body(head.length, end)
        if body is not None:
            self._give(body)

    def trailed(self, trailers: Trailers) -> None:
        self.data(b"", True)
        self._stop_sending()

    def data(self, chunk: bytes, end: bool) -> None:
        super().data(chunk, end)
        if end:
            self._stop_sending()

    def cut(self, code: int, text: str, *, remote: bool) -> None:
        if remote and code == ErrorCode.NO_ERROR and self.remote_closed:
            text = "the server has answered"
        self._cut_bodies(text)
        self.touched = self.touched or (remote and code not in (UNPROCESSED, ErrorCode.REFUSED_STREAM))
        if not self.answer.done():
            self.answer.set_exception(ConnectionError(text))

    def _body_complete(self, body: bytes) -> None:
        self._give(body)

    def _give(self, body: Body) -> None:
        assert self._head is not None
        if self.answer.done():
            discard(body)
        else:
            self.answer.set_result(Response(self._head.status, self._head.headers.copy(), body))

    def _unwanted(self) -> None:
        super()._unwanted()
        if not self.gone:
            self.reset()

    def _stop_sending(self) -> None:
        """The answer is complete: what we have not sent of the request nobody wants."""
        if not self.local_closed and not self.gone:
            self.reset(ErrorCode.NO_ERROR)
            self._cut_bodies("the server has answered")


class Http2Client:
    """An `HttpClient` over one shared connection, in clear text by prior knowledge or negotiated under TLS."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        path: str | None = None,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        wheel: Wheel | None = None,
        header_list_bytes: int = 1024 * 1024,
    ) -> None:
        """`path` is a Unix socket to dial instead of host and port."""
        origin = Origin(host, port, path, tls, server_name)
        self._line = Line(
            origin, Http2Limits(header_list_bytes=header_list_bytes, window=STREAM_WINDOW), wheel
        )
        self._encoder = Encoder()
        self._scheme = b"https" if tls is not None else b"http"
        self._authority = origin.authority

    async def request(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: Body = b"",
        *,
        timeout: float | None = None,
    ) -> Response:
        """Send, and wait for the head of the answer; see `HttpClient`."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        try:
            return await self._try(method, target, headers, body, deadline)
        except _Untouched as failure:
            if isinstance(body, Stream):
                discard(body)
                raise ConnectionError(str(failure)) from failure
        except BaseException:
            discard(body)
            raise
        return await self._try(method, target, headers, body, deadline)

    async def close(self) -> None:
        """Let exchanges under way end; open no more."""
        await self._line.close()

    async def _try(
        self, method: bytes, target: bytes, headers: Headers, body: Body, deadline: float | None
    ) -> Response:
        loop = asyncio.get_running_loop()
        connection = self._line.ready
        fresh = connection is None or not connection.usable
        if fresh:
            connection = await self._line.connection(
                None if deadline is None else max(0.0, deadline - loop.time())
            )
        assert connection is not None
        if connection.full:
            await connection.room(deadline)
        answer: asyncio.Future[Response] = loop.create_future()
        asked = AskedRequest(connection, answer, method)
        self._send(connection, asked, method, target, headers, body)
        timer = loop.call_at(deadline, _expire, answer) if deadline is not None else None
        try:
            return await answer
        except ConnectionError as error:
            if asked.touched or fresh:
                raise
            raise _Untouched(str(error)) from error
        except BaseException:  # cancelled or too late: the server need not go on
            asked.reset()
            asked.cut(ErrorCode.CANCEL, "given up", remote=False)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _send(
        self,
        connection: ClientConnection,
        asked: AskedRequest,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: Body,
    ) -> None:
        fields = sendable(headers)
        named = dict(fields)
        authority = named.pop(b"host", self._authority)
        pseudo = [
            (b":method", method),
            (b":scheme", self._scheme),
            (b":authority", authority),
            (b":path", target),
        ]
        fields = pseudo + [field for field in fields if field[0] != b"host"]
        length = body.length if isinstance(body, Stream) else len(body)
        if (
            length is not None
            and b"content-length" not in named
            and (length or method in (b"POST", b"PUT", b"PATCH"))
        ):
            fields.append((b"content-length", b"%d" % length))
        connection.streams[asked.sid] = asked
        empty = not isinstance(body, Stream) and not body
        asked.send_headers(self._encoder.encode(fields), end=empty)
        if isinstance(body, Stream):
            asked._send_body(body, length)
        elif body:
            asked.send_data(body, end=True)


class _Untouched(ConnectionError):
    """The connection was gone before the server saw the request: it may be sent again."""


def _expire(answer: "asyncio.Future[Response]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError("no answer in time"))
