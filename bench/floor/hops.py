"""The two hops: `Front` makes HTTP/1 a message for the peer, `Back` makes the message HTTP/1 for the app."""

import asyncio
import random

from .http1 import AppPool, Headers, Served, render
from .link import END_HEADERS, END_STREAM, HEADERS, PREFACE, Link, frame, literal, message
from .messages import VERB_NAMES, VERBS, RequestStream, ResponseStream

_REQUEST_HEAD = b"".join(
    (
        b"\x83\x86",
        literal(b":authority", b"127.0.0.1"),
        literal(b":path", b"/dapr.proto.internals.v1.ServiceInvocation/CallLocalStream"),
        literal(b"content-type", b"application/grpc"),
        literal(b"te", b"trailers"),
    )
)
_REPLY_HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
_REPLY_TAIL = literal(b"grpc-status", b"0")
_HEALTHY = b"/v1.0/healthz/outbound"


class Front:
    """The caller's hop: one connection to the peer, a stream per request."""

    def __init__(self) -> None:
        self._waiting: dict[int, Served] = {}
        self._next = 1

    async def start(self, listen: int, peer: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        _, self._link = await loop.create_connection(
            lambda: Link(preface=PREFACE, receive=self._answer), "127.0.0.1", peer
        )
        return await loop.create_server(lambda: Served(self._ask), "127.0.0.1", listen)

    def _ask(self, caller: Served, verb: bytes, url: bytes, headers: Headers, body: bytes) -> None:
        if url == _HEALTHY:
            caller.reply(204, [], b"")
            return
        stream, self._next = self._next, self._next + 2
        self._waiting[stream] = caller
        call = _call(verb, url, headers, body).SerializeToString()
        head = frame(HEADERS, END_HEADERS, stream, _REQUEST_HEAD)
        self._link.send(head + message(stream, END_STREAM, call))

    def _answer(self, link: Link, stream: int, payload: bytes) -> None:
        answer = ResponseStream.FromString(payload)
        response = answer.response
        headers = [
            (name.encode(), value.encode())
            for name, values in response.headers.items()
            for value in values.values
        ]
        self._waiting.pop(stream).reply(response.status.code, headers, answer.payload.data)


def _call(verb: bytes, url: bytes, headers: Headers, body: bytes) -> RequestStream:
    """The message for `/v1.0/invoke/{app}/method/{path}`."""
    app, _, method = url[len(b"/v1.0/invoke/") :].partition(b"/method/")
    path, _, query = method.partition(b"?")
    call = RequestStream()
    request = call.request
    request.ver = 1
    metadata = request.metadata
    for name, value in headers:
        metadata[name.decode()].values.append(value.decode())
    if "traceparent" not in metadata:
        metadata["traceparent"].values.append(_trace())
    metadata["dapr-caller-app-id"].values.append("front")
    metadata["dapr-callee-app-id"].values.append(app.decode())
    request.message.method = path.decode()
    request.message.http_extension.verb = VERBS[verb]
    request.message.http_extension.querystring = query.decode()
    if body:
        call.payload.data = body
    return call


def _trace() -> str:
    return f"00-{random.getrandbits(128):032x}-{random.getrandbits(64):016x}-01"


class Back:
    """The app's hop."""

    def __init__(self, app: int) -> None:
        self._app = AppPool("127.0.0.1", app)

    async def start(self, listen: int) -> asyncio.Server:
        loop = asyncio.get_running_loop()
        return await loop.create_server(lambda: Link(preface=b"", receive=self._ask), "127.0.0.1", listen)

    def _ask(self, link: Link, stream: int, payload: bytes) -> None:
        def reply(status: int, headers: Headers, body: bytes) -> None:
            answer = _answer(status, headers, body).SerializeToString()
            head = frame(HEADERS, END_HEADERS, stream, _REPLY_HEAD)
            tail = frame(HEADERS, END_HEADERS | END_STREAM, stream, _REPLY_TAIL)
            link.send(head + message(stream, 0, answer) + tail)

        self._app.call(_request(payload), reply)


def _request(payload: bytes) -> bytes:
    call = RequestStream.FromString(payload)
    invoked = call.request.message
    extension = invoked.http_extension
    target = f"{invoked.method}?{extension.querystring}" if extension.querystring else invoked.method
    first = b"%b /%b HTTP/1.1\r\nhost: 127.0.0.1\r\n" % (VERB_NAMES[extension.verb], target.encode())
    headers = [
        (name.encode(), value.encode())
        for name, values in call.request.metadata.items()
        for value in values.values
    ]
    return render(first, headers, call.payload.data)


def _answer(status: int, headers: Headers, body: bytes) -> ResponseStream:
    answer = ResponseStream()
    response = answer.response
    response.status.code = status
    for name, value in headers:
        response.headers[name.decode()].values.append(value.decode())
    answer.payload.data = body
    return answer
