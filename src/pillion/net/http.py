"""The words every HTTP transport shares: headers, a request, its answer, and who handles it."""

from collections.abc import Callable
from typing import Protocol

from pillion.toolbox.lazily import dataclass
from pillion.toolbox.stream import Body

Headers = list[tuple[bytes, bytes]]
"""Fields in wire order, names in lower case. Repeated names stay repeated."""

SMALL_BODY = 64 * 1024
"""A request or response body announced no larger than this arrives as `bytes`; others as a `Stream`."""


class Request:
    """One HTTP request as it came off a connection.

    `target` is the raw request target (path and query, still escaped). `host` is the authority asked for. Two requests with the
    same `head`, where they have one, have the same headers: what is found out about them once need not be found out again.
    """

    __slots__ = ("method", "target", "headers", "body", "peer", "version", "host", "head")

    def __init__(
        self, method: bytes, target: bytes, headers: Headers, body: Body = b"",
        *, peer: str = "", version: bytes = b"1.1", host: bytes = b"", head: bytes = b"",
    ) -> None:  # fmt: skip
        self.method = method
        self.target = target
        self.headers = headers
        self.body = body
        self.peer = peer
        self.version = version
        self.host = host
        self.head = head

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, given in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Responder(Protocol):
    """Where the one answer to a request goes. Answering twice is a programming error; answering a
    connection that is gone is ignored (a `Stream` body is then cancelled)."""

    def respond(self, status: int, headers: Headers, body: Body = b"") -> None:
        """Send the answer. Without a content-length header `bytes` get one; a `Stream` is sent as it comes
        (with its `length` where known, else chunked), never faster than the client reads."""

    def on_disconnect(self, tell: Callable[[], None]) -> None:
        """Have `tell` called once if the client goes away (or resets the stream) before the answer is complete."""

    def close_after(self) -> None:
        """Close the connection once this answer is sent."""


HttpHandler = Callable[[Request, Responder], None]
"""Called on the loop for every request; must not block. It answers at once or starts a task that will."""


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a server accepts. Sizes in bytes, times in seconds."""

    header_bytes: int = 8 * 1024
    header_timeout: float = 10.0
    body_bytes: int | None = None
    """Enforced while reading: past it a `Stream` body is aborted with `BodyTooLarge`; `bytes` bodies are small by definition
    but obey it too (the handler then gets an already aborted `Stream`)."""
    idle_timeout: float = 180.0
    h2c: bool = True
    """Also speak cleartext HTTP/2 on the same port, by prior knowledge and by upgrade."""


class Response:
    """An answer as a client receives it; `head` as in `Request`."""

    __slots__ = ("status", "headers", "body", "reason", "head")

    def __init__(
        self, status: int, headers: Headers, body: Body, reason: bytes = b"", head: bytes = b""
    ) -> None:
        self.head = head
        self.status = status
        self.headers = headers
        self.body = body
        self.reason = reason

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, given in lower case."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class HttpClient(Protocol):
    """A pool of connections to one origin."""

    async def request(
        self,
        method: bytes,
        target: bytes,
        headers: Headers,
        body: Body = b"",
        *,
        timeout: float | None = None,
    ) -> Response:
        """Send and wait for the head of the answer; `timeout` covers just that wait.

        A small complete body comes as `bytes`, others as a `Stream` that must be read or cancelled. A kept connection that
        turns out closed before any byte of the answer is replaced once for GET, HEAD, OPTIONS and TRACE when the body is
        `bytes`. Raises `ConnectionError`
        (`ConnectionRefusedError` when nobody listens), `TimeoutError`.
        """
        ...

    async def close(self) -> None:
        """Close idle connections at once and those in use when they are done."""
