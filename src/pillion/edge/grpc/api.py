"""The gRPC API's spine: which handler serves a path, and faults as statuses."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field

from pillion.edge.render import rpc_error, unexpected
from pillion.model.call import PLAIN, Call
from pillion.model.errors import ApiError
from pillion.net.rpc import (
    Code,
    LaneCall,
    LaneHandler,
    RpcError,
    ServerCall,
    StreamHandler,
    UnaryHandler,
)
from pillion.toolbox.lazily import dataclass
from pillion.wire.errors import is_garbage

log = logging.getLogger("dapr.runtime.grpc.api")

DAPR = b"/dapr.proto.runtime.v1.Dapr/"
"""The path prefix of the runtime's own service."""

_GARBAGE = "grpc: error unmarshalling request: proto:\u00a0cannot parse invalid wire-format data"

Unary = Callable[[Call, ServerCall, bytes], Awaitable[bytes]]
"""An operation: the call's circumstances, the transport's call (metadata in and out), the request's bytes to the answer's."""

Streaming = Callable[[Call, ServerCall], Awaitable[None]]


@dataclass(slots=True)
class GrpcApi:
    """What a gRPC port serves; `pillion.net.rpc.GrpcService` in shape.

    `admission` looks at each call first (token, allow lists) and raises RpcError to refuse it; `over` is told when a call ended.
    """

    admission: Callable[[ServerCall], None] | None
    over: Callable[[bytes, int, float, int, int], None]
    call: Callable[[ServerCall], Call] | None = None
    unary: dict[bytes, UnaryHandler] = field(default_factory=dict)
    streams: dict[bytes, StreamHandler] = field(default_factory=dict)
    fallback: StreamHandler | None = None
    lane: tuple[bytes, LaneHandler] | None = None
    """Serves calls that come in one frame, and the path they count as."""

    def serve(
        self, prefix: bytes, unary: Mapping[str, Unary], streams: Mapping[str, Streaming] | None = None
    ) -> None:
        """Add a service's methods by name."""
        for name, operation in unary.items():
            self.unary[prefix + name.encode()] = self._unary(operation)
        for name, stream in (streams or {}).items():
            self.streams[prefix + name.encode()] = self._stream(stream)

    def serve_lane(self, path: bytes, operation: LaneHandler) -> None:
        """Have calls in one frame served by this, as if they had come to `path`."""

        async def serve(call: LaneCall, message: bytes) -> bytes | None:
            try:
                return await operation(call, message)
            except Exception as error:
                raise _status(call, error) from error

        self.lane = (path, serve)

    def admit(self, call: ServerCall) -> None:
        """See `GrpcService.admit`."""
        if self.admission is not None:
            self.admission(call)

    @property
    def completed(self) -> Callable[[bytes, int, float, int, int], None]:
        """See `GrpcService.completed`."""
        return self.over

    def _unary(self, operation: Unary) -> UnaryHandler:
        async def serve(call: ServerCall, message: bytes) -> bytes:
            try:
                return await operation(PLAIN if self.call is None else self.call(call), call, message)
            except Exception as error:
                raise _status(call, error) from error

        return serve

    def _stream(self, operation: Streaming) -> StreamHandler:
        async def serve(call: ServerCall) -> None:
            try:
                await operation(PLAIN if self.call is None else self.call(call), call)
            except Exception as error:
                raise _status(call, error) from error

        return serve


def _status(call: ServerCall, error: Exception) -> RpcError:
    if isinstance(error, RpcError):
        return error
    if isinstance(error, ApiError):
        return rpc_error(error)
    if is_garbage(error):
        return RpcError(Code.INTERNAL, _GARBAGE)
    log.error("%s failed unexpectedly: %s", call.path.decode("latin-1"), error, exc_info=error)
    return rpc_error(unexpected(error))
