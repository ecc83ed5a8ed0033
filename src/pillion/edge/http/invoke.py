"""Service invocation over HTTP: by path, by header, by basic credentials.

It is the API's fallback: whatever path or method no other route knows may be a call of an app.
"""

import base64
import binascii
from typing import Final
from urllib.parse import unquote

from pillion.edge.http.api import Ask, Reply
from pillion.edge.render import JSON_TYPE
from pillion.model.errors import DIRECT_INVOKE, DIRECT_INVOKE_NO_APP, ApiError
from pillion.model.invoke import Outcome, Pairs
from pillion.net.http import Request
from pillion.services.invoke import InvokeService, http_status, travelling
from pillion.toolbox.stream import Body, BodyTooLarge, Stream, discard, whole
from pillion.wire.errors import status_json

_PREFIX: Final = "/v1.0/invoke/"
_TEXT: Final = b"text/plain; charset=utf-8"
_MOST_KNOWN: Final = 1024
_LONGEST_KNOWN: Final = 256
_SNIFFED: Final = 512
_MARKUP: Final = (
    b"<!doctype html",
    b"<html",
    b"<head",
    b"<body",
    b"<script",
    b"<div",
    b"<p>",
    b"<h1",
    b"<a ",
    b"<!--",
)
_MAGIC: Final = (
    (b"\x89PNG\x0d\x0a\x1a\x0a", b"image/png"), (b"\xff\xd8\xff", b"image/jpeg"), (b"GIF8", b"image/gif"),
    (b"%PDF-", b"application/pdf"), (b"PK\x03\x04", b"application/zip"), (b"\x1f\x8b\x08", b"application/x-gzip"),
    (b"<?xml", b"text/xml; charset=utf-8"),
)  # fmt: skip


class Invocations:
    """Reads whom a request is for, in the order Dapr looks: `dapr-app-id`, basic credentials, the path.

    What the headers and the path of a request say is remembered for its equals, in bounded number.
    """

    def __init__(self, service: InvokeService, *, allowed: bool = True) -> None:
        self._service = service
        self._allowed = allowed
        self._heads: dict[bytes, _Said] = {}
        self._paths: dict[bytes, tuple[str, str]] = {}

    async def fallback(self, ask: Ask) -> Reply:
        """The operation of everything that is no other route's."""
        if not self._allowed:
            raise ApiError(DIRECT_INVOKE_NO_APP)
        request = ask.request
        said = self._heads.get(request.head) or self._said(request)
        if said.app_id:
            app_id, path = said.app_id, ask.path.lstrip("/")
        else:
            app_id, path = self._paths.get(request.target) or self._addressee(ask)
        call = ask.call
        try:
            outcome = await self._service.http(
                app_id, path, request.method.decode("latin-1"), ask.query, said.headers.copy(), request.body,
                said.content_type, deadline=call.deadline, trace=call.trace,
            )  # fmt: skip
        except BodyTooLarge as error:
            raise ApiError(DIRECT_INVOKE, app_id=app_id, why=str(error)) from error
        return await rendered(outcome)

    def _said(self, request: Request) -> "_Said":
        first = dict(reversed(request.headers))
        app_id = first.get(b"dapr-app-id", b"").decode("latin-1") or _credentials(
            first.get(b"authorization", b"")
        )
        said = _Said(app_id, travelling(request.headers), first.get(b"content-type", b"").decode("latin-1"))
        if request.head:
            if len(self._heads) >= _MOST_KNOWN:
                self._heads.clear()
            self._heads[request.head] = said
        return said

    def _addressee(self, ask: Ask) -> tuple[str, str]:
        """App id and method as they stand in the path. Raises ApiError for a path that names no app."""
        found, target = _in_path(ask), ask.request.target
        if found is None:
            raise ApiError(DIRECT_INVOKE_NO_APP)
        if len(target) <= _LONGEST_KNOWN:
            if len(self._paths) >= _MOST_KNOWN:
                self._paths.clear()
            self._paths[target] = found
        return found


class _Said:
    """What a request's headers say: the app they name (""), those that travel on, the content type."""

    __slots__ = ("app_id", "headers", "content_type")

    def __init__(self, app_id: str, headers: Pairs, content_type: str) -> None:
        self.app_id = app_id
        self.headers = headers
        self.content_type = content_type


async def rendered(outcome: Outcome) -> Reply:
    """An app's answer as an HTTP answer."""
    if outcome.status >= 100:
        if outcome.status >= 400 and isinstance(outcome.body, Stream):
            outcome.body = await whole(outcome.body)
        return _http(outcome)
    headers = _shown(outcome.headers)
    if outcome.status:
        headers.append((b"content-type", _TEXT))
        return Reply(
            http_status(outcome), headers, status_json(outcome.status, outcome.message, outcome.details)
        )
    if outcome.content_type:
        headers.append((b"content-type", outcome.content_type.encode()))
    return Reply(200, headers, outcome.body)


def _shown(metadata: Pairs) -> Pairs:
    """A gRPC app's metadata as headers: no binary values, and what gRPC reserves for itself prefixed."""
    return [
        (b"dapr-" + name if name.startswith(b"grpc-") else name, value)
        for name, value in metadata
        if name not in (b"content-type", b"content-length") and name[-4:] != b"-bin" and name[:1] != b":"
    ]


def _http(outcome: Outcome) -> Reply:
    headers, body, status = outcome.headers, outcome.body, outcome.status
    if status < 200 or status in (204, 304):
        discard(body)
        return Reply(status, headers, b"")
    for name, _ in headers:
        if name == b"content-type":
            return Reply(status, headers, body)
    if status >= 400:
        headers.append(JSON_TYPE)
    elif body != b"":
        headers.append((b"content-type", _sniffed(body)))
    return Reply(status, headers, body)


def _in_path(ask: Ask) -> tuple[str, str] | None:
    """App id and method as written, None when the path names no app."""
    path = ask.path
    if not path.startswith(_PREFIX):
        return None
    sent = ask.request.target.partition(b"?")[0].decode("latin-1")
    if path.startswith(("http:", "https:"), len(_PREFIX)):
        path = sent  # cleaning the path has folded the two slashes of a full URL
    elif path.endswith("/method") and sent.endswith("/"):
        path += "/"  # and taken the one before an empty method
    target, slash, method = path[len(_PREFIX) :].partition("/method/")
    return (unquote(target) if "%" in target else target, method) if slash and target else None


def _credentials(value: bytes) -> str:
    scheme, _, encoded = value.partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return ""
    return password if user == "dapr-app-id" else ""


def _sniffed(body: Body) -> bytes:
    """A content type for an answer that has none, as Go's server would guess it; a stream is not looked into."""
    if isinstance(body, Stream):
        return _TEXT
    start = body[:_SNIFFED]
    text = start.lstrip(b"\t\n\x0c\r ")
    if text[:16].lower().startswith(_MARKUP):
        return b"text/html; charset=utf-8"
    for magic, kind in _MAGIC:
        if text.startswith(magic):
            return kind
    binary = any(byte < 9 or 14 <= byte < 27 or 28 <= byte < 32 or byte == 11 for byte in start)
    return b"application/octet-stream" if binary else _TEXT
