"""The service that workflow SDKs speak, while this version runs no workflow: it greets, and has no work to give."""

from typing import Final

from pillion.edge.grpc.api import Streaming, Unary
from pillion.model.call import Call
from pillion.model.errors import ACTOR_NO_PLACEMENT, ApiError
from pillion.net.rpc import Code, RpcError, ServerCall

TASK_HUB: Final = b"/TaskHubSidecarService/"
"""The path prefix of a service without a package."""

_METHODS: Final = (
    "StartInstance", "GetInstance", "WaitForInstanceStart", "WaitForInstanceCompletion", "RaiseEvent", "TerminateInstance",
    "SuspendInstance", "ResumeInstance", "PurgeInstances", "CompleteWorkflowTask", "CompleteOrchestratorTask",
    "CompleteActivityTask", "RerunWorkflowFromEvent", "ListInstanceIDs", "GetInstanceHistory",
)  # fmt: skip
_NO_WORK: Final = (
    "unable to establish work item stream at this time: "
    "api error: code = Unavailable desc = placement service is not configured"
)


def unary() -> dict[str, Unary]:
    """Every unary method by name."""
    return {"Hello": _hello, **dict.fromkeys(_METHODS, _absent)}


def streams() -> dict[str, Streaming]:
    """The stream on which a worker waits for work."""
    return {"GetWorkItems": _no_work}


async def _hello(call: Call, rpc: ServerCall, message: bytes) -> bytes:
    return b""


async def _absent(call: Call, rpc: ServerCall, message: bytes) -> bytes:
    raise ApiError(ACTOR_NO_PLACEMENT)


async def _no_work(call: Call, rpc: ServerCall) -> None:
    raise RpcError(Code.UNAVAILABLE, _NO_WORK)
