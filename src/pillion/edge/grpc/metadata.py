"""Metadata and shutdown over gRPC."""

from collections.abc import Callable

from pillion.edge.grpc.api import Unary
from pillion.model.call import Call
from pillion.net.rpc import ServerCall
from pillion.services.metadata import MetadataService
from pillion.toolbox.truth import is_true
from pillion.wire import metadata as wire
from pillion.wire.proto import runtime


class MetadataRpcs:
    """GetMetadata, SetMetadata and Shutdown."""

    def __init__(self, metadata: MetadataService, shutdown: Callable[[bool], None]) -> None:
        self._metadata = metadata
        self._shutdown = shutdown

    def unary(self) -> dict[str, Unary]:
        """The methods by name."""
        return {"GetMetadata": self.get, "SetMetadata": self.set, "Shutdown": self.shutdown}

    async def get(self, call: Call, rpc: ServerCall, message: bytes) -> bytes:
        return wire.response(self._metadata.get()).SerializeToString()

    async def set(self, call: Call, rpc: ServerCall, message: bytes) -> bytes:
        asked = runtime.SetMetadataRequest.FromString(message)
        self._metadata.put(asked.key, asked.value)
        return b""

    async def shutdown(self, call: Call, rpc: ServerCall, message: bytes) -> bytes:
        asked = (value for key, value in rpc.metadata if key == b"dapr-force-shutdown")
        force = any(is_true(value.decode("latin-1")) for value in asked)
        self._shutdown(force)
        return b""
