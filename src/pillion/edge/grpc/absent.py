"""Methods of building blocks this version does not have: they answer as Dapr's do while nothing is configured."""

import asyncio
from typing import Any, Final

import orjson

from pillion.edge.grpc.api import Streaming, Unary
from pillion.model.call import Call
from pillion.model.errors import (
    ACTOR_NO_GRPC_APP,
    ACTOR_NO_PLACEMENT,
    BAD_REQUEST,
    BINARY_FILE_UNNAMED,
    BINARY_STORE_NOT_FOUND,
    BINARY_STORE_SET,
    CONFIGURATION_NOT_CONFIGURED,
    CONVERSATION_NOT_FOUND,
    CRYPTO_NOT_CONFIGURED,
    DELETE_JOB,
    GET_JOB,
    LIST_JOBS,
    LOCK_EXPIRY,
    LOCK_NOT_CONFIGURED,
    SCHEDULE_JOB,
    SEARCH_NOT_CONFIGURED,
    UNIMPLEMENTED,
    VECTOR_NOT_CONFIGURED,
    ApiError,
    Fault,
)
from pillion.net.rpc import Code, RpcError, ServerCall
from pillion.toolbox.tasks import tasked
from pillion.wire.proto import runtime

_ACTORS: Final = (
    "RegisterActorTimer", "UnregisterActorTimer", "RegisterActorReminder", "UnregisterActorReminder",
    "UnregisterActorRemindersByType", "ListActorReminders", "ListActorTimers", "GetActorTimer", "GetActorState",
    "GetActorReminder", "ExecuteActorStateTransaction", "InvokeActor",
)  # fmt: skip
_WORKFLOW_VERBS: Final = ("Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent")
_SUBTLE: Final = ("GetKey", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "Sign", "Verify")
_JOBS: Final = (
    ("ScheduleJob", SCHEDULE_JOB), ("GetJob", GET_JOB), ("DeleteJob", DELETE_JOB),
    ("DeleteJobsByPrefix", DELETE_JOB), ("ListJobs", LIST_JOBS),
)  # fmt: skip
_SEARCH: Final = (
    "CreateIndex", "GetIndex", "ListIndexes", "DeleteIndex", "IndexDocuments", "GetDocuments", "DeleteDocuments",
    "Search",
)  # fmt: skip
_VECTORS: Final = (
    "CreateCollection", "GetCollection", "ListCollections", "DeleteCollection", "UpsertVectors", "DeleteVectors",
    "GetVectors", "QueryVectors", "BatchQueryVectors",
)  # fmt: skip
_FIRST_MESSAGE: Final = 5.0
"""Seconds in which an upload must say what it is."""
_RESERVED: Final = frozenset("/\\*?[]#")
"""What no name of a binary file may hold."""


def unary(app_id: str, namespace: str) -> dict[str, Unary]:
    """Every unary method of the absent blocks."""
    methods = {name: _always(ACTOR_NO_PLACEMENT) for name in _ACTORS}
    for version in ("Alpha1", "Beta1"):
        methods |= {f"{verb}Workflow{version}": _always(ACTOR_NO_PLACEMENT) for verb in _WORKFLOW_VERBS}
    methods |= {f"Subtle{verb}Alpha1": _always(UNIMPLEMENTED) for verb in _SUBTLE}
    for suffix in ("", "Alpha1"):
        methods[f"GetConfiguration{suffix}"] = _always(CONFIGURATION_NOT_CONFIGURED)
        methods[f"UnsubscribeConfiguration{suffix}"] = _always(CONFIGURATION_NOT_CONFIGURED)
        methods |= {f"{name}{suffix}": _disabled(app_id, namespace, fault) for name, fault in _JOBS}
    methods |= {"TryLockAlpha1": _no_lock, "UnlockAlpha1": _always(LOCK_NOT_CONFIGURED)}
    methods["ConverseAlpha1"] = methods["ConverseAlpha2"] = _no_conversation
    methods |= {f"{name}Alpha1": _no_store(SEARCH_NOT_CONFIGURED, name) for name in _SEARCH}
    methods |= {f"{name}Alpha1": _no_store(VECTOR_NOT_CONFIGURED, name) for name in _VECTORS}
    methods["DeleteBinaryFileAlpha1"] = _no_file
    return methods


def streams(*, grpc_app: bool) -> dict[str, Streaming]:
    """Every streaming method of the absent blocks. Only beside a gRPC app does a stream of actor events get as far as placement."""
    methods = {
        f"SubscribeConfiguration{suffix}": _refused(CONFIGURATION_NOT_CONFIGURED) for suffix in ("", "Alpha1")
    }
    methods |= {name: _refused(CRYPTO_NOT_CONFIGURED) for name in ("EncryptAlpha1", "DecryptAlpha1")}
    methods |= {"SetBinaryFileAlpha1": _no_upload, "GetBinaryFileAlpha1": _no_download}
    actors = ACTOR_NO_PLACEMENT if grpc_app else ACTOR_NO_GRPC_APP
    return methods | {"SubscribeActorEventsAlpha1": _refused(actors)}


def _always(fault: Fault) -> Unary:
    async def refuse(call: Call, rpc: ServerCall, message: bytes) -> bytes:
        raise ApiError(fault)

    return refuse


def _refused(fault: Fault) -> Streaming:
    async def refuse(call: Call, rpc: ServerCall) -> None:
        raise ApiError(fault)

    return refuse


def _disabled(app_id: str, namespace: str, fault: Fault) -> Unary:
    async def refuse(call: Call, rpc: ServerCall, message: bytes) -> bytes:
        info = {"appID": app_id, "namespace": namespace}
        raise ApiError(fault, info=info, why="scheduler clients are disabled")

    return refuse


async def _no_lock(call: Call, rpc: ServerCall, message: bytes) -> bytes:
    # Dapr looks at the expiry before it looks for a store.
    request = runtime.TryLockRequest.FromString(message)
    if request.expiry_in_seconds <= 0:
        raise ApiError(LOCK_EXPIRY, store=request.store_name)
    raise ApiError(LOCK_NOT_CONFIGURED)


async def _no_conversation(call: Call, rpc: ServerCall, message: bytes) -> bytes:
    # Both versions carry the component's name in field 1.
    raise ApiError(CONVERSATION_NOT_FOUND, name=runtime.ConversationRequest.FromString(message).name)


def _no_store(fault: Fault, name: str) -> Unary:
    async def refuse(call: Call, rpc: ServerCall, message: bytes) -> bytes:
        request = getattr(runtime, f"{name}RequestAlpha1").FromString(message)
        raise ApiError(fault, store=request.store_name)

    return refuse


# Files in a binary store: what is wrong with the request is told before the store is looked for.


async def _no_file(call: Call, rpc: ServerCall, message: bytes) -> bytes:
    raise _missing(runtime.DeleteBinaryFileRequestAlpha1.FromString(message))


async def _no_download(call: Call, rpc: ServerCall) -> None:
    message = await rpc.receive()
    if message is None:
        raise RpcError(Code.UNKNOWN, "EOF")
    raise _missing(runtime.GetBinaryFileRequestAlpha1.FromString(message))


async def _no_upload(call: Call, rpc: ServerCall) -> None:
    message = await tasked(_first(rpc))
    if message is None:
        why = "error receiving the first message: EOF"
        raise ApiError(BINARY_STORE_SET, file="", name="", why=why)
    asked = runtime.SetBinaryFileRequestAlpha1.FromString(message)
    if not asked.HasField("initial_request"):
        raise ApiError(BAD_REQUEST, why="first message does not contain the required initial request")
    if not asked.initial_request.component_name:
        raise ApiError(BAD_REQUEST, why="missing property 'componentName' in the initial request")
    raise _missing(asked.initial_request)


async def _first(rpc: ServerCall) -> bytes | None:
    try:
        async with asyncio.timeout(_FIRST_MESSAGE):
            return await rpc.receive()
    except TimeoutError:
        why = "error waiting for first message: context deadline exceeded"
        raise ApiError(BAD_REQUEST, why=why) from None


def _missing(asked: Any) -> ApiError:
    name = asked.file_name
    if not name:
        return ApiError(BINARY_FILE_UNNAMED)
    if name in (".", "..") or not _RESERVED.isdisjoint(name):
        shown = orjson.dumps(name).decode()
        return ApiError(BAD_REQUEST, why=f"invalid file name {shown}: contains reserved characters")
    return ApiError(BINARY_STORE_NOT_FOUND, name=asked.component_name)
