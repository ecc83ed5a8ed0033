"""One client's connection, seen from the server: requests in, answers out, in order."""

import asyncio
import logging
from base64 import urlsafe_b64decode
from collections import deque
from collections.abc import Callable
from typing import Protocol

import httptools

from pillion.net.http import SMALL_BODY, Headers, HttpHandler, HttpLimits, Request
from pillion.net.http1.familiar import BREAK, Asked, Familiar, request_line
from pillion.net.http1.flow import Link, Outflow
from pillion.net.http1.heads import Blocks, StatusLines, bare
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Body, Stream, StreamClosed, discard

log = logging.getLogger("pillion.net")

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
LINGER = 1.0
"""Seconds for which a client may go on sending after it was told that we close."""
SWALLOWED = 256 * 1024
"""Bytes of an unwanted request body that are read and dropped to keep its connection."""
WAITING = 32
"""Pipelined requests waiting on a connection before it is no longer read."""

_NOTED = frozenset(
    (
        b"host",
        b"content-length",
        b"transfer-encoding",
        b"connection",
        b"expect",
        b"upgrade",
        b"http2-settings",
    )
)
_PLAIN_NOTED = frozenset((b"host", b"content-length"))
_FRAMING = frozenset((b"content-length", b"transfer-encoding"))
_UPGRADING = frozenset((b"upgrade", b"connection", b"http2-settings"))
_BODYLESS = frozenset((204, 304))
_PLAIN = (b"content-type", b"text/plain; charset=utf-8")
_REFUSALS = {
    400: b"400 Bad Request",
    417: b"417 Expectation Failed",
    431: b"431 Request Header Fields Too Large",
}

Upgrade = tuple[Request, bytes]
"""The request that asked for HTTP/2, to be answered as stream 1, and the decoded payload of its HTTP2-Settings."""


class Http2Factory(Protocol):
    """Makes the protocol that takes a connection over once the client turns out to speak HTTP/2."""

    def __call__(self, *, upgrade: Upgrade | None = None) -> asyncio.Protocol: ...


class Site:
    """What all connections of a server share."""

    def __init__(
        self, handler: HttpHandler, limits: HttpLimits, wheel: Wheel, http2: Http2Factory | None = None
    ) -> None:
        self.handler = handler
        self.limits = limits
        self.wheel = wheel
        self.http2 = http2 if limits.h2c else None
        self.blocks = Blocks()
        self.familiar: Familiar[Asked] = Familiar()
        self.status = StatusLines()
        self.connections: set[ServerConnection] = set()
        self.on_takeover: Callable[[asyncio.Transport, asyncio.Protocol], None] | None = None


class Exchange:
    """The place of one request's answer in the order of its connection."""

    __slots__ = (
        "_connection",
        "_watchers",
        "answered",
        "keep",
        "method",
        "old",
        "request",
        "complete",
        "expects",
        "refusal",
    )

    def __init__(self, connection: "ServerConnection", method: bytes, keep: bool) -> None:
        self._connection = connection
        self._watchers: list[Callable[[], None]] | None = None
        self.method = method
        self.keep = keep
        self.old = False
        """The client speaks HTTP/1.0."""
        self.request: Request | None = None
        self.answered = False
        self.complete = False
        """The request has come whole."""
        self.expects = False
        """The client waits for 100 before it sends the body."""
        self.refusal = 0

    def respond(self, status: int, headers: Headers, body: Body = b"") -> None:
        if self.answered:
            raise RuntimeError("a request was answered twice")
        self.answered = True
        self._connection.answer(self, status, headers, body)

    def on_disconnect(self, tell: Callable[[], None]) -> None:
        if self._watchers is None:
            self._watchers = []
        self._watchers.append(tell)

    def close_after(self) -> None:
        self.keep = False

    @property
    def watched(self) -> bool:
        """Somebody wants to know if the client goes away."""
        return bool(self._watchers)

    def disconnected(self) -> None:
        watchers, self._watchers = self._watchers, None
        for tell in watchers or ():
            tell()


class Stage:
    """How far a connection has come (plain numbers: looked at on every read)."""

    FRESH = 0
    """Nothing known yet: HTTP/1.1, or the preface of HTTP/2."""
    OPEN = 1
    DEAF = 2
    """What comes is dropped: the last answer is on its way, or out while the client still sends."""


class ServerConnection(Link):
    """Parses all that came, serves one request after another, and writes what was answered at once in one go.

    Requests that were sent ahead wait until the one before them is answered: a later read sees an earlier write.
    """

    __slots__ = (
        "_site", "_parser", "_stage", "_early", "_headers", "_noted", "_target", "_in_head", "_carried", "_measured", "_fault",
        "_receiving", "_queue", "_current", "_serving", "_out", "_watch", "_draining", "_peer",
        "_head_timed", "_swallow",
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        super().__init__(site.limits.body_bytes)
        self._site = site
        self._parser = httptools.HttpRequestParser(self)
        self._stage = Stage.FRESH
        self._early = b""
        self._headers: Headers = []
        self._noted: dict[bytes, bytes] = {}
        self._target = b""
        self._in_head = False
        self._carried = 0
        self._measured = False
        self._fault = 0
        self._receiving: Exchange | None = None
        self._queue: deque[Exchange] = deque()
        self._current: Exchange | None = None
        self._serving = False
        self._out: list[bytes] = []
        self._watch = site.wheel.watch(self._timed_out)
        self._draining = False
        self._peer = ""
        self._head_timed = False
        self._swallow = -1

    # What the transport tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._peer = _address(transport.get_extra_info("peername"))
        self._site.connections.add(self)
        self._watch.set(self._site.limits.header_timeout)

    def data_received(self, data: bytes) -> None:
        if self._stage != Stage.OPEN:
            data = self._opening(data)
            if not data:
                return
        if self._in_head or self._carried or self._receiving is not None:
            self._read(data)
        elif not self._took_familiar(data):
            alone = not self._queue
            self._read(data)
            if alone:
                self._remember(data)
        if self._queue and self._current is None:
            self._serve()

    def eof_received(self) -> bool:
        """The client sends no more. We wait with it for its answer, but if somebody watches for it to leave, it has."""
        current = self._current
        if self._stage == Stage.DEAF or self._receiving is not None or self._in_head or current is None:
            return False
        if current.watched or current.answered:
            return False
        self._draining = True
        return True

    def connection_lost(self, error: Exception | None) -> None:
        self._watch.close()
        self._transport = None
        if self._stream is not None and self._receiving is not None:
            self._stream.abort(StreamClosed("the client went away"))
        if self._outflow is not None:
            self._outflow.cancel()
        current, self._current = self._current, None
        self._queue.clear()
        self._out.clear()
        self._site.connections.discard(self)
        if current is not None:
            current.disconnected()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._queue and self._current is None:
            self._serve()

    def drain(self) -> None:
        """Serve what has come, then close; at once if nothing has."""
        self._draining = True
        if self._current is None and not self._queue and self._receiving is None and not self._in_head:
            self.close()

    def close(self) -> None:
        """Close once what was written is out."""
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Close now, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()

    # Reading.

    def _read(self, data: bytes) -> None:
        self._measured = self._carried + len(data) > self._site.limits.header_bytes
        self._feed(data)
        if self._in_head or self._receiving is not None:
            self._unfinished(len(data))

    def _took_familiar(self, data: bytes) -> bool:
        """Take a request whose fields are known, if it is here whole and alone; the parser does not see it."""
        start, end = data.find(b"\r\n"), data.find(BREAK)
        site = self._site
        known = site.familiar.of(data[start:end])
        behind = end + 4
        if known is None or len(data) - behind != known.length:
            return False
        line = request_line(data, 0, start)
        if line is None or not start <= end <= site.limits.header_bytes:
            return False
        if self._current is not None and not (self._queue[-1] if self._queue else self._current).keep:
            return False
        method, target = line.groups()
        exchange = Exchange(self, method, True)
        exchange.complete = True
        body = data[behind:]
        exchange.request = Request(
            method, target, known.headers.copy(), body, peer=self._peer, host=known.host, head=known.head
        )
        self._ready(exchange, body)
        return True

    def _remember(self, data: bytes) -> None:
        """Know the fields of the request that these bytes were, if they were one, whole, and a plain one.

        Nothing may have been in the queue before it: another's fields would be kept for these bytes.
        """
        queue, noted = self._queue, self._noted
        if len(queue) != 1 or not noted.keys() <= _PLAIN_NOTED or self._stage != Stage.OPEN or self._fault:
            return
        exchange = queue[0]
        request, host = exchange.request, noted.get(b"host")
        if request is None or not exchange.complete or not exchange.keep or exchange.old or not host:
            return
        start, end = data.find(b"\r\n"), data.find(BREAK)
        body = request.body
        if (
            isinstance(body, bytes)
            and 0 < start <= end
            and len(data) - end - len(BREAK) == len(body) == int(noted.get(b"content-length", 0))
            and request_line(data, 0, start)
        ):
            head = data[start:end]
            self._site.familiar.keep(head, Asked(head, request.headers.copy(), host, len(body)))

    def _opening(self, data: bytes) -> bytes:
        """What of the first bytes is for HTTP/1.1; nothing while that is not known, or when nobody listens any more."""
        if self._stage == Stage.DEAF:
            return b""
        data = self._early + data
        if self._site.http2 is not None and data[:24] == PREFACE[: len(data)]:
            self._early = data
            if len(data) >= len(PREFACE):
                self._hand_over(self._site.http2(), data)
            return b""
        self._early = b""
        if self._site.http2 is not None and b"\n" in data and b" HTTP/" not in data.partition(b"\n")[0]:
            # Neither version's opening: an answer would be read as frames by whoever tried to speak HTTP/2.
            self.cut()
            return b""
        self._stage = Stage.OPEN
        return data

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._after_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserInvalidURLError:
            self._feed_escaped(data)
        except httptools.HttpParserError:
            self._refuse(self._fault or 400)
        else:
            if self._fault:
                self._refuse(self._fault)

    def _feed_escaped(self, data: bytes) -> None:
        """Take a target with bytes beyond ASCII for one with those escaped, as Go does, if a request starts here."""
        escaped = data if self._queue or self._carried or self._receiving is not None else _escaped(data)
        if escaped is data:
            self._refuse(400)
            return
        self._parser = httptools.HttpRequestParser(self)
        self._feed(escaped)

    def _after_upgrade(self, rest: bytes) -> None:
        """Go over to HTTP/2 if that is what was asked for; any other upgrade is ignored, as a server may."""
        exchange = self._queue[-1] if self._queue else None
        if self._fault:
            self._refuse(self._fault)
            return
        if exchange is not None and (self._noted.keys() & _FRAMING):
            self._read_on(self._queue.pop(), rest)
            return
        upgrade = self._wanted_upgrade(exchange)
        if upgrade is not None and self._site.http2 is not None and exchange is not None:
            self._queue.clear()
            self._write(bare(101) + b"\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
            self._hand_over(self._site.http2(upgrade=upgrade), rest)
            return
        self._parser = httptools.HttpRequestParser(self)  # the old one reads no further
        if rest:
            self._feed(rest)

    def _read_on(self, exchange: Exchange, rest: bytes) -> None:
        """The parser leaves the body of a request for an upgrade unread: have it read the request as one without."""
        request = exchange.request
        if request is None or exchange.method == b"CONNECT":
            self._refuse(400)
            return
        discard(request.body)
        self._stream = None
        kept = [b"%b: %b\r\n" % field for field in request.headers if field[0] not in _UPGRADING]
        close = b"" if exchange.keep else b"connection: close\r\n"
        head = b"%b %b HTTP/1.1\r\n%b%b\r\n" % (exchange.method, self._target, close, b"".join(kept))
        self._parser = httptools.HttpRequestParser(self)
        self._feed(head + rest)

    def _wanted_upgrade(self, exchange: Exchange | None) -> Upgrade | None:
        noted = self._noted
        if exchange is None or exchange.request is None or self._current is not None or len(self._queue) != 1:
            return None
        if self._site.http2 is None or self._draining or noted.get(b"upgrade", b"").lower() != b"h2c":
            return None
        if b"http2-settings" not in noted or isinstance(exchange.request.body, Stream):
            return None
        settings = noted[b"http2-settings"]
        try:
            return exchange.request, urlsafe_b64decode(settings + b"=" * (-len(settings) % 4))
        except ValueError:
            return None

    def _hand_over(self, protocol: asyncio.Protocol, data: bytes) -> None:
        """Let another protocol have the connection, and what came for it."""
        transport = self._transport
        if transport is None:
            return
        self._stage = Stage.DEAF
        self._watch.close()
        self._transport = None
        if self._site.on_takeover:
            self._site.on_takeover(transport, protocol)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        self._site.connections.discard(self)
        if data:
            protocol.data_received(data)

    def _unfinished(self, size: int) -> None:
        """The bytes ended in the middle of a request."""
        if self._in_head:
            self._carried = self._carried + size if self._carried or not self._queue else self._head_size()
            if self._carried > self._site.limits.header_bytes:
                self._refuse(431)
            elif not self._head_timed:
                self._head_timed = True
                self._watch.set(self._site.limits.header_timeout)
            return
        self._body_unfinished(size)

    def _body_unfinished(self, size: int) -> None:
        exchange = self._receiving
        if exchange is None or self._stage != Stage.OPEN:
            return
        if self._is_barren(size):
            self._refuse(400)
        elif self._swallow >= 0:
            self._swallow_more(size)
        elif self._stream is None and b"content-length" not in self._noted:
            self._ready(exchange, self._open_stream(None))
        elif exchange is not self._current:
            self._watch.set(self._site.limits.idle_timeout)
            self._welcome()

    def _swallow_more(self, size: int) -> None:
        self._swallow -= size
        if self._swallow < 0:
            self._shut()

    def _welcome(self) -> None:
        """Tell a client that waits for it to go on, once its turn has come."""
        exchange = self._receiving
        if (
            exchange is not None
            and exchange.expects
            and self._current in (None, exchange)
            and not self._queue
        ):
            exchange.expects = False
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _head_size(self) -> int:
        return len(self._target) + sum(len(name) + len(value) + 4 for name, value in self._headers)

    # What the parser tells. It must never be met by an exception.

    def on_message_begin(self) -> None:
        self._headers = []
        self._noted = {}
        self._target = b""
        self._in_head = True

    def on_url(self, part: bytes) -> None:
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        name, value = name.lower(), value.rstrip()
        self._headers.append((name, value))
        if name in _NOTED and self._in_head:
            if name == b"host" and name in self._noted:
                self._fault = 400
            self._noted[name] = value

    def on_headers_complete(self) -> None:
        self._in_head = False
        parser = self._parser
        exchange = self._receiving = Exchange(self, parser.get_method(), parser.should_keep_alive())
        target, host = self._target, self._noted.get(b"host", b"")
        if target[:1] != b"/":
            target, host = _origin_form(target, host)
        exchange.request = Request(exchange.method, target, self._headers, peer=self._peer, host=host)
        if len(self._noted) != 1 or not host or not exchange.keep:
            self._look_closer(exchange)
        if self._measured and self._head_size() > self._site.limits.header_bytes:
            self._fault = 431
        self._headers = []  # whatever comes now is a trailer, and ignored
        self._size = self._carried = self._barren = 0
        self._head_timed = False
        self._stream = None
        self._swallow = -1
        if b"content-length" in self._noted and not self._fault:
            self._announced(exchange, int(self._noted[b"content-length"]))

    def _announced(self, exchange: Exchange, length: int) -> None:
        if length > SMALL_BODY:
            self._ready(exchange, self._open_stream(length))

    def _look_closer(self, exchange: Exchange) -> None:
        """What not every request has: an old version, a body, an expectation."""
        noted, request = self._noted, exchange.request
        assert request is not None
        version = self._parser.get_http_version()
        if version != "1.1":
            request.version = version.encode()
            exchange.old = True
            if version != "1.0":
                self._fault = 400
        elif b"host" not in noted:
            self._fault = 400
        expected = noted.get(b"expect")
        if expected is not None and not exchange.old:
            exchange.expects = expected.lower() == b"100-continue"
            self._fault = self._fault or (0 if exchange.expects else 417)

    def on_message_complete(self) -> None:
        exchange, self._receiving = self._receiving, None
        if exchange is None or self._fault:
            return
        exchange.complete = True
        if self._stream is None and self._size <= SMALL_BODY:
            self._ready(exchange, self._collected() if self._parts else b"")
            return
        if self._stream is None:
            self._ready(exchange, self._open_stream(self._size))
        self._open_stream(None).finish()
        self._stream = None

    def _too_large(self) -> None:
        exchange = self._receiving
        fresh = self._stream is None
        super()._too_large()
        if exchange is not None:
            exchange.keep = False
            if fresh:
                self._ready(exchange, self._open_stream(None))

    def _reader_gone(self) -> None:
        """The rest of the body is dropped as it comes; the answer decides what becomes of the connection."""

    def _ready(self, exchange: Exchange, body: Body) -> None:
        """The request can be served as soon as it is its turn."""
        if exchange.request is not None:
            exchange.request.body = body
        self._queue.append(exchange)
        if len(self._queue) >= WAITING:
            self._hold_reading()

    def _refuse(self, status: int) -> None:
        """Answer a request that cannot be served, after those before it, and listen no more."""
        if self._stage == Stage.DEAF:
            return
        last = self._queue[-1] if self._queue else self._current
        self._stage = Stage.DEAF
        self._in_head = False
        if last is not None and not last.keep and last.complete:
            return  # junk after a request that wanted the connection closed
        broken, self._receiving = self._receiving, None
        if broken is not None and broken is not self._current and broken not in self._queue:
            last = None
        if self._stream is not None:
            self._stream.abort(StreamClosed("the body was malformed"))
        if last is not None and not last.complete:
            last.keep = False  # its own body broke off: whoever serves it finds out by reading
            return
        refusal = Exchange(self, b"GET", False)
        refusal.refusal = status
        self._queue.append(refusal)

    # Serving.

    def _serve(self) -> None:
        """Serve what has come, one by one, while answers come at once; then write them together."""
        self._serving = True
        queue, handler = self._queue, self._site.handler
        while queue and self._current is None and self._writable:
            exchange = self._current = queue.popleft()
            request = exchange.request
            if request is None:
                exchange.respond(exchange.refusal, [_PLAIN], _REFUSALS[exchange.refusal])
                continue
            try:
                handler(request, exchange)
            except Exception:  # a request's root: it must not take the connection's other requests along
                log.exception("the handler of %s %s failed", exchange.method, request.target)
                self._failed(exchange)
        self._serving = False
        if self._out:
            self._flush()
        self._after_turn()

    def _failed(self, exchange: Exchange) -> None:
        if exchange.answered:
            self.cut()
            return
        exchange.close_after()
        exchange.respond(500, [_PLAIN], b"500 Internal Server Error")

    def _after_turn(self) -> None:
        """What is left to do when nothing more can be served for now."""
        if not self._reading and self._stream is None and len(self._queue) < WAITING:
            self._resume_reading()
        if self._current is not None:
            self._watch.off()
        elif not self._queue and self._stage == Stage.OPEN:
            limits = self._site.limits
            self._watch.set(limits.header_timeout if self._head_timed else limits.idle_timeout)
        if self._receiving is not None and self._stage == Stage.OPEN:
            self._welcome()

    # Answering.

    def answer(self, exchange: Exchange, status: int, headers: Headers, body: Body) -> None:
        """Write an answer, or drop it if the client is gone."""
        if self._current is not exchange or self._transport is None or self._transport.is_closing():
            discard(body)
            return
        if self._draining or (not exchange.complete and not self._may_swallow(exchange)):
            exchange.keep = False
        if not isinstance(body, bytes) or status == 304 or exchange.method == b"HEAD":
            self._answer_otherwise(exchange, status, headers, body)
            return
        head = self._head(exchange, status, headers)
        if status == 204:
            plain = exchange.keep and not exchange.old
            self._write(head + (b"\r\n\r\n" if plain else self._tail(exchange, status, None)))
        elif exchange.keep and not exchange.old:
            self._write(b"%b\r\nContent-Length: %d\r\n\r\n%b" % (head, len(body), body))
        else:
            self._write(b"%b%b%b" % (head, self._tail(exchange, status, len(body)), body))
        self._answered(exchange)

    def _head(self, exchange: Exchange, status: int, headers: Headers) -> bytes:
        """Status, date and fields; what the handler says about the framing is heeded where it is its to say."""
        fields = self._site.blocks.of(headers)
        if told := fields.told:
            if b"close" in told.get(b"connection", b"").lower():
                exchange.keep = False
            if b"date" in told:
                return b"%b%b\r\nDate: %b" % (bare(status), fields.text, told[b"date"])
        return self._site.status.dated(status) + fields.text

    def _answer_otherwise(self, exchange: Exchange, status: int, headers: Headers, body: Body) -> None:
        """An answer that streams, or has no body."""
        if isinstance(body, Stream) and status not in _BODYLESS and exchange.method != b"HEAD":
            self._answer_stream(exchange, status, headers, body)
            return
        length = body.length if isinstance(body, Stream) else len(body)
        discard(body)
        announced = self._site.blocks.of(headers).told.get(b"content-length", b"")
        if announced.isdigit():
            length = int(announced)
        head = self._head(exchange, status, headers)
        self._write(head + self._tail(exchange, status, length))
        self._answered(exchange)

    def _answer_stream(self, exchange: Exchange, status: int, headers: Headers, body: Stream) -> None:
        head = self._head(exchange, status, headers)
        length = body.length
        if length is None:
            announced = self._site.blocks.of(headers).told.get(b"content-length", b"")
            length = int(announced) if announced.isdigit() else None
        chunked = length is None and not exchange.old
        if length is None and exchange.old:
            exchange.keep = False  # the end of the body is the end of the connection
        tail = self._tail(exchange, status, length)
        if chunked:
            tail = b"\r\nTransfer-Encoding: chunked" + tail
        self._write(head + tail)

        def done(error: BaseException | None) -> None:
            self._outflow = None
            if error is not None:
                self.cut()
                return
            # Whoever wrote the body may be a task, and what comes next is to run in none but its own.
            more = bool(self._queue) and exchange.keep and not self._serving
            apart = more and asyncio.current_task() is not None
            self._serving = self._serving or apart
            self._answered(exchange)
            if apart:
                asyncio.get_running_loop().call_soon(self._go_on)

        self._send_stream(Outflow(body, self._write, done, chunked=chunked, length=length))

    def _tail(self, exchange: Exchange, status: int, length: int | None) -> bytes:
        """The end of a head: what the framing has to say."""
        tail = b"\r\n\r\n"
        if length is not None and status != 204 and (status != 304 or length):
            tail = b"\r\nContent-Length: %d\r\n\r\n" % length
        if exchange.keep and not exchange.old:
            return tail
        return (b"\r\nConnection: keep-alive" if exchange.keep else b"\r\nConnection: close") + tail

    def _may_swallow(self, exchange: Exchange) -> bool:
        """Whether the unread rest of a request's body is worth reading to keep the connection."""
        if exchange.expects or (self._limit is not None and self._size > self._limit):
            return False
        announced = self._noted.get(b"content-length")
        return announced is None or int(announced) - self._size <= SWALLOWED

    def _answered(self, exchange: Exchange) -> None:
        """The answer is complete: the next request, or the end."""
        self._current = None
        if not exchange.keep:
            self._shut()
            return
        if not exchange.complete:
            self._swallow = SWALLOWED
            self._open_stream(None).abort(StreamClosed("answered before the body was read"))
            self._resume_reading()
        if not self._serving:
            self._serve()

    def _go_on(self) -> None:
        self._serving = False
        if self._transport is not None:
            self._serve()

    def _shut(self) -> None:
        """Nothing will be answered after this: close, but let a client that is still sending read its answer."""
        sending = self._receiving is not None or self._stage == Stage.DEAF
        self._stage = Stage.DEAF
        self._queue.clear()
        self._flush()
        transport = self._transport
        if transport is None:
            return
        if self._stream is not None:
            self._stream.abort(StreamClosed("answered before the body was read"))
        if not sending or not transport.can_write_eof():
            transport.close()
            return
        self._resume_reading()
        transport.write_eof()
        self._watch.set(LINGER)

    def _write(self, data: bytes) -> None:
        if self._serving:
            self._out.append(data)
        elif self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _flush(self) -> None:
        out = self._out
        if not out:
            return
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
        out.clear()

    def _timed_out(self) -> None:
        self.close()


def _escaped(data: bytes) -> bytes:
    """The same bytes, the first line's beyond ASCII percent-escaped."""
    line, found, rest = data.partition(b"\r\n")
    if line.isascii():
        return data
    return b"".join(b"%%%02X" % byte if byte > 127 else bytes((byte,)) for byte in line) + found + rest


def _origin_form(target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Path and authority of a target in absolute form; other forms (`*`, `host:port`) stay as they are."""
    scheme, found, rest = target.partition(b"://")
    if not found or not scheme.isalpha():
        return target, host
    cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
    path = rest[cut:]
    return (path if path[:1] == b"/" else b"/" + path), rest[:cut]


def _address(peer: object) -> str:
    if isinstance(peer, tuple) and len(peer) >= 2:
        return f"[{peer[0]}]:{peer[1]}" if ":" in str(peer[0]) else f"{peer[0]}:{peer[1]}"
    return str(peer or "")
