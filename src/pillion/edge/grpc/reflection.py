"""Server reflection, v1 and v1alpha: what this port serves, told to tools such as grpcurl.

Unlike Dapr's it needs no `dapr-app-id`: tools that know nothing of Dapr just work.
"""

from collections.abc import Sequence
from typing import Final

from pillion.edge.grpc.api import GrpcApi
from pillion.model.call import Call
from pillion.net.rpc import Code, RpcError, ServerCall
from pillion.wire.proto import reflection
from pillion.wire.proto.catalogue import file_descriptor_protos

_OURS: Final = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
API_SERVICES: Final = ("dapr.proto.runtime.v1.Dapr", *_OURS)
INTERNAL_SERVICES: Final = ("dapr.proto.internals.v1.ServiceInvocation", *_OURS)


class Reflection:
    """Answers what services there are, and the files that describe them with all they import."""

    def __init__(self, services: Sequence[str] = API_SERVICES) -> None:
        self._services = sorted(services)

    def join(self, api: GrpcApi) -> None:
        """Be served on a port."""
        for service in _OURS:
            api.serve(f"/{service}/".encode(), {}, {"ServerReflectionInfo": self.info})

    async def info(self, call: Call, rpc: ServerCall) -> None:
        """One conversation: an answer to each question."""
        while (message := await rpc.receive()) is not None:
            await rpc.send(self.answer(message))

    def answer(self, message: bytes) -> bytes:
        """The answer to one question; one that cannot be answered says so and ends nothing."""
        asked = reflection.ServerReflectionRequest.FromString(message)
        told = reflection.ServerReflectionResponse(valid_host=asked.host, original_request=asked)
        match asked.WhichOneof("message_request"):
            case "list_services":
                for name in self._services:
                    told.list_services_response.service.add(name=name)
            case "file_by_filename":
                _describe(told, filename=asked.file_by_filename)
            case "file_containing_symbol":
                _describe(told, symbol=asked.file_containing_symbol)
            case "file_containing_extension" | "all_extension_numbers_of_type":
                told.error_response.error_code = Code.NOT_FOUND
                told.error_response.error_message = "no extensions are known here"
            case _:
                raise RpcError(Code.INVALID_ARGUMENT, "invalid MessageRequest: <nil>")
        return told.SerializeToString()


def _describe(told: "reflection.ServerReflectionResponse", *, filename: str = "", symbol: str = "") -> None:
    found = file_descriptor_protos(filename=filename, symbol=symbol) if filename or symbol else ()
    if found:
        told.file_descriptor_response.file_descriptor_proto.extend(found)
        return
    told.error_response.error_code = Code.NOT_FOUND
    told.error_response.error_message = f"{filename or symbol or 'nothing'} is not described here"
