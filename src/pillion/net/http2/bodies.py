"""HTTP bodies over a stream of a connection, either way."""

from pillion.net.http import SMALL_BODY, Headers
from pillion.net.http2.exchange import HIGH_WATER, Exchange
from pillion.net.http2.fields import CONNECTION_FIELDS
from pillion.net.http2.frames import ErrorCode
from pillion.toolbox.stream import Body, BodyTooLarge, Stream, StreamClosed


class HttpExchange(Exchange):
    """A stream that carries HTTP: collects a small announced body, makes a `Stream` of any other, and sends either.

    What the reader of a `Stream` leaves lying is not given back to the peer's window, so a slow reader slows its own
    stream and no other.
    """

    __slots__ = ("_incoming", "_parts", "_collected", "_limit", "_left", "_withheld", "_paused", "_outgoing")

    def _reset_bodies(self, limit: int | None) -> None:
        self._incoming: Stream | None = None
        self._parts: list[bytes] | None = None
        self._collected = 0
        self._limit = limit
        self._left = limit
        self._withheld = 0
        self._paused = False
        self._outgoing: Stream | None = None

    # Coming in.

    def _begin_body(self, length: int, end: bool) -> Body | None:
        """The body if it is known already; None when `_body_complete` will be told a small one."""
        if end:
            return b""
        if self._limit is not None and length > self._limit:
            stream = self._incoming = Stream(length=length)
            self._too_much(stream)
            return stream
        if 0 <= length <= SMALL_BODY:
            self._parts = []
            return None
        self._incoming = Stream(
            length=length if length >= 0 else None,
            on_pause=self._pause,
            on_resume=self._resume,
            on_cancel=self._unwanted,
        )
        return self._incoming

    def _body_complete(self, body: bytes) -> None:
        raise NotImplementedError

    def _unwanted(self) -> None:
        """The reader gave the stream up."""
        self._take_back()

    def data(self, chunk: bytes, end: bool) -> None:
        parts, stream = self._parts, self._incoming
        if parts is not None:
            parts.append(chunk)
            if end:
                self._parts = None
                self._body_complete(b"".join(parts))
            else:
                self.consumed(len(chunk))
        elif stream is not None:
            self._pass_on(stream, chunk)
            if end:
                stream.finish()

    def _pass_on(self, stream: Stream, chunk: bytes) -> None:
        if self._left is not None and not stream.ended:
            self._left -= len(chunk)
            if self._left < 0:
                self._too_much(stream)
        if stream.ended:  # nobody reads on: what the peer may still send is what it may already send
            return
        stream.push(chunk)
        if self._paused:
            self._withheld += len(chunk)
            self.connection.hold(len(chunk))
        else:
            self.consumed(len(chunk))

    def _too_much(self, stream: Stream) -> None:
        stream.abort(BodyTooLarge("stream too large"))

    def _pause(self) -> None:
        self._paused = True

    def _resume(self) -> None:
        self._paused = False
        size = self._withheld
        self._take_back()
        self.consumed(size)

    def _take_back(self) -> None:
        if self._withheld:
            self.connection.hold(-self._withheld)
            self._withheld = 0

    def _cut_bodies(self, text: str) -> None:
        """The stream is gone."""
        self._parts = None
        self._take_back()
        if self._incoming is not None:
            self._incoming.abort(StreamClosed(text))
        if self._outgoing is not None:
            outgoing, self._outgoing = self._outgoing, None
            outgoing.cancel()

    # Going out.

    def _send_body(self, stream: Stream, expected: int | None) -> None:
        """Send a stream as it comes, no faster than the peer takes it; a broken one resets ours."""
        self._outgoing = stream
        left = expected

        def push(chunk: bytes) -> None:
            nonlocal left
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            self.send_data(chunk)
            if self.pending_bytes > HIGH_WATER:
                stream.hold()

        def done(error: BaseException | None) -> None:
            self._outgoing = None
            if error is not None or left:
                self._break_off(error or StreamClosed("the body ended short of its announced length"))
            else:
                self.send_data(b"", end=True)
                self._body_sent()

        stream.attach(push, done)

    def _break_off(self, error: BaseException) -> None:
        self.connection.refuse(self.sid, ErrorCode.INTERNAL_ERROR)

    def _body_sent(self) -> None:
        """The outgoing body is on its way, whole."""

    def drained(self) -> None:
        if self._outgoing is not None:
            self._outgoing.release()


def sendable(headers: Headers) -> Headers:
    """Fields as they may go out: names in lower case, nothing of an HTTP/1 connection, no line breaks."""
    out: Headers = []
    for name, value in headers:
        name = name.lower()
        if name in CONNECTION_FIELDS or name[:1] == b":" or (name == b"te" and value != b"trailers"):
            continue
        if b"\n" in value or b"\r" in value or b"\0" in value:
            value = value.replace(b"\r", b" ").replace(b"\n", b" ").replace(b"\0", b" ")
        out.append((name, value))
    return out
