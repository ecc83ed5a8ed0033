"""HTTP served over HTTP/2: what a server hands a connection to once the client turns out to speak it."""

import asyncio
import logging
import time
from collections.abc import Callable

from pillion.net.dates import http_date
from pillion.net.http import Headers, HttpHandler, HttpLimits, Request
from pillion.net.http2.bodies import HttpExchange, sendable
from pillion.net.http2.connection import Http2Connection
from pillion.net.http2.exchange import Exchange
from pillion.net.http2.fields import RequestHead, Trailers
from pillion.net.http2.frames import (
    FRAME_BYTES,
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_FRAME_SIZE,
    MAX_HEADER_LIST_SIZE,
    ConnectionFault,
    settings_frame,
)
from pillion.net.http2.hpack import Encoder, encode
from pillion.net.http2.limits import Http2Limits
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Body, Stream, StreamClosed, discard

log = logging.getLogger("pillion.net")

STREAM_WINDOW = 256 * 1024
MAX_STREAMS = 1000
_CONTINUE = encode([(b":status", b"100")])
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_BODYLESS = frozenset((204, 304))


class ServedRequest(HttpExchange):
    """A request and the place of its answer (`Responder`)."""

    __slots__ = ("_request", "_answered", "_watchers", "_closes")

    connection: "Http2ServerProtocol"

    def __init__(self, connection: "Http2ServerProtocol", sid: int) -> None:
        super().__init__(connection, sid)
        self._reset_bodies(connection.http.body_bytes)
        self._request: Request | None = None
        self._answered = False
        self._closes = False
        self._watchers: list[Callable[[], None]] = []

    # What comes in.

    def opened(self, head: RequestHead, end: bool) -> None:
        headers = _one_cookie(head.headers)
        host = head.authority or next((value for name, value in headers if name == b"host"), b"")
        self._request = Request(
            head.method, head.path, headers, peer=self.connection.peer, version=b"2", host=host
        )
        if not end and any(name == b"expect" and value.lower() == b"100-continue" for name, value in headers):
            self.send_headers(_CONTINUE)
        body = self._begin_body(head.length, end)
        if body is not None:
            self._handle(body)

    def serve(self, request: Request) -> None:
        """Answer a request that came before the connection spoke HTTP/2."""
        self._request = request
        self._handle(request.body)

    def trailed(self, trailers: Trailers) -> None:
        self.data(b"", True)

    def cut(self, code: int, text: str, *, remote: bool) -> None:
        self._cut_bodies("the client went away")
        watchers, self._watchers = self._watchers, []
        for tell in watchers:
            tell()

    def refuse(self, status: int, text: bytes) -> None:
        """Answer a request that is never handled."""
        self._reset_bodies(0)
        self._request = Request(b"", b"", [])
        self.respond(status, [_PLAIN], text)

    def _body_complete(self, body: bytes) -> None:
        self._handle(body)

    def _handle(self, body: Body) -> None:
        request = self._request
        assert request is not None
        request.body = body
        try:
            self.connection.handler(request, self)
        except Exception:  # a request's root: it must not take the connection's other requests along
            log.exception("the handler of %s %s failed", request.method, request.target)
            if self._answered:
                self.reset()
            else:
                self.respond(500, [_PLAIN], b"Internal Server Error")

    # The answer.

    def respond(self, status: int, headers: Headers, body: Body = b"") -> None:
        if self._answered:
            raise RuntimeError("a request was answered twice")
        self._answered = True
        if self.gone:
            discard(body)
            return
        assert self._request is not None
        bare = status in _BODYLESS or self._request.method == b"HEAD"
        length = body.length if isinstance(body, Stream) else len(body)
        fields = self._fields(status, headers, length)
        block = self.connection.encoder.encode(fields)
        if bare or (not isinstance(body, Stream) and not body):
            discard(body)
            self.send_headers(block, end=True)
            self._body_sent()
        elif isinstance(body, Stream):
            self.send_headers(block)
            self._send_body(body, length)
        else:
            self.send_headers(block)
            self.send_data(body, end=True)
            self._body_sent()

    def _fields(self, status: int, headers: Headers, length: int | None) -> Headers:
        fields: Headers = [(b":status", b"%d" % status), *sendable(headers)]
        named = {name for name, _ in fields}
        if (
            length is not None
            and b"content-length" not in named
            and status != 204
            and (status != 304 or length)
        ):
            fields.append((b"content-length", b"%d" % length))
        if b"date" not in named:
            fields.append((b"date", self.connection.date()))
        return fields

    def on_disconnect(self, tell: Callable[[], None]) -> None:
        if self.gone:
            tell()
        else:
            self._watchers.append(tell)

    def close_after(self) -> None:
        self._closes = True

    def _body_sent(self) -> None:
        self._watchers = []
        if self._incoming is not None and not self.remote_closed:
            self._incoming.abort(StreamClosed("answered before the body was read"))
        if self._closes:
            self.connection.drain()


class Http2ServerProtocol(Http2Connection):
    """One client that speaks HTTP/2, by prior knowledge, by upgrade or negotiated under TLS.

    `upgrade` is the HTTP/1.1 request that asked for the upgrade, to be answered as stream 1, and the payload of its
    HTTP2-Settings field.
    """

    is_server = True

    def __init__(
        self,
        handler: HttpHandler,
        limits: HttpLimits,
        wheel: Wheel,
        *,
        upgrade: tuple[Request, bytes] | None = None,
    ) -> None:
        super().__init__(
            Http2Limits(
                header_list_bytes=limits.header_bytes,
                max_streams=MAX_STREAMS,
                window=STREAM_WINDOW,
                preface_timeout=limits.header_timeout,
                idle_timeout=limits.idle_timeout,
            ),
            wheel,
        )
        self.handler = handler
        self.http = limits
        self.encoder = Encoder()
        self._upgrade = upgrade
        self._second = 0
        self._date = b""

    def greeting(self) -> bytes:
        return settings_frame(
            {
                MAX_FRAME_SIZE: FRAME_BYTES,
                MAX_CONCURRENT_STREAMS: self.limits.max_streams,
                MAX_HEADER_LIST_SIZE: self.limits.header_list_bytes,
                INITIAL_WINDOW_SIZE: self.limits.window,
            }
        )

    def accept(self, sid: int) -> ServedRequest:
        return ServedRequest(self, sid)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if self._upgrade is not None:
            upgrade, self._upgrade = self._upgrade, None
            self._serve_upgrade(*upgrade)

    def _serve_upgrade(self, request: Request, settings: bytes) -> None:
        try:
            self.settings.read(settings)
        except ConnectionFault as fault:
            self.fail(fault.code, str(fault))
            return
        self.last_sid = 1
        stream = ServedRequest(self, 1)
        stream.headed = stream.remote_closed = True
        self.streams[1] = stream
        stream.serve(request)

    def date(self) -> bytes:
        """The value of the Date field, made once per second."""
        second = int(time.time())
        if second != self._second:
            self._second = second
            self._date = http_date(second)
        return self._date

    def _too_large(self, stream: Exchange) -> None:
        assert isinstance(stream, ServedRequest)
        stream.refuse(431, b"431 Request Header Fields Too Large")


def _one_cookie(headers: Headers) -> Headers:
    """A client may send its cookies in several fields; everybody else knows but one."""
    crumbs = [value for name, value in headers if name == b"cookie"]
    if len(crumbs) < 2:
        return headers.copy()
    return [field for field in headers if field[0] != b"cookie"] + [(b"cookie", b"; ".join(crumbs))]
