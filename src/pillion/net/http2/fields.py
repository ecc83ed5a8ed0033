"""What a list of header fields may say: the rules of RFC 9113 §8 for requests, answers and trailers."""

import re
from typing import Any

from pillion.net.http import Headers
from pillion.net.http2.frames import ErrorCode, StreamFault

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+").fullmatch
_BAD_VALUE = re.compile(rb"[\x00\r\n]").search
_NOT_HERE = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_USUAL = frozenset(
    (
        b"accept", b"accept-encoding", b"authorization", b"content-type", b"cookie", b"dapr-api-token", b"dapr-app-id",
        b"date", b"grpc-accept-encoding", b"grpc-encoding", b"grpc-message", b"grpc-status", b"grpc-timeout", b"server",
        b"traceparent", b"tracestate", b"user-agent",
    )
)  # fmt: skip
"""Names that need no further look."""

CONNECTION_FIELDS = _NOT_HERE
"""Fields of an HTTP/1 connection; they have no place here and are dropped on the way out."""


class RequestHead:
    """A request's pseudo-fields and the rest. Shared between equal requests: `headers` must be copied before changing.

    A transport may keep what it made of the fields in a subclass.
    """

    def __init__(self, pseudo: dict[bytes, bytes], headers: Headers, length: int) -> None:
        self.method = pseudo[b":method"]
        self.scheme = pseudo.get(b":scheme", b"")
        self.authority = pseudo.get(b":authority", b"")
        self.path = pseudo.get(b":path", b"")
        self.headers = headers
        self.length = length
        """The announced body, -1 when it was not."""


class ResponseHead:
    """An answer's status and fields; `length` is -1 where none was announced. Shared like a request's.

    `served` belongs to whoever reads the answer: what it made of this head.
    """

    __slots__ = ("status", "headers", "length", "served")

    def __init__(self, status: int, headers: Headers, length: int) -> None:
        self.status = status
        self.headers = headers
        self.length = length
        self.served: Any = None


class Trailers:
    """The fields after a body. Shared, and `served`, like an answer's head."""

    __slots__ = ("headers", "served")

    def __init__(self, headers: Headers) -> None:
        self.headers = headers
        self.served: Any = None


def malformed(text: str) -> StreamFault:
    """The message breaks a rule, which costs the stream."""
    return StreamFault(ErrorCode.PROTOCOL_ERROR, text)


_REQUEST_FIELDS = frozenset((b":method", b":scheme", b":authority", b":path"))


def request_head(fields: Headers) -> RequestHead:
    """A request's fields, checked."""
    pseudo, headers, length = _sorted(fields, _REQUEST_FIELDS)
    method = pseudo.get(b":method")
    if not method:
        raise malformed("no :method")
    if method != b"CONNECT" and not (pseudo.get(b":scheme") and pseudo.get(b":path")):
        raise malformed("no :scheme or :path")
    return RequestHead(pseudo, headers, length)


def response_head(fields: Headers) -> ResponseHead:
    """An answer's fields, checked."""
    pseudo, headers, length = _sorted(fields, frozenset((b":status",)))
    status = pseudo.get(b":status", b"")
    if len(status) != 3 or not status.isdigit():
        raise malformed("no :status")
    return ResponseHead(int(status), headers, length)


def trailers(fields: Headers) -> Trailers:
    """The fields after a body, checked."""
    return Trailers(_sorted(fields, frozenset())[1])


def _sorted(fields: Headers, allowed: frozenset[bytes]) -> tuple[dict[bytes, bytes], Headers, int]:
    pseudo: dict[bytes, bytes] = {}
    headers: Headers = []
    length = -1
    for field in fields:
        name, value = field
        if name[:1] == b":":
            if name not in allowed or name in pseudo or headers:
                raise malformed("a pseudo-field is unknown, repeated or out of place")
            pseudo[name] = value
            continue
        if name not in _USUAL:
            if name == b"content-length":
                length = _length(value, length)
            else:
                _check(name, value)
        headers.append(field)
    if _BAD_VALUE(b" ".join([value for _, value in fields])):
        raise malformed("a field's value holds a line break or a zero byte")
    return pseudo, headers, length


def _check(name: bytes, value: bytes) -> None:
    if not _NAME(name):
        raise malformed("a field's name is not in lower case or not a token")
    if name in _NOT_HERE or (name == b"te" and value != b"trailers"):
        raise malformed("a field that belongs to an HTTP/1 connection")


def _length(value: bytes, before: int) -> int:
    if not value.isdigit() or len(value) > 18 or (before >= 0 and before != int(value)):
        raise malformed("content-length is not one number")
    return int(value)
