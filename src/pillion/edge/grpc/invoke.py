"""Service invocation over gRPC: InvokeService, for apps of either protocol."""

import http
import re
from typing import Final

from pillion.edge.grpc.api import Unary
from pillion.edge.permanent import PERMANENT
from pillion.model.call import Call
from pillion.model.errors import DIRECT_INVOKE, ApiError
from pillion.model.invoke import Invocation, Outcome, Pairs
from pillion.net.rpc import Code, RpcError, ServerCall
from pillion.ports.peers import PeerFailed
from pillion.services.invoke import InvokeService, grpc_code
from pillion.toolbox.stream import StreamClosed, whole
from pillion.wire import errors as wire
from pillion.wire.internals import read_service_request, service_response
from pillion.wire.proto import runtime
from pillion.wire.scan import Malformed

_MOST_KNOWN: Final = 256
_SHOWN: Final = 63
"""The most bytes of an error's body that go into its details."""

_HIDDEN: Final = frozenset(
    (b"traceparent", b"tracestate", b"grpc-trace-bin", b"destination-app-id", b"content-length")
)

_NAME: Final = re.compile(rb"[0-9a-z_.\-]+").fullmatch
_VALUE: Final = re.compile(rb"[\x20-\x7e]*").fullmatch

_PHRASES: Final = {status.value: status.phrase for status in http.HTTPStatus} | {
    413: "Request Entity Too Large", 414: "Request URI Too Long", 416: "Requested Range Not Satisfiable",
    418: "I'm a teapot", 422: "Unprocessable Entity",
}  # fmt: skip
"""The words for a status as Go's library has them; the Python versions differ among themselves."""


class InvokeRpcs:
    """The one method of the runtime's service that calls another app."""

    def __init__(self, service: InvokeService) -> None:
        self._service = service
        self._initials: dict[tuple[object, ...], Pairs] = {}

    def unary(self) -> dict[str, Unary]:
        """The methods by name."""
        return {"InvokeService": self.invoke}

    async def invoke(self, call: Call, rpc: ServerCall, message: bytes) -> bytes:
        """Call an app and answer in gRPC's words, whatever it speaks."""
        invocation = _read(message)
        app_id = invocation.app_id
        invocation.headers = list(rpc.metadata)
        invocation.deadline, invocation.trace = rpc.deadline, call.trace
        try:
            outcome = await self._service.invoke(invocation)
        except ApiError as error:
            raise _out_of_time(error) or error from error.__cause__
        try:
            body = await whole(outcome.body)
        except (ConnectionError, StreamClosed) as error:
            raise ApiError(DIRECT_INVOKE, app_id=app_id, why=str(error)) from error
        return self._http(rpc, outcome, body) if outcome.is_http else _grpc(rpc, outcome, body)

    def _http(self, rpc: ServerCall, outcome: Outcome, body: bytes) -> bytes:
        """An HTTP app's answer: 2xx is OK, anything else an error that tells the status and the start of the body."""
        status = outcome.status
        initial = self._initial(status, outcome.headers)
        code = grpc_code(outcome)
        if code == Code.OK:
            rpc.set_initial(initial)
            return _response(outcome, body)
        rpc.send_initial(
            initial
        )  # in a frame of its own: beside the status a client would take it for trailers
        text = _PHRASES.get(status, "")
        shown = body[:_SHOWN].decode("utf-8", "replace")
        info = wire.error_info(text, "dapr.io", {"http.code": str(status), "http.error_message": shown})
        raise RpcError(code, text, details=wire.status(code, text, [info]))

    def _initial(self, status: int, headers: Pairs) -> Pairs:
        """An answer's headers as metadata, remembered for its equals."""
        key = (status, *headers)
        known = self._initials.get(key)
        if known is None:
            if len(self._initials) >= _MOST_KNOWN:
                self._initials.clear()
            known = self._initials[key] = [*_named(headers), (b"dapr-http-status", b"%d" % status)]
        return known


def _read(message: bytes) -> Invocation:
    try:
        asked = read_service_request(message)
        if asked is not None:
            return asked
    except (Malformed, UnicodeDecodeError):
        pass  # the parser says what is wrong, if it finds it wrong
    read = runtime.InvokeServiceRequest.FromString(message)
    raise ApiError(DIRECT_INVOKE, app_id=read.id, why=_NO_MESSAGE)


def _out_of_time(error: ApiError) -> RpcError | None:
    """A deadline that passed on the way, or a cancellation, is no fault of ours: it keeps its code."""
    cause = error.__cause__
    if isinstance(cause, PeerFailed) and cause.code in (Code.CANCELLED, Code.DEADLINE_EXCEEDED):
        return RpcError(cause.code, cause.message)
    return None


_NO_MESSAGE: Final = (
    "rpc error: code = InvalidArgument desc = parsing InternalInvokeRequest error: "
    "request does not contain the required fields in the leading chunk"
)


def _grpc(rpc: ServerCall, outcome: Outcome, body: bytes) -> bytes:
    """A gRPC app's answer as it is."""
    initial = [pair for pair in outcome.headers if pair[0] not in _HIDDEN and pair[0] != b"content-type"]
    rpc.set_trailers(outcome.trailers)
    if outcome.status == Code.OK:
        rpc.set_initial(initial)
        return _response(outcome, body)
    if initial:
        rpc.send_initial(initial)
    details = wire.packed_status(outcome.status, outcome.message, outcome.details) if outcome.details else b""
    raise RpcError(outcome.status, outcome.message, details=details)


def _response(outcome: Outcome, body: bytes) -> bytes:
    return service_response(outcome.type_url, body, outcome.content_type or _content_type(outcome.headers))


def _named(headers: Pairs) -> Pairs:
    """An HTTP app's headers as metadata; one that metadata cannot hold must not cost the answer."""
    return [
        (b"dapr-" + name if name in PERMANENT else name, value)
        for name, value in headers
        if name not in _HIDDEN and name[-4:] != b"-bin" and _NAME(name) and _VALUE(value)
    ]


def _content_type(headers: Pairs) -> str:
    return next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")
