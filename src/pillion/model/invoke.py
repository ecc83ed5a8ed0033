"""Service invocation: what one app asks of another, and what comes back."""

from dataclasses import field

from pillion.toolbox.lazily import dataclass
from pillion.toolbox.stream import Body

Pairs = list[tuple[bytes, bytes]]
"""Header fields or metadata in wire order, names in lower case."""


@dataclass(slots=True)
class Invocation:
    """A call of a method of an app.

    `method` is decoded and cleaned, without a leading slash; `query` is the raw query string. A call that came in by gRPC
    (`from_grpc`) carries its caller's metadata as `headers` (`-bin` values as bytes) and the type of its data in `type_url`.
    """

    app_id: str
    method: str
    verb: str
    headers: Pairs
    body: Body = b""
    namespace: str = ""
    query: str = ""
    content_type: str = ""
    type_url: str = ""
    from_grpc: bool = False
    deadline: float | None = None
    trace: str = ""


@dataclass(slots=True)
class Outcome:
    """What an app (or the way to it) answered.

    `status` from 100 up is an HTTP status, below it a gRPC code. `message` and `details` (serialized Any) belong to a gRPC status.
    """

    status: int
    headers: Pairs = field(default_factory=list)
    body: Body = b""
    content_type: str = ""
    type_url: str = ""
    trailers: Pairs = field(default_factory=list)
    message: str = ""
    details: tuple[bytes, ...] = ()

    @property
    def is_http(self) -> bool:
        return self.status >= 100
