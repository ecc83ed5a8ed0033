"""What every gRPC call passes before its handler: the API token and the API lists."""

import hmac
from collections.abc import Callable
from typing import Final

from pillion.edge.grpc.api import DAPR
from pillion.net.rpc import Code, RpcError, ServerCall
from pillion.wire import errors as wire

GROUPS: Final = {
    "state.v1": "GetState GetBulkState SaveState DeleteState DeleteBulkState ExecuteStateTransaction",
    "state.v1alpha1": "QueryStateAlpha1",
    "invoke.v1": "InvokeService",
    "publish.v1": "PublishEvent BulkPublishEvent",
    "publish.v1alpha1": "BulkPublishEventAlpha1",
    "subscribe.v1alpha1": "SubscribeTopicEventsAlpha1",
    "bindings.v1": "InvokeBinding",
    "secrets.v1": "GetSecret GetBulkSecret",
    "actors.v1": "RegisterActorTimer UnregisterActorTimer RegisterActorReminder UnregisterActorReminder "
    "UnregisterActorRemindersByType ListActorReminders ListActorTimers GetActorTimer GetActorState GetActorReminder "
    "ExecuteActorStateTransaction InvokeActor",
    "actors.v1alpha1": "SubscribeActorEventsAlpha1",
    "configuration.v1": "GetConfiguration SubscribeConfiguration UnsubscribeConfiguration",
    "configuration.v1alpha1": "GetConfigurationAlpha1 SubscribeConfigurationAlpha1 UnsubscribeConfigurationAlpha1",
    "lock.v1alpha1": "TryLockAlpha1",
    "unlock.v1alpha1": "UnlockAlpha1",
    "crypto.v1alpha1": "EncryptAlpha1 DecryptAlpha1",
    "subtlecrypto.v1alpha1": "SubtleGetKeyAlpha1 SubtleEncryptAlpha1 SubtleDecryptAlpha1 SubtleWrapKeyAlpha1 "
    "SubtleUnwrapKeyAlpha1 SubtleSignAlpha1 SubtleVerifyAlpha1",
    "workflows.v1alpha1": "StartWorkflowAlpha1 GetWorkflowAlpha1 PurgeWorkflowAlpha1 TerminateWorkflowAlpha1 "
    "PauseWorkflowAlpha1 ResumeWorkflowAlpha1 RaiseEventWorkflowAlpha1",
    "workflows.v1beta1": "StartWorkflowBeta1 GetWorkflowBeta1 PurgeWorkflowBeta1 TerminateWorkflowBeta1 "
    "PauseWorkflowBeta1 ResumeWorkflowBeta1 RaiseEventWorkflowBeta1",
    "jobs.v1": "ScheduleJob GetJob DeleteJob DeleteJobsByPrefix ListJobs",
    "jobs.v1alpha1": "ScheduleJobAlpha1 GetJobAlpha1 DeleteJobAlpha1 DeleteJobsByPrefixAlpha1 ListJobsAlpha1",
    "conversation.v1alpha1": "ConverseAlpha1",
    "conversation.v1alpha2": "ConverseAlpha2",
    "search.v1alpha1": "CreateIndexAlpha1 GetIndexAlpha1 ListIndexesAlpha1 DeleteIndexAlpha1 IndexDocumentsAlpha1 "
    "GetDocumentsAlpha1 DeleteDocumentsAlpha1 SearchAlpha1",
    "vector.v1alpha1": "CreateCollectionAlpha1 GetCollectionAlpha1 ListCollectionsAlpha1 DeleteCollectionAlpha1 "
    "UpsertVectorsAlpha1 GetVectorsAlpha1 DeleteVectorsAlpha1 QueryVectorsAlpha1 BatchQueryVectorsAlpha1",
    "binarystore.v1alpha1": "SetBinaryFileAlpha1 GetBinaryFileAlpha1 DeleteBinaryFileAlpha1",
    "metadata.v1": "GetMetadata SetMetadata",
    "shutdown.v1": "Shutdown",
}
"""The runtime's methods by API group."""

_RUNTIME = b"/dapr.proto.runtime."


class Admission:
    """Refuses calls of unlisted APIs (the runtime's own), then calls without the token (every service of the port)."""

    def __init__(self, token: str, admits: Callable[[str], bool] | None) -> None:
        self._token = token.encode()
        self._strict = admits is not None
        self._admitted = frozenset[bytes]() if admits is None else _admitted(admits)
        self._unknown = admits is None or admits("")
        """A method in no group is open where lists only deny."""

    def __call__(self, call: ServerCall) -> None:
        if self._strict and call.path.startswith(_RUNTIME) and not self._lists(call.path):
            raise _refusal(
                Code.UNIMPLEMENTED, "Not Implemented", "501", "requested endpoint is not available"
            )
        if self._token:
            self._check_token(call)

    def _lists(self, path: bytes) -> bool:
        return path in self._admitted or (self._unknown and path not in _GROUPED)

    def _check_token(self, call: ServerCall) -> None:
        shown = next((value for key, value in call.metadata if key == b"dapr-api-token"), None)
        if shown is None:
            raise _refusal(
                Code.UNAUTHENTICATED, "Unauthorized", "401", "missing api token in request metadata"
            )
        if not hmac.compare_digest(shown, self._token):
            raise _refusal(
                Code.UNAUTHENTICATED, "Unauthorized", "401", "authentication error: api token mismatch"
            )
        call.metadata[:] = [pair for pair in call.metadata if pair[0] != b"dapr-api-token"]


def _paths(group: str) -> list[bytes]:
    return [DAPR + name.encode() for name in GROUPS[group].split()]


_GROUPED: Final = frozenset(path for group in GROUPS for path in _paths(group))


def _admitted(admits: Callable[[str], bool]) -> frozenset[bytes]:
    return frozenset(path for group in GROUPS if admits(group) for path in _paths(group))


def _refusal(code: Code, message: str, status: str, text: str) -> RpcError:
    info = wire.error_info(message, "dapr.io", {"http.code": status, "http.error_message": text})
    return RpcError(code, message, details=wire.status(code, message, [info]))
