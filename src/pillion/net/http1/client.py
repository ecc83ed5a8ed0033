"""One connection to a server, seen from the client: a request out, its answer in."""

import asyncio
from collections.abc import Callable

import httptools

from pillion.net.http import SMALL_BODY, Headers, Response
from pillion.net.http1.familiar import BREAK, Answered, Familiar
from pillion.net.http1.flow import Link, Outflow
from pillion.net.http1.heads import Blocks
from pillion.net.wheel import Wheel
from pillion.toolbox.stream import Body, Stream, StreamClosed

HEAD_LIMIT = 1024 * 1024
"""Bytes of an answer's head that are kept before its server is taken for broken."""

_BODIED = frozenset((b"POST", b"PUT", b"PATCH"))
"""Methods whose empty body is announced."""
_NOTED = frozenset((b"content-length", b"transfer-encoding"))


class ClientConnection(Link):
    """Carries one exchange at a time; `free` is told when it can carry the next, `lost` when it is no more.

    The future that `send` gives is settled once: with the answer, or with what went wrong.
    """

    __slots__ = (
        "_loop", "_parser", "_blocks", "_familiar", "_host", "_free", "_lost", "_waiter", "_answer", "_headers", "_noted", "_reason",
        "_head_only", "_interim", "_keep", "_sent", "_complete", "_carried", "_watch", "_failure", "touched",
    )  # fmt: skip

    def __init__(
        self,
        host: bytes,
        blocks: Blocks,
        familiar: Familiar[Answered],
        wheel: Wheel,
        free: Callable[["ClientConnection"], None],
        lost: Callable[["ClientConnection"], None],
    ) -> None:
        super().__init__()
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._blocks = blocks
        self._familiar = familiar
        self._host = host
        self._free = free
        self._lost = lost
        self._waiter: asyncio.Future[Response] | None = None
        self._answer: Response | None = None
        self._headers: Headers = []
        self._noted: dict[bytes, bytes] = {}
        self._reason = b""
        self._head_only = False
        self._interim = False
        self._keep = False
        self._sent = True
        self._complete = False
        self._carried = 0
        self._failure: BaseException | None = None
        self._watch = wheel.watch(self.close)
        self.touched = False
        """A byte of the answer has come."""

    # The pool's side.

    @property
    def usable(self) -> bool:
        """Still open, as far as we know."""
        return self._transport is not None and not self._transport.is_closing()

    def rest(self, seconds: float) -> None:
        """Stay open without work, so long."""
        self._watch.set(seconds)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def cut(self) -> None:
        """Give the exchange up: nobody waits for its answer any more."""
        waiter, self._waiter = self._waiter, None
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()  # somebody has looked
        if self._transport is not None:
            self._transport.abort()

    def send(self, method: bytes, target: bytes, headers: Headers, body: Body) -> asyncio.Future[Response]:
        """Write a request; its head and a complete body leave in one piece."""
        fields = self._blocks.of(headers)
        told = fields.told
        host = told.get(b"host", self._host) if told else self._host
        start = b"%b %b HTTP/1.1\r\nHost: %b" % (method, target, host)
        if len(start.split()) != 5:
            raise ValueError(f"not fit for a request line: {method!r} {target!r} {host!r}")
        waiter = self._begin(method == b"HEAD")
        if not isinstance(body, bytes):
            self._send_body(start + fields.text, body, told)
        elif body or method in _BODIED:
            self._write(b"%b%b\r\nContent-Length: %d\r\n\r\n%b" % (start, fields.text, len(body), body))
        else:
            self._write(b"%b%b\r\n\r\n" % (start, fields.text))
        return waiter

    def _begin(self, head_only: bool) -> asyncio.Future[Response]:
        self._watch.off()
        waiter = self._waiter = self._loop.create_future()
        self._answer = None
        self._stream = None
        self._head_only = head_only
        self._sent = True
        self._complete = self.touched = False
        self._carried = 0
        if self._transport is None or self._transport.is_closing():
            self._settle(ConnectionResetError("the connection is closed"))
        return waiter

    def _send_body(self, head: bytes, body: Stream, told: dict[bytes, bytes]) -> None:
        length = body.length
        announced = told.get(b"content-length", b"")
        if length is None and announced.isdigit():
            length = int(announced)
        framing = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
        self._write(b"%b\r\n%b\r\n\r\n" % (head, framing))
        self._sent = False
        self._send_stream(Outflow(body, self._write, self._body_sent, chunked=length is None, length=length))

    def _body_sent(self, error: BaseException | None) -> None:
        self._outflow = None
        if error is None:
            self._sent = True
            return
        self._settle(error)
        if self._transport is not None:
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    # What the transport tells.

    def data_received(self, data: bytes) -> None:
        self.touched = True
        fresh = self._answer is None and not (self._carried or self._complete or self._head_only)
        if fresh and self._took_familiar(data):
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                self._fail(ConnectionError(f"malformed HTTP response: {error}"))
                return
            self._keep = False
        if self._failure is not None:
            self._fail(self._failure)
        elif self._complete:
            if fresh:
                self._remember(data)
            self._recycle()
        else:
            self._unfinished(len(data))

    def _took_familiar(self, data: bytes) -> bool:
        """Take an answer whose head is known, if it is here whole; the parser does not see it."""
        end = data.find(BREAK)
        known = self._familiar.of(data[:end])
        behind = end + 4
        if known is None or len(data) - behind != known.length or end < 0:
            return False
        waiter, self._waiter = self._waiter, None
        if waiter is None:
            return False
        if not waiter.done():
            body = data[behind:]
            waiter.set_result(Response(known.status, known.headers.copy(), body, known.reason, known.head))
        self._keep = True
        self._recycle()
        return True

    def _remember(self, data: bytes) -> None:
        """Know the head of the answer that these bytes were, if it was a plain one."""
        answer, noted = self._answer, self._noted
        if answer is None or not self._keep or not isinstance(answer.body, bytes):
            return
        length = len(answer.body)
        bodiless = answer.status in (204, 304)
        announced = int(noted.get(b"content-length", 0 if bodiless else -1))
        end = data.find(BREAK)
        if (
            0 < end
            and announced == length == len(data) - end - len(BREAK)
            and b"transfer-encoding" not in noted
        ):
            head = data[:end]
            known = Answered(head, answer.status, answer.reason, answer.headers.copy(), length)
            self._familiar.keep(head, known)

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._watch.close()
        self._lost(self)
        if self._outflow is not None:
            self._outflow.cancel()
            self._outflow = None
        if self._waiter is None and self._stream is None:
            return
        if error is None and self._ends_with_connection():
            self._deliver_rest()
            return
        reset = (
            error
            if isinstance(error, ConnectionError)
            else ConnectionResetError("connection closed by the server")
        )
        self._settle(reset)
        if self._stream is not None:
            self._stream.abort(StreamClosed("the server cut the body off"))

    def _ends_with_connection(self) -> bool:
        noted = self._noted
        coding = noted.get(b"transfer-encoding", b"").lower()
        return self._answer is not None and b"content-length" not in noted and not coding.endswith(b"chunked")

    def _deliver_rest(self) -> None:
        stream = self._open_stream(None)
        self._deliver(stream)
        stream.finish()

    # What the parser tells. It must never be met by an exception.

    def on_message_begin(self) -> None:
        if self._waiter is None or self._complete:
            self._keep = False
            self._failure = self._failure or ConnectionError("the server sent what nobody asked for")
        self._headers = []
        self._noted = {}
        self._reason = b""

    def on_status(self, reason: bytes) -> None:
        self._reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._headers.append((name, value.rstrip()))
        if name in _NOTED:
            self._noted[name] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []  # whatever comes now is a trailer, and ignored
        if status < 200:
            self._interim = True
            if status == 101:
                self._failure = ConnectionError("the server switched protocols unasked")
            return
        self._keep = self._parser.should_keep_alive()
        self._answer = Response(status, headers, b"", self._reason)
        self._size = self._barren = 0
        if self._head_only:
            self._complete = True
            self._deliver(b"")
        elif (
            b"content-length" in self._noted
            and int(self._noted[b"content-length"]) > SMALL_BODY
            and status != 304
        ):
            self._deliver(self._open_stream(int(self._noted[b"content-length"])))

    def on_message_complete(self) -> None:
        if self._interim:
            self._interim = False
            self._carried = 0
            return
        if self._complete:
            return
        self._complete = True
        if self._stream is None and self._size <= SMALL_BODY:
            self._deliver(self._collected())
            return
        if self._stream is None:
            self._deliver(self._open_stream(self._size))
        self._open_stream(None).finish()
        self._stream = None

    def _unfinished(self, size: int) -> None:
        """The bytes ended in the middle of an answer, or between two."""
        if self._answer is None:
            self._carried += size
            if self._carried > HEAD_LIMIT:
                self._fail(ConnectionError("malformed HTTP response: the head does not end"))
        elif self._is_barren(size):
            self._fail(ConnectionError("malformed HTTP response: the body does not go on"))
        elif self._stream is None and b"content-length" not in self._noted:
            self._deliver(self._open_stream(None))

    def _deliver(self, body: Body) -> None:
        answer = self._answer
        if answer is None or self._waiter is None:
            return
        answer.body = body
        if not self._waiter.done():
            self._waiter.set_result(answer)
        self._waiter = None

    def _settle(self, error: BaseException) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _fail(self, error: BaseException) -> None:
        self._settle(error)
        if self._stream is not None:
            self._stream.abort(error)
        if self._transport is not None:
            self._transport.abort()

    def _recycle(self) -> None:
        """The answer is complete: be free for the next request, or close."""
        if self._head_only:
            self._parser = httptools.HttpResponseParser(self)
            self._keep = self._keep and not self._size
        self._answer = None
        if self._parts:
            self._parts.clear()
        if not self._reading:
            self._resume_reading()
        if self._keep and self._sent and self.usable:
            self._free(self)
            return
        if self._outflow is not None:
            self._outflow.cancel()
            self._outflow = None
        self.close()

    def _reader_gone(self) -> None:
        self._stream = None
        if self._transport is not None:
            self._transport.abort()
