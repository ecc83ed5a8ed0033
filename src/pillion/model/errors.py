"""The catalogue of faults a client can see: one row per operation and cause."""

from collections.abc import Mapping, Sequence
from enum import Enum

from pillion.toolbox.lazily import dataclass


class Shape(Enum):
    """Which detail messages go with a fault, in their order on the wire."""

    NONE = ()
    INFO = ("info",)
    RESOURCE_INFO = ("resource", "info")
    VIOLATION_RESOURCE_INFO = ("violation", "resource", "info")


@dataclass(frozen=True, slots=True)
class Fault:
    """One row. `code` is the HTTP body's errorCode, `reason` the ErrorInfo's; `text` is filled in with the raise's fields.

    `http_details` and `rpc_details` say what is sent beside the message on each transport. `wrapped` puts the phrase
    "api error: code = … desc = …" before the message over HTTP, as Dapr does for a few rows.
    """

    code: str
    status: int
    rpc: int
    text: str
    reason: str = ""
    resource: str = ""
    http_details: Shape = Shape.NONE
    rpc_details: Shape = Shape.NONE
    wrapped: bool = False
    describe: bool = False
    """The ResourceInfo repeats the message as its description."""


class ApiError(Exception):
    """Raised by services; only `edge/render.py` turns it into bytes.

    `resource` is the component's name, `info` the ErrorInfo metadata (None is JSON null), `violations` pairs of field and text.
    """

    def __init__(
        self,
        fault: Fault,
        *,
        resource: str = "",
        info: Mapping[str, str] | None = None,
        violations: Sequence[tuple[str, str]] = (),
        **fields: object,
    ) -> None:
        self.fault = fault
        self.message = fault.text.format_map(fields) if fields else fault.text
        self.resource = resource
        self.info = info
        self.violations = violations
        super().__init__(f"{fault.code}: {self.message}")


# gRPC codes by number; `net.rpc.Code` names them for the transports.
(
    _CANCELLED,
    _UNKNOWN,
    _INVALID,
    _DEADLINE,
    _NOT_FOUND,
    _EXISTS,
    _DENIED,
    _EXHAUSTED,
    _PRECONDITION,
    _ABORTED,
) = range(1, 11)
_UNIMPLEMENTED, _INTERNAL, _UNAVAILABLE, _UNAUTHENTICATED = 12, 13, 14, 16

# Common

MALFORMED_REQUEST = Fault("ERR_MALFORMED_REQUEST", 400, _INVALID, "{why}")
BODY_READ = Fault("ERR_BODY_READ", 400, _INVALID, "failed to read request body: {why}")
UNIMPLEMENTED = Fault("ERR_API_UNIMPLEMENTED", 501, _UNIMPLEMENTED, "this API is currently not implemented")
UNEXPECTED = Fault("ERROR", 500, _INTERNAL, "{why}")

# Health and metadata

HEALTH_NOT_READY = Fault("ERR_HEALTH_NOT_READY", 500, _INTERNAL, "dapr is not ready: {targets}")
HEALTH_APPID_NOT_MATCH = Fault("ERR_HEALTH_APPID_NOT_MATCH", 500, _INTERNAL, "dapr app-id does not match")
OUTBOUND_HEALTH_NOT_READY = Fault(
    "ERR_OUTBOUND_HEALTH_NOT_READY", 500, _INTERNAL, "dapr outbound is not ready: {targets}"
)
METADATA_FULL = Fault(
    "ERR_METADATA_FULL",
    413,
    _EXHAUSTED,
    "extended metadata is full: it holds at most {words} keys, and {bytes} bytes of keys and values",
)

# Invocation

DIRECT_INVOKE_NO_APP = Fault(
    "ERR_DIRECT_INVOKE",
    404,
    _NOT_FOUND,
    "failed getting app id either from the URL path or the header dapr-app-id",
)
DIRECT_INVOKE = Fault("ERR_DIRECT_INVOKE", 500, _INTERNAL, "failed to invoke, id: {app_id}, err: {why}")
DIRECT_INVOKE_DENIED = Fault("ERR_DIRECT_INVOKE", 403, _DENIED, "failed to invoke, id: {app_id}, err: {why}")

# State

STATE_STORE_NOT_CONFIGURED = Fault(
    "ERR_STATE_STORE_NOT_CONFIGURED", 500, _PRECONDITION, "state store {store} is not configured",
    reason="DAPR_STATE_NOT_CONFIGURED", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
STATE_STORE_NOT_FOUND = Fault(
    "ERR_STATE_STORE_NOT_FOUND", 400, _INVALID, "state store {store} is not found",
    reason="DAPR_STATE_NOT_FOUND", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
STATE_ILLEGAL_KEY = Fault(
    "ERR_MALFORMED_REQUEST", 400, _INVALID, "input key/keyPrefix '{key}' can't contain '||'",
    reason="DAPR_STATE_ILLEGAL_KEY", resource="state", wrapped=True,
    http_details=Shape.VIOLATION_RESOURCE_INFO, rpc_details=Shape.VIOLATION_RESOURCE_INFO,
)  # fmt: skip
STATE_KEY_EMPTY = Fault(
    "ERR_STATE_SAVE",
    400,
    _INVALID,
    "state key cannot be empty",
    reason="ERR_STATE_SAVE",
    rpc_details=Shape.INFO,
)
STATE_GET = Fault(
    "ERR_STATE_GET", 500, _INTERNAL, "fail to get {key} from state store {store}: {why}",
    reason="ERR_STATE_GET", rpc_details=Shape.INFO,
)  # fmt: skip
STATE_BULK_GET = Fault(
    "ERR_STATE_BULK_GET", 500, _INTERNAL, "{why}", reason="ERR_STATE_BULK_GET", rpc_details=Shape.INFO
)
_SAVE = "failed saving state in state store {store}: {why}"
STATE_SAVE = Fault("ERR_STATE_SAVE", 500, _INTERNAL, _SAVE, reason="ERR_STATE_SAVE", rpc_details=Shape.INFO)
STATE_SAVE_MISMATCH = Fault(
    "ERR_STATE_SAVE", 409, _ABORTED, _SAVE, reason="ERR_STATE_SAVE", rpc_details=Shape.INFO
)
STATE_SAVE_ETAG = Fault(
    "ERR_STATE_SAVE", 400, _INVALID, _SAVE, reason="ERR_STATE_SAVE", rpc_details=Shape.INFO
)
_DELETE = "failed deleting state with key {key}: {why}"
STATE_DELETE = Fault(
    "ERR_STATE_DELETE", 500, _INTERNAL, _DELETE, reason="ERR_STATE_DELETE", rpc_details=Shape.INFO
)
STATE_DELETE_MISMATCH = Fault(
    "ERR_STATE_DELETE", 409, _ABORTED, _DELETE, reason="ERR_STATE_DELETE", rpc_details=Shape.INFO
)
STATE_DELETE_ETAG = Fault(
    "ERR_STATE_DELETE", 400, _INVALID, _DELETE, reason="ERR_STATE_DELETE", rpc_details=Shape.INFO
)
_BULK_DELETE = "failed deleting state in state store {store}: {why}"
STATE_BULK_DELETE = Fault(
    "ERR_STATE_BULK_DELETE",
    500,
    _INTERNAL,
    _BULK_DELETE,
    reason="ERR_STATE_BULK_DELETE",
    rpc_details=Shape.INFO,
)
STATE_BULK_DELETE_MISMATCH = Fault(
    "ERR_STATE_BULK_DELETE",
    409,
    _ABORTED,
    _BULK_DELETE,
    reason="ERR_STATE_BULK_DELETE",
    rpc_details=Shape.INFO,
)
STATE_BULK_DELETE_ETAG = Fault(
    "ERR_STATE_BULK_DELETE",
    400,
    _INVALID,
    _BULK_DELETE,
    reason="ERR_STATE_BULK_DELETE",
    rpc_details=Shape.INFO,
)
STATE_TRANSACTION = Fault(
    "ERR_STATE_TRANSACTION", 500, _INTERNAL, "error while executing state transaction: {why}",
    reason="ERR_STATE_TRANSACTION", rpc_details=Shape.INFO,
)  # fmt: skip
STATE_OPERATION = Fault(
    "ERR_NOT_SUPPORTED_STATE_OPERATION", 400, _UNIMPLEMENTED, "operation type {operation} not supported",
    reason="ERR_NOT_SUPPORTED_STATE_OPERATION", rpc_details=Shape.INFO,
)  # fmt: skip
STATE_NO_TRANSACTIONS = Fault(
    "ERR_STATE_STORE_NOT_SUPPORTED", 500, _UNIMPLEMENTED, "state store {store} doesn't support transactions",
    reason="DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED", resource="state",
    http_details=Shape.RESOURCE_INFO, rpc_details=Shape.RESOURCE_INFO,
)  # fmt: skip
STATE_TOO_MANY = Fault(
    "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS", 400, _INVALID,
    "the transaction contains {count} operations, which is more than what the state store supports: {most}",
    reason="DAPR_STATE_TOO_MANY_TRANSACTIONS", resource="state",
    http_details=Shape.RESOURCE_INFO, rpc_details=Shape.RESOURCE_INFO,
)  # fmt: skip
STATE_NO_QUERY = Fault(
    "ERR_STATE_STORE_NOT_SUPPORTED", 500, _INTERNAL, "state store does not support querying",
    reason="DAPR_STATE_QUERYING_NOT_SUPPORTED", resource="state",
    http_details=Shape.RESOURCE_INFO, rpc_details=Shape.RESOURCE_INFO,
)  # fmt: skip
STATE_QUERY = Fault(
    "ERR_STATE_QUERY", 500, _INTERNAL, "state store {store} query failed: {why}",
    reason="DAPR_STATE_QUERY_FAILED", resource="state",
    http_details=Shape.RESOURCE_INFO, rpc_details=Shape.RESOURCE_INFO,
)  # fmt: skip

# Publish/subscribe


def _pubsub(
    code: str, status: int, rpc: int, text: str, reason: str, shape: Shape = Shape.RESOURCE_INFO
) -> Fault:
    return Fault(
        code,
        status,
        rpc,
        text,
        reason=reason,
        resource="pubsub",
        http_details=shape,
        rpc_details=shape,
        describe=True,
    )


PUBSUB_NOT_FOUND = _pubsub(
    "ERR_PUBSUB_NOT_FOUND", 404, _INVALID, "pubsub {pubsub} is not found", "DAPR_PUBSUB_NOT_FOUND", Shape.INFO
)
PUBSUB_NAME_EMPTY = _pubsub(
    "ERR_PUBSUB_EMPTY", 404, _INVALID, "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY"
)
PUBSUB_TOPIC_EMPTY = _pubsub(
    "ERR_TOPIC_NAME_EMPTY", 404, _INVALID, "topic is empty in pubsub {pubsub}", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"
)
PUBSUB_FORBIDDEN = _pubsub(
    "ERR_PUBSUB_FORBIDDEN",
    403,
    _DENIED,
    "topic {topic} is not allowed for app id {app_id}",
    "DAPR_PUBSUB_FORBIDDEN",
)
PUBSUB_METADATA = _pubsub(
    "ERR_PUBSUB_REQUEST_METADATA", 400, _INVALID, "failed deserializing metadata. Error: {why}",
    "DAPR_PUBSUB_METADATA_DESERIALIZATION",
)  # fmt: skip
PUBSUB_CLOUD_EVENT = _pubsub(
    "ERR_PUBSUB_CLOUD_EVENTS_SER",
    500,
    _INVALID,
    "cannot create cloudevent",
    "DAPR_PUBSUB_CLOUD_EVENT_CREATION",
)
PUBSUB_MARSHAL_ENVELOPE = _pubsub(
    "ERR_PUBSUB_EVENTS_SER", 400, _INVALID,
    "error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {why}", "DAPR_PUBSUB_MARSHAL_ENVELOPE",
)  # fmt: skip
PUBSUB_MARSHAL_EVENTS = _pubsub(
    "ERR_PUBSUB_EVENTS_SER", 400, _INVALID, "error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {why}",
    "DAPR_PUBSUB_MARSHAL_EVENTS",
)  # fmt: skip
PUBSUB_UNMARSHAL_EVENTS = _pubsub(
    "ERR_PUBSUB_EVENTS_SER", 400, _INVALID, "error when unmarshaling the request for topic {topic} pubsub {pubsub}: {why}",
    "DAPR_PUBSUB_UNMARSHAL_EVENTS",
)  # fmt: skip
PUBSUB_PUBLISH = _pubsub(
    "ERR_PUBSUB_PUBLISH_MESSAGE", 500, _INTERNAL, "error when publishing to topic {topic} in pubsub {pubsub}: {why}",
    "DAPR_PUBSUB_PUBLISH_MESSAGE",
)  # fmt: skip

# Bindings

OUTPUT_BINDING = Fault(
    "ERR_INVOKE_OUTPUT_BINDING", 500, _INTERNAL, "error invoking output binding {binding}: {why}",
    reason="ERR_INVOKE_OUTPUT_BINDING", rpc_details=Shape.INFO,
)  # fmt: skip

# Secrets

SECRET_STORES_NOT_CONFIGURED = Fault(
    "ERR_SECRET_STORES_NOT_CONFIGURED", 500, _PRECONDITION, "secret store is not configured"
)
SECRET_STORE_NOT_FOUND = Fault(
    "ERR_SECRET_STORE_NOT_FOUND", 401, _INVALID, "failed finding secret store with key {store}"
)
SECRET_DENIED = Fault(
    "ERR_PERMISSION_DENIED", 403, _DENIED, 'access denied by policy to get "{key}" from "{store}"'
)
SECRET_GET = Fault(
    "ERR_SECRET_GET", 500, _INTERNAL, "failed getting secret with key {key} from secret store {store}: {why}"
)
BULK_SECRET_GET = Fault(
    "ERR_SECRET_GET", 500, _INTERNAL, "failed getting secrets from secret store {store}: {why}"
)

# Blocks of later versions, answered as Dapr answers when they are not configured

ACTOR_NO_PLACEMENT = Fault("ERR_ACTOR_NO_PLACEMENT", 400, _UNAVAILABLE, "placement service is not configured")
ACTOR_NO_GRPC_APP = Fault(
    "ERR_ACTOR_NO_APP_CHANNEL", 400, _PRECONDITION, "actor callback streaming requires a gRPC app channel"
)
CONFIGURATION_NOT_CONFIGURED = Fault(
    "ERR_CONFIGURATION_STORE_NOT_CONFIGURED", 500, _PRECONDITION, "configuration stores not configured",
    reason="ERR_CONFIGURATION_STORE_NOT_CONFIGURED", rpc_details=Shape.INFO,
)  # fmt: skip
LOCK_NOT_CONFIGURED = Fault(
    "ERR_LOCK_STORE_NOT_CONFIGURED", 500, _PRECONDITION, "lock store is not configured"
)
LOCK_EXPIRY = Fault(
    "ERR_MALFORMED_REQUEST", 400, _INVALID, "ExpiryInSeconds is not positive in lock store {store}"
)
CRYPTO_NOT_CONFIGURED = Fault(
    "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", 500, _INTERNAL, "crypto providers not configured"
)
CONVERSATION_NOT_FOUND = Fault(
    "ERR_CONVERSATION_NOT_FOUND", 400, _INVALID, "failed finding conversation component {name}"
)
SCHEDULE_JOB = Fault(
    "DAPR_SCHEDULER_SCHEDULE_JOB", 500, _INTERNAL, "failed to schedule job due to: {why}",
    reason="DAPR_SCHEDULER_SCHEDULE_JOB", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
GET_JOB = Fault(
    "DAPR_SCHEDULER_GET_JOB", 500, _INTERNAL, "failed to get job due to: {why}",
    reason="DAPR_SCHEDULER_GET_JOB", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
LIST_JOBS = Fault(
    "DAPR_SCHEDULER_LIST_JOBS", 500, _INTERNAL, "failed to list jobs due to: {why}",
    reason="DAPR_SCHEDULER_LIST_JOBS", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
DELETE_JOB = Fault(
    "DAPR_SCHEDULER_DELETE_JOB", 500, _INTERNAL, "failed to delete job due to: {why}",
    reason="DAPR_SCHEDULER_DELETE_JOB", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
SEARCH_NOT_CONFIGURED = Fault(
    "ERR_SEARCH_STORE_NOT_CONFIGURED", 500, _PRECONDITION, "search store {store} is not configured",
    reason="DAPR_SEARCH_STORE_NOT_CONFIGURED", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
VECTOR_NOT_CONFIGURED = Fault(
    "ERR_VECTOR_STORE_NOT_CONFIGURED", 500, _PRECONDITION, "vector store {store} is not configured",
    reason="DAPR_VECTOR_STORE_NOT_CONFIGURED", http_details=Shape.INFO, rpc_details=Shape.INFO,
)  # fmt: skip
BAD_REQUEST = Fault("ERR_BAD_REQUEST", 400, _INVALID, "invalid request: {why}")
BINARY_FILE_UNNAMED = Fault("ERR_BAD_REQUEST", 400, _INVALID, "file name is required")
BINARY_STORE_NOT_FOUND = Fault(
    "ERR_BINARY_STORE_NOT_FOUND", 400, _INVALID, "failed finding binary store component {name}"
)
BINARY_STORE_SET = Fault(
    "ERR_BINARY_STORE_SET",
    500,
    _INTERNAL,
    'failed storing binary file "{file}" in component {name}: {why}',
)
