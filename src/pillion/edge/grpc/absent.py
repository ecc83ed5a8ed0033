"""Methods of building blocks this version does not have: they answer as Dapr's do while nothing is configured."""

from typing import Final

from pillion.edge.grpc.api import Streaming, Unary
from pillion.model.call import Call
from pillion.model.errors import (
    ACTOR_NO_PLACEMENT,
    CONFIGURATION_NOT_CONFIGURED,
    CONVERSATION_NOT_FOUND,
    CRYPTO_NOT_CONFIGURED,
    LOCK_EXPIRY,
    LOCK_NOT_CONFIGURED,
    SCHEDULER_DISABLED,
    UNIMPLEMENTED,
    ApiError,
    Fault,
)
from pillion.net.rpc import ServerCall
from pillion.wire.proto import runtime

_ACTORS: Final = (
    "RegisterActorTimer", "UnregisterActorTimer", "RegisterActorReminder", "UnregisterActorReminder",
    "UnregisterActorRemindersByType", "ListActorReminders", "GetActorState", "GetActorReminder",
    "ExecuteActorStateTransaction", "InvokeActor",
)  # fmt: skip
_WORKFLOW_VERBS: Final = ("Start", "Get", "Purge", "Terminate", "Pause", "Resume", "RaiseEvent")
_SUBTLE: Final = ("GetKey", "Encrypt", "Decrypt", "WrapKey", "UnwrapKey", "Sign", "Verify")
_JOBS: Final = (
    ("ScheduleJob", "schedule job"), ("GetJob", "get job"), ("DeleteJob", "delete job"),
    ("DeleteJobsByPrefix", "delete jobs"), ("ListJobs", "list jobs"),
)  # fmt: skip


def unary(app_id: str, namespace: str) -> dict[str, Unary]:
    """Every unary method of the absent blocks."""
    methods = {name: _always(ACTOR_NO_PLACEMENT) for name in _ACTORS}
    for version in ("Alpha1", "Beta1"):
        methods |= {f"{verb}Workflow{version}": _always(ACTOR_NO_PLACEMENT) for verb in _WORKFLOW_VERBS}
    methods |= {f"Subtle{verb}Alpha1": _always(UNIMPLEMENTED) for verb in _SUBTLE}
    for suffix in ("", "Alpha1"):
        methods[f"GetConfiguration{suffix}"] = _always(CONFIGURATION_NOT_CONFIGURED)
        methods[f"UnsubscribeConfiguration{suffix}"] = _always(CONFIGURATION_NOT_CONFIGURED)
        methods |= {f"{name}{suffix}": _disabled(app_id, namespace, what) for name, what in _JOBS}
    methods |= {"TryLockAlpha1": _no_lock, "UnlockAlpha1": _always(LOCK_NOT_CONFIGURED)}
    methods["ConverseAlpha1"] = methods["ConverseAlpha2"] = _no_conversation
    return methods


def streams() -> dict[str, Streaming]:
    """Every streaming method of the absent blocks."""
    methods = {
        f"SubscribeConfiguration{suffix}": _refused(CONFIGURATION_NOT_CONFIGURED) for suffix in ("", "Alpha1")
    }
    methods |= {name: _refused(CRYPTO_NOT_CONFIGURED) for name in ("EncryptAlpha1", "DecryptAlpha1")}
    return methods | {"SubscribeActorEventsAlpha1": _refused(ACTOR_NO_PLACEMENT)}


def _always(fault: Fault) -> Unary:
    async def refuse(call: Call, rpc: ServerCall, message: bytes) -> bytes:
        raise ApiError(fault)

    return refuse


def _refused(fault: Fault) -> Streaming:
    async def refuse(call: Call, rpc: ServerCall) -> None:
        raise ApiError(fault)

    return refuse


def _disabled(app_id: str, namespace: str, what: str) -> Unary:
    async def refuse(call: Call, rpc: ServerCall, message: bytes) -> bytes:
        raise ApiError(SCHEDULER_DISABLED, info={"appID": app_id, "namespace": namespace}, what=what)

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
