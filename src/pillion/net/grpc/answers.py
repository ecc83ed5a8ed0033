"""What an answer says about the call it ends: a status, or what to make of it where there is none."""

import http
from base64 import b64decode

from pillion.net.grpc.words import is_grpc, read_metadata, unpercent
from pillion.net.http import Headers
from pillion.net.http2.client import UNPROCESSED
from pillion.net.http2.fields import ResponseHead, Trailers
from pillion.net.http2.frames import ErrorCode
from pillion.net.rpc import Code, Metadata, RpcError

_HTTP = {
    400: Code.INTERNAL,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.UNIMPLEMENTED,
    429: Code.UNAVAILABLE,
    502: Code.UNAVAILABLE,
    503: Code.UNAVAILABLE,
    504: Code.UNAVAILABLE,
}
_RESETS = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELLED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.FLOW_CONTROL_ERROR: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


class Opening:
    """The head of an answer. `strange` is set where it is no gRPC answer."""

    __slots__ = ("metadata", "encoding", "strange")

    def __init__(self, head: ResponseHead) -> None:
        content_type = next((value for name, value in head.headers if name == b"content-type"), b"")
        self.encoding = next((value for name, value in head.headers if name == b"grpc-encoding"), b"")
        self.metadata = _told(read_metadata(head.headers))
        grpc = is_grpc(content_type)
        self.strange = None if grpc and head.status == 200 else _strange(head.status, content_type, grpc)


class Closing:
    """The end of an answer: None for OK, else the error, whose metadata is not yet in it."""

    __slots__ = ("metadata", "code", "message", "details")

    def __init__(self, fields: Headers) -> None:
        code: int = Code.UNKNOWN
        message, details = "", b""
        for name, value in fields:
            if name == b"grpc-status":
                code = int(value) if value.isdigit() and len(value) < 4 else Code.UNKNOWN
            elif name == b"grpc-message":
                message = unpercent(value)
            elif name == b"grpc-status-details-bin":
                details = _decoded(value)
        self.metadata = read_metadata(fields)
        self.code = code
        self.message = message
        self.details = details

    def error(self, initial: Metadata) -> RpcError:
        """A new exception for this end."""
        return RpcError(
            self.code,
            self.message,
            details=self.details,
            initial=initial,
            trailers=self.metadata,
            remote=True,
        )


def opening(head: ResponseHead) -> Opening:
    """An answer's head read, once for all equal ones."""
    known = head.served
    if not isinstance(known, Opening):
        known = head.served = Opening(head)
    return known


def closing(trailers: Trailers) -> Closing:
    """An answer's end read, once for all equal ones."""
    known = trailers.served
    if not isinstance(known, Closing):
        known = trailers.served = Closing(trailers.headers)
    return known


def lone(head: ResponseHead) -> Closing | None:
    """The end of an answer that is nothing but a head, if it has a status."""
    if any(name == b"grpc-status" for name, _ in head.headers):
        end = Closing(head.headers)
        end.metadata = _told(end.metadata)
        return end
    return None


def _told(metadata: Metadata) -> Metadata:
    """What the server's application said, not its transport."""
    return [field for field in metadata if field[0] not in (b"content-type", b"grpc-accept-encoding")]


def _decoded(value: bytes) -> bytes:
    try:
        return b64decode(value + b"=" * (-len(value) % 4))
    except ValueError:
        return b""


def _strange(status: int, content_type: bytes, grpc: bool) -> RpcError:
    phrase = http.HTTPStatus(status).phrase if status in http.HTTPStatus._value2member_map_ else ""
    text = f"unexpected HTTP status code received from server: {status} ({phrase})"
    if not grpc:
        shown = content_type.decode("latin-1")
        missing = "; malformed header: missing HTTP content-type"
        text += f'; transport: received unexpected content-type "{shown}"' if content_type else missing
    return RpcError(_HTTP.get(status, Code.UNKNOWN), text, remote=True)


def cut_short(code: int, text: str, *, remote: bool, opened: bool) -> RpcError:
    """A stream that ended without an answer's end: reset by the server, or lost with its connection."""
    if code == UNPROCESSED or (remote and code == ErrorCode.REFUSED_STREAM):
        return RpcError(Code.UNAVAILABLE, text)
    if not remote:
        return RpcError(Code.UNAVAILABLE, f"error reading from server: {text}")
    name = ErrorCode(code).name if code in ErrorCode._value2member_map_ else str(code)
    return RpcError(
        _RESETS.get(code, Code.INTERNAL),  # type: ignore[call-overload]
        f"stream terminated by RST_STREAM with error code: {name}",
        remote=opened,
    )


def unreachable(error: OSError, where: str) -> RpcError:
    """No connection could be made."""
    text = str(error)
    if text.startswith("error reading server preface"):
        return RpcError(Code.UNAVAILABLE, f'connection error: desc = "{text}"')
    reason = "connect: connection refused" if isinstance(error, ConnectionRefusedError) else text
    return RpcError(
        Code.UNAVAILABLE,
        f'connection error: desc = "transport: Error while dialing: dial {where}: {reason}"',
    )
