"""Service invocation's decisions: who is meant, what the method is, which headers travel."""

import posixpath
import re
from typing import Final
from urllib.parse import quote, unquote

from pillion.model.invoke import Pairs
from pillion.toolbox.hops import HOP_BY_HOP, named_by_connection
from pillion.toolbox.lazily import dataclass

_FORBIDDEN: Final = re.compile(r"[#?\x00-\x1f\x7f]").search
_UNUSUAL: Final = re.compile(r"[#?\x00-\x1f\x7f]|//|/\.|/\Z|\A[./]").search
_UNSENDABLE: Final = re.compile(r"[^\x21-\x7e]").search
_QUERY_SAFE: Final = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"
_STATUS_OF_CODE: Final = (200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401)
_CODE_OF_STATUS: Final = {
    408: 1, 500: 2, 400: 13, 504: 4, 404: 5, 409: 6, 403: 7, 401: 16, 429: 8, 501: 12, 503: 14,
}  # fmt: skip


class InvalidTarget(ValueError):
    """The app id is not one; the text is what a client sees."""


class InvalidMethod(ValueError):
    """The method has characters it must not have."""


@dataclass(frozen=True, slots=True)
class Target:
    """Who is meant: an app of a namespace, or an address outside."""

    app_id: str
    namespace: str = ""
    url: str = ""


def target(text: str, namespace: str) -> Target:
    """Read `id`, `id.namespace` or a full `http(s)://host[:port]`; a missing namespace is our own."""
    if text.startswith(("http://", "https://")):
        return Target(text, url=text.rstrip("/"))
    if not text:
        raise InvalidTarget("app id is empty")
    app_id, dot, rest = text.partition(".")
    if "." in rest or ":" in text or "/" in text or not app_id or (dot and not rest):
        raise InvalidTarget(f"invalid app id {text}")
    return Target(app_id, rest or namespace)


def method(path: str) -> str:
    """The method in a URL's path as the app will see it: decoded, cleaned, without leading and trailing slash."""
    return checked(unquote(path) if "%" in path else path)


def checked(text: str) -> str:
    """A method, cleaned. Raises InvalidMethod for `#`, `?` and control characters, which could change what is called."""
    if _UNUSUAL(text) is None:
        return text
    if _FORBIDDEN(text) is not None:
        raise InvalidMethod(f'invalid method: method contains forbidden character: "{text}"')
    return posixpath.normpath("/" + text).lstrip("/")


def query(text: str) -> str:
    """A raw query as it may stand in a request line: a space or line break in it would end it."""
    return text if _UNSENDABLE(text) is None else quote(text, safe=_QUERY_SAFE)


def forwarded(headers: Pairs) -> Pairs:
    """The caller's headers less what belongs to its connection or to us, and less what it says in our name."""
    kept: Pairs = []
    named: frozenset[bytes] | None = None
    for pair in headers:
        name = pair[0]
        if name in _NOT_FORWARDED:
            if name == b"connection" and named is None:
                named = named_by_connection(headers)
        elif name[-4:] != b"-bin":
            kept.append(pair)
    return [pair for pair in kept if pair[0] not in named] if named else kept


def returned(headers: Pairs) -> Pairs:
    """The app's headers less what belongs to its connection; the length is the transport's to say."""
    kept: Pairs = []
    named: frozenset[bytes] | None = None
    for pair in headers:
        name = pair[0]
        if name not in _NOT_RETURNED:
            kept.append(pair)
        elif name == b"connection" and named is None:
            named = named_by_connection(headers)
    return [pair for pair in kept if pair[0] not in named] if named else kept


WANTS_EVENTS: Final = (b"accept", b"text/event-stream")
"""The header by which a caller asks for a stream of events."""


def as_events(headers: Pairs) -> Pairs:
    """The headers of another app's answer to a caller that asked for events: whatever the app named it, it is one."""
    kept = [pair for pair in headers if pair[0] not in (b"content-type", b"cache-control")]
    return [*kept, (b"cache-control", b"no-cache"), (b"content-type", b"text/event-stream")]


@dataclass(frozen=True, slots=True)
class Caller:
    """How this sidecar presents itself to others; the bytes are made once."""

    app_id: bytes
    namespace: bytes
    host: bytes
    address: bytes

    def signature(self, callee: str) -> Pairs:
        """What we add to the headers of a call to another sidecar: who calls whom, and the forwarding trail."""
        target = callee.encode()
        forwarding = b"for=%b;by=%b;host=%b" % (self.address, self.address, self.host)
        return [
            (b"dapr-caller-app-id", self.app_id),
            (b"dapr-caller-namespace", self.namespace),
            (b"dapr-callee-app-id", target),
            (b"destination-app-id", target),
            (b"x-forwarded-for", self.address),
            (b"x-forwarded-host", self.host),
            (b"forwarded", forwarding),
        ]

    def introduced(self, headers: Pairs, callee: str) -> Pairs:
        """The headers of a call to our own app."""
        return [
            *headers,
            (b"dapr-caller-app-id", self.app_id),
            (b"dapr-caller-namespace", self.namespace),
            (b"dapr-callee-app-id", callee.encode()),
        ]


_OURS: Final = frozenset(
    (b"dapr-caller-app-id", b"dapr-caller-namespace", b"dapr-callee-app-id", b"destination-app-id")
)
_NOT_FORWARDED: Final = HOP_BY_HOP | _OURS | {b"dapr-app-id", b"host"}
_NOT_RETURNED: Final = HOP_BY_HOP | {b"content-length"}


def unspoofed(metadata: Pairs) -> Pairs:
    """A gRPC caller's metadata without what it says in our name."""
    return [pair for pair in metadata if pair[0] not in _OURS]


def status_of(code: int) -> int:
    """The HTTP status that stands for a gRPC code."""
    return _STATUS_OF_CODE[code] if 0 <= code < len(_STATUS_OF_CODE) else 500


def code_of(status: int) -> int:
    """The gRPC code that stands for an HTTP status."""
    return 0 if 200 <= status < 300 else _CODE_OF_STATUS.get(status, 2)
