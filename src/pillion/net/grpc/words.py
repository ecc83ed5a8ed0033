"""How gRPC is spelled in HTTP/2: metadata, timeouts, status texts, message prefixes."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from pillion.net.http import Headers
from pillion.net.http2.fields import CONNECTION_FIELDS, RequestHead
from pillion.net.rpc import Code, Metadata, RpcError

PREFIX_BYTES = 5
"""Before each message: a byte that says whether it is compressed, and its length."""

_UNSAFE = re.compile(r"[^\x20-\x24\x26-\x7e]")
_PRINTABLE = re.compile(rb"[\x20-\x7e]*").fullmatch
_NAME = re.compile(rb"[0-9a-z_.\-]+").fullmatch
_OURS = CONNECTION_FIELDS | frozenset(
    b"te content-type content-length grpc-status grpc-message grpc-timeout grpc-encoding host".split()
)
"""What a transport says itself; metadata of these names is left out on the way out."""
_READ_BY_US = frozenset(
    b"te grpc-timeout grpc-encoding grpc-message-type grpc-message grpc-status grpc-status-details-bin".split()
)
"""What the receiving transport keeps to itself."""
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


class CallHead(RequestHead):
    """What the request's fields say about a call. Shared between equal requests.

    `refusal` is set on what is not a gRPC request: HTTP status, gRPC code, text.
    """

    def __init__(self, head: RequestHead) -> None:
        self.__dict__ = {**head.__dict__}
        self.metadata: Metadata = []
        self.timeout: float | None = None
        self.encoding = b""
        self.refusal: tuple[int, int, str] | None = None
        self.browsed = False
        """The method is GET: no gRPC client, somebody looking."""

    def but(self, timeout: float | None, metadata: Metadata) -> "CallHead":
        """The same with another deadline and other metadata; `headers` stay those of the first."""
        made = object.__new__(CallHead)
        made.__dict__ = {**self.__dict__, "timeout": timeout, "metadata": metadata}
        return made


def call_head(head: RequestHead) -> CallHead:
    """A call's head out of a request's."""
    call = CallHead(head)
    content_type = timeout = b""
    host: list[tuple[bytes, bytes]] = []
    try:
        for name, value in split_binary(head.headers):
            if name == b"content-type":
                content_type = value
                call.metadata.append((name, value))
            elif name == b"grpc-timeout":
                timeout = value
            elif name == b"grpc-encoding":
                call.encoding = b"" if value == b"identity" else value
            elif name == b"host":
                host.append((b":authority", value))
            elif name not in _READ_BY_US:
                call.metadata.append((name, binary(name, value)) if name[-4:] == b"-bin" else (name, value))
        call.timeout = parsed_timeout(timeout) if timeout else None
    except ValueError as error:
        call.refusal = (400, Code.INTERNAL, str(error))
    authority = [(b":authority", head.authority)] if head.authority else host[:1]
    call.metadata[:0] = authority
    _check(call, head.method, content_type)
    return call


def _check(call: CallHead, method: bytes, content_type: bytes) -> None:
    call.browsed = method != b"POST"
    if not is_grpc(content_type):
        shown = content_type.decode("latin-1")
        call.refusal = (415, Code.INVALID_ARGUMENT, f'invalid gRPC request content-type "{shown}"')
    elif call.refusal is None and call.browsed:
        shown = method.decode("latin-1")
        call.refusal = (
            405,
            Code.INTERNAL,
            f'Received a HEADERS frame with :method "{shown}" which should be POST',
        )


def is_grpc(content_type: bytes) -> bool:
    """`application/grpc`, alone or with a subtype or parameters."""
    content_type = content_type.lower()
    return content_type[:16] == b"application/grpc" and content_type[16:17] in (b"", b"+", b";")


def parsed_timeout(text: bytes) -> float:
    """Seconds; raises ValueError with the text to answer."""
    unit, digits = _UNITS.get(text[-1:]), text[:-1]
    if unit is not None and digits.isdigit() and len(text) <= 9:
        return int(digits) * unit
    shown = text.decode("latin-1")
    if len(text) < 2:
        raise ValueError(f'malformed grpc-timeout: transport: timeout string is too short: "{shown}"')
    if len(text) > 9:
        raise ValueError(f'malformed grpc-timeout: transport: timeout string is too long: "{shown}"')
    if unit is None:
        raise ValueError(f'malformed grpc-timeout: transport: timeout unit is not recognized: "{shown}"')
    raise ValueError(f'malformed grpc-timeout: strconv.ParseUint: parsing "{shown[:-1]}": invalid syntax')


def timeout_text(seconds: float) -> bytes:
    """A timeout in the finest unit that eight digits hold, rounded up."""
    for unit, size in ((b"n", 1e-9), (b"u", 1e-6), (b"m", 1e-3), (b"S", 1.0), (b"M", 60.0)):
        count = int(-(-seconds // size))
        if count < 10**8:
            return b"%d%b" % (max(count, 0), unit)
    return b"99999999H"


def binary(name: bytes, value: bytes) -> bytes:
    """The bytes behind a `-bin` value, padded or not."""
    try:
        return b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except ValueError as error:
        shown = f'"{value.decode("latin-1")}" in header "{name.decode("latin-1")}"'
        raise ValueError(f"malformed binary metadata {shown}: illegal base64 data") from error


def split_binary(fields: Headers) -> Headers:
    """`-bin` fields with one value each, where a peer joined several by commas."""
    if not any(b"," in value and name[-4:] == b"-bin" for name, value in fields):
        return fields
    out: Headers = []
    for name, value in fields:
        values = value.split(b",") if name[-4:] == b"-bin" else (value,)
        out += [(name, one.strip() if len(values) > 1 else one) for one in values]
    return out


def read_metadata(fields: Headers) -> Metadata:
    """The metadata among an answer's fields; what cannot be decoded is left out."""
    out: Metadata = []
    for name, value in split_binary(fields):
        if name in _READ_BY_US:
            continue
        if name[-4:] == b"-bin":
            try:
                value = binary(name, value)
            except ValueError:
                continue
        out.append((name, value))
    return out


def wire_fields(metadata: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Metadata as it is sent; raises RpcError INTERNAL where a value cannot be."""
    out: Headers = []
    for name, value in metadata:
        if name in _OURS or name[:1] == b":":
            continue
        if name[-4:] == b"-bin":
            value = b64encode(value).rstrip(b"=")
        elif not _PRINTABLE(value) or not _NAME(name):
            shown = name.decode("latin-1")
            raise RpcError(
                Code.INTERNAL, f'header key "{shown}" contains value with non-printable ASCII characters'
            )
        out.append((name, value))
    return out


def percent(text: str) -> bytes:
    """A status text as it is sent."""
    if _UNSAFE.search(text) is None:
        return text.encode()
    return b"".join(
        [
            b"%c" % byte if 0x20 <= byte <= 0x7E and byte != 0x25 else b"%%%02X" % byte
            for byte in _encoded(text)
        ]
    )


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def unpercent(text: bytes) -> str:
    """A status text as it was meant."""
    return (unquote_to_bytes(text) if b"%" in text else text).decode("utf-8", "replace")


def prefixed(message: bytes) -> bytes:
    """An uncompressed message behind its prefix."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def status_fields(code: int, message: str, details: bytes) -> Headers:
    """The fields that end a call."""
    fields = [(b"grpc-status", b"%d" % code)]
    if message:
        fields.append((b"grpc-message", percent(message)))
    if details:
        fields.append((b"grpc-status-details-bin", b64encode(details).rstrip(b"=")))
    return fields
