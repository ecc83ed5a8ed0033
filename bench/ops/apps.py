"""The app behind a sidecar, on the same loop: it answers at once, and tells how many events it was brought."""

import asyncio
import json
from collections.abc import Callable, Sequence
from typing import cast

from ..floor.link import (
    END_HEADERS,
    END_STREAM,
    HEADERS,
    Link,
    frame,
    literal,
    message,
)
from ..works import GRPC_TOPIC, TOPIC

_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_NO_CONFIG = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_PONG = b'{"pong":true}'
_HEAD = b"\x88" + literal(b"content-type", b"application/grpc")
_TAIL = literal(b"grpc-status", b"0")


class Delivered:
    """Counts events, and lets one wait until a number has come."""

    def __init__(self) -> None:
        self._missing = 0
        self._done: asyncio.Future[None] | None = None

    def expect(self, events: int) -> "asyncio.Future[None]":
        self._missing = events
        self._done = asyncio.get_running_loop().create_future()
        return self._done

    def one(self) -> None:
        self._missing -= 1
        if self._missing == 0 and self._done is not None:
            self._done.set_result(None)


def _json_topics(brokers: Sequence[str]) -> bytes:
    rows = [{"pubsubname": broker, "topic": TOPIC, "route": "/events"} for broker in brokers]
    return json.dumps(rows).encode()


def _proto_topics(brokers: Sequence[str]) -> bytes:
    rows = [_text(1, broker) + _text(2, GRPC_TOPIC) for broker in brokers]
    return b"".join(b"\n" + bytes((len(row),)) + row for row in rows)


def _text(number: int, text: str) -> bytes:
    return bytes((number << 3 | 2, len(text))) + text.encode()


class HttpApp(asyncio.Protocol):
    """A connection to the HTTP app. Requests come complete: the sidecar writes each in one piece."""

    def __init__(self, delivered: Delivered, brokers: Sequence[str]) -> None:
        self._delivered = delivered
        self._topics = _json_topics(brokers)
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := _whole(self._buffer)) is not None:
            request, self._buffer = self._buffer[:end], self._buffer[end:]
            self._transport.write(self._answer(request.partition(b" HTTP/")[0]))

    def _answer(self, first: bytes) -> bytes:
        if first.endswith(b"/dapr/config"):
            return _NO_CONFIG
        if first.endswith(b"/dapr/subscribe"):
            return _OK % (len(self._topics), self._topics)
        if first.endswith(b"/events"):
            self._delivered.one()
        return _OK % (len(_PONG), _PONG)


def _whole(buffer: bytes) -> int | None:
    """Where the first request ends."""
    end = buffer.find(b"\r\n\r\n") + 4
    if end < 4:
        return None
    for line in buffer[:end].lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            end += int(line[15:])
    return end if len(buffer) >= end else None


def grpc_app(delivered: Delivered, brokers: Sequence[str]) -> Callable[[], asyncio.Protocol]:
    """The gRPC app. An event is the only call with a message; all others are questions about topics and bindings."""

    topics = _proto_topics(brokers)

    def answer(link: Link, stream: int, asked: bytes) -> None:
        if asked:
            delivered.one()
        head = frame(HEADERS, END_HEADERS, stream, _HEAD)
        tail = frame(HEADERS, END_HEADERS | END_STREAM, stream, _TAIL)
        link.send(head + message(stream, 0, b"" if asked else topics) + tail)

    return lambda: Link(preface=b"", receive=answer)
