"""A fault becomes a status and a body: the one place, so that HTTP and gRPC agree by construction."""

from typing import Any

from pillion.model.errors import UNEXPECTED, ApiError, Shape
from pillion.net.rpc import RpcError, go_name

JSON_TYPE = (b"content-type", b"application/json")
_DOMAIN = "dapr.io"


def unexpected(error: BaseException) -> ApiError:
    """A failure nobody foresaw, as the fault a client sees."""
    return ApiError(UNEXPECTED, why=str(error) or type(error).__name__)


def http_body(error: ApiError) -> bytes:
    """The JSON body of a fault."""
    fault = error.fault
    message = http_message(error)
    body: dict[str, Any] = {"errorCode": fault.code, "message": message}
    if fault.http_details is not Shape.NONE:
        body["details"] = [_http_detail(kind, error, message) for kind in fault.http_details.value]
    import orjson  # a sidecar without an error does without it

    return orjson.dumps(body)


def http_message(error: ApiError) -> str:
    """The message as HTTP shows it."""
    if not error.fault.wrapped:
        return error.message
    return f"api error: code = {go_name(error.fault.rpc)} desc = {error.message}"


def rpc_error(error: ApiError) -> RpcError:
    """The same fault as a gRPC status."""
    fault = error.fault
    details = b""
    if fault.rpc_details is not Shape.NONE:
        from pillion.wire import errors as wire

        details = wire.status(
            fault.rpc, error.message, [_rpc_detail(kind, error) for kind in fault.rpc_details.value]
        )
    return RpcError(fault.rpc, error.message, details=details)


def _http_detail(kind: str, error: ApiError, message: str) -> dict[str, Any]:
    fault = error.fault
    match kind:
        case "info":
            return {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "domain": _DOMAIN,
                "metadata": dict(error.info) if error.info is not None else None,
                "reason": fault.reason,
            }
        case "resource":
            return {
                "@type": "type.googleapis.com/google.rpc.ResourceInfo",
                "description": error.message if fault.describe else "",
                "owner": "",
                "resource_name": error.resource,
                "resource_type": fault.resource,
            }
        case _:
            return {
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "field_violations": [
                    {"field": field, "description": message} if field else {"description": message}
                    for field, _ in error.violations
                ],
            }


def _rpc_detail(kind: str, error: ApiError) -> Any:
    fault = error.fault
    from pillion.wire import errors as wire

    match kind:
        case "info":
            return wire.error_info(fault.reason, _DOMAIN, error.info or {})
        case "resource":
            return wire.resource_info(fault.resource, error.resource, error.message if fault.describe else "")
        case _:
            return wire.bad_request([(field, text) for field, text in error.violations])
