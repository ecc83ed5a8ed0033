"""Output bindings over gRPC."""

import re
from collections.abc import Mapping

from pillion.edge.grpc.api import Unary
from pillion.model.call import Call
from pillion.net.rpc import Metadata, ServerCall
from pillion.services.bindings import BindingFailed, OutputBindings
from pillion.toolbox.lazily import pattern
from pillion.wire import bindings as wire
from pillion.wire.proto import runtime

_FIT_NAME = pattern(r"[A-Za-z0-9_.-]+(?<!-bin)", re.ASCII)


class BindingRpcs:
    """The one method: invoke an output."""

    def __init__(self, service: OutputBindings) -> None:
        self._service = service

    def unary(self) -> dict[str, Unary]:
        """The method by name."""
        return {"InvokeBinding": self.invoke}

    async def invoke(self, call: Call, rpc: ServerCall, message: bytes) -> bytes:
        """The call's own metadata reaches the binding as well; the binding's comes back in message and headers."""
        request = runtime.InvokeBindingRequest.FromString(message)
        metadata = {**request.metadata, **_copied(rpc.metadata)}
        try:
            reply = await self._service.invoke(call, request.name, request.operation, request.data, metadata)
        except BindingFailed as error:
            rpc.set_initial(_headers(error.metadata))
            raise
        if reply is not None:
            rpc.set_initial(_headers(reply.metadata))
        return wire.answer(reply)


def _copied(metadata: Metadata) -> dict[str, str]:
    """The first value of each key. Names that the transport keeps for itself get a prefix; binary values stay behind."""
    copied: dict[str, str] = {}
    for raw, value in metadata:
        name = raw.decode("latin-1")
        if not name.endswith("-bin"):
            copied.setdefault(_name(name), value.decode("utf-8", "replace"))
    return copied


def _name(name: str) -> str:
    if name.startswith(":"):
        return "dapr-" + name[1:]
    return "dapr-" + name if name.startswith("grpc-") else name


def _headers(metadata: Mapping[str, str]) -> Metadata:
    return [
        (b"metadata." + name.lower().encode(), value.encode("ascii", "replace"))
        for name, value in metadata.items()
        if _FIT_NAME.fullmatch(name) and value.isprintable()
    ]
