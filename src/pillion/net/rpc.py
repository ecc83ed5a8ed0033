"""The words every gRPC transport shares: status codes, calls as a server sees them, calls as a client makes them."""

import asyncio
import enum
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from pillion.toolbox.lazily import dataclass

Metadata = list[tuple[bytes, bytes]]
"""Fields in wire order, names in lower case, repeated names repeated. Values of `-bin` keys are the decoded bytes."""

LANE_BYTES = 16 * 1024 - 64
"""The most bytes of a call that crosses in one frame."""

NO_METADATA: Sequence[tuple[bytes, bytes]] = ()


class Code(enum.IntEnum):
    """The seventeen gRPC status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16

    @property
    def go_name(self) -> str:
        """The name as Go's gRPC prints it, which Dapr's texts and metrics show: `InvalidArgument`, `Canceled`."""
        match self:
            case Code.OK:
                return "OK"
            case Code.CANCELLED:
                return "Canceled"
            case _:
                return "".join(part.capitalize() for part in self.name.split("_"))


def go_name(code: int) -> str:
    """The name of a code that may be none of the seventeen."""
    return Code(code).go_name if 0 <= code <= 16 else f"Code({code})"


class RpcError(Exception):
    """A call that ended with a status other than OK: raised by handlers to answer so, raised to clients on such an answer.

    `details` is the serialized google.rpc.Status of `grpc-status-details-bin`, empty when there is none.
    `initial` and `trailers` are metadata (as received by a client; to be sent, for a server).
    `remote` tells a client whether the status came from the server (True) or from our own transport (connection refused,
    reset, deadline): only the latter is safe to retry.
    """

    def __init__(
        self,
        code: int,
        message: str = "",
        *,
        details: bytes = b"",
        initial: Sequence[tuple[bytes, bytes]] = (),
        trailers: Sequence[tuple[bytes, bytes]] = (),
        remote: bool = False,
    ) -> None:
        super().__init__(f"{Code(code).name if 0 <= code <= 16 else code}: {message}")
        self.code = code
        self.message = message
        self.details = details
        self.initial = initial
        self.trailers = trailers
        self.remote = remote


class Unprocessed(RpcError):
    """The server never looked at the call: it may be made again."""

    def __init__(self, error: RpcError) -> None:
        super().__init__(error.code, error.message)


AGAIN = (0.0, 0.005, 0.02, 0.08)
"""Waits before a call the server never looked at is made again.

A server may count a stream as open for a moment after its answer left, and refuse the next one."""


class ServerCall(Protocol):
    """One call being served. Messages are the serialized bytes, already decompressed and within the size limit."""

    path: bytes
    """`/package.Service/Method`."""
    metadata: Metadata
    peer: str
    deadline: float | None
    """On the loop's clock (`loop.time()`)."""

    @property
    def ended(self) -> bool:
        """The client has half-closed and no message of it waits: `receive` would return None at once."""
        ...

    async def receive(self) -> bytes | None:
        """The client's next message; None after it half-closed. Raises `RpcError` on oversize or bad encoding."""
        ...

    async def send(self, message: bytes, *, end: bool = False) -> None:
        """One message back; waits while the client does not read. Raises `RpcError` CANCELLED when the client is gone.

        With `end` the call is answered OK in the same write (trailers must be set before), and the handler returns next."""
        ...

    def send_initial(self, metadata: Sequence[tuple[bytes, bytes]]) -> None:
        """Send the response headers now (otherwise they go with the first message or the status)."""

    def set_initial(self, metadata: Sequence[tuple[bytes, bytes]]) -> None:
        """What goes into the response headers once they are sent."""

    def set_trailers(self, metadata: Sequence[tuple[bytes, bytes]]) -> None:
        """What goes along with the status."""

    def on_cancel(self, tell: Callable[[], None]) -> None:
        """Have `tell` called if the client cancels, disconnects or the deadline passes; the handler's task is cancelled anyway."""


class LaneCall(ServerCall, Protocol):
    """A call that came whole in one frame, which only two of our own kind send each other."""

    def fits(self, size: int) -> bool:
        """Whether an answer of so many bytes can leave in one frame now."""
        ...


UnaryHandler = Callable[[ServerCall, bytes], Awaitable[bytes]]
"""Request message to response message; raises RpcError for another status than OK. May complete without ever suspending:
it is stepped at once, and only becomes a task if it waits."""

StreamHandler = Callable[[ServerCall], Awaitable[None]]
"""Any streaming kind: receives and sends by itself; returning means OK."""


LaneHandler = Callable[[LaneCall, bytes], Awaitable[bytes | None]]
"""The call's bytes to the answer's where that `fits`; None for a call answered by `send`. Stepped at once like a `UnaryHandler`."""


@dataclass(frozen=True, slots=True)
class GrpcLimits:
    """What a server (or the client half) accepts. Sizes in bytes, times in seconds."""

    message_bytes: int | None = 4 * 1024 * 1024
    header_list_bytes: int = 4 * 1024 * 1024
    keepalive_after: float = 10.0
    keepalive_timeout: float = 5.0
    min_ping_interval: float = 8.0
    idle_timeout: float = 180.0


class GrpcService(Protocol):
    """What a gRPC port serves: a look-up from path to handler. Built once, read on every call."""

    unary: dict[bytes, UnaryHandler]
    streams: dict[bytes, StreamHandler]
    fallback: StreamHandler | None
    """Serves every path not listed (proxying); None answers UNIMPLEMENTED."""

    def admit(self, call: ServerCall) -> None:
        """Look at every call before its handler; raise RpcError to refuse it (token, API allow list). May edit `call.metadata`."""

    def completed(self, path: bytes, code: int, seconds: float, received: int, sent: int) -> None:
        """Told once per call when it is over; `received` and `sent` count message bytes."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A unary call's OK answer."""

    message: bytes
    initial: Metadata
    trailers: Metadata


class ClientCall(Protocol):
    """One call being made."""

    @property
    def ended(self) -> bool:
        """The status has come and no message waits: `receive` would not wait."""
        ...

    async def send(self, message: bytes, *, end: bool = False) -> None:
        """One message; waits for flow control. With `end` the request half is closed after it (one frame less than `half_close`)."""
        ...

    def half_close(self) -> None:
        """No more requests."""

    async def receive(self) -> bytes | None:
        """The next message, None once the server ended with OK. Raises `RpcError` for any other status."""
        ...

    async def initial(self) -> Metadata:
        """The response headers' metadata, once they came (also on a trailers-only answer: empty)."""
        ...

    def trailers(self) -> Metadata:
        """The trailing metadata; empty before the end."""
        ...

    def cancel(self) -> None:
        """Reset the stream; safe when over."""


class LaneAsked(ClientCall, Protocol):
    """A call asked in the lane."""

    reply: "asyncio.Future[bytes | None]"
    """Its answer in one frame; None once an answer begins as one of gRPC's, to be received. Raises RpcError."""


class Channel(Protocol):
    """A connection to one gRPC server: dialled when first needed, re-dialled (with backoff) when lost, shared by all calls."""

    async def unary(
        self,
        path: bytes,
        message: bytes,
        metadata: Sequence[tuple[bytes, bytes]] = (),
        *,
        timeout: float | None = None,
    ) -> Reply:
        """Raises RpcError; transport trouble is UNAVAILABLE with `remote` False."""
        ...

    async def stream(
        self, path: bytes, metadata: Sequence[tuple[bytes, bytes]] = (), *, timeout: float | None = None
    ) -> ClientCall:
        """Open a call of any streaming kind; returns once a connection exists (headers may wait for the first message, for one write)."""
        ...

    @property
    def has_lane(self) -> bool:
        """The server takes small calls in one frame, and has room now."""
        ...

    def lane(self, message: bytes, *, timeout: float | None = None) -> LaneAsked:
        """Ask in one frame; only where the channel `has_lane`. `message` has at most `LANE_BYTES`."""
        ...

    async def close(self) -> None:
        """Let running calls finish until cancelled by their owners; refuse new ones."""
