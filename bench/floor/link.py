"""The connection between the hops: HTTP/2 frames, constant header blocks, one write per turn of the loop."""

import asyncio
from collections.abc import Callable
from typing import cast

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS, WINDOW_UPDATE = 0, 1, 4, 8
END_STREAM, END_HEADERS = 1, 4

_WINDOW = 1 << 30
_REFUND = 1 << 20
_OPENING = b"".join(
    (
        b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04" + _WINDOW.to_bytes(4, "big"),
        b"\x00\x00\x04\x08\x00\x00\x00\x00\x00" + _WINDOW.to_bytes(4, "big"),
    )
)


def literal(name: bytes, value: bytes) -> bytes:
    """A header field as an HPACK literal that never enters a table: a block of such fields stays constant."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def message(stream: int, flags: int, payload: bytes) -> bytes:
    """A DATA frame that holds exactly one gRPC message."""
    size = len(payload)
    return b"%b\x00%b%b\x00%b%b" % (
        (size + 5).to_bytes(3, "big"),
        bytes((flags,)),
        stream.to_bytes(4, "big"),
        size.to_bytes(4, "big"),
        payload,
    )


class Link(asyncio.Protocol):
    """One end of the connection. Each complete gRPC message goes to `receive` with its stream's number."""

    def __init__(self, *, preface: bytes, receive: Callable[["Link", int, bytes], None]) -> None:
        self._skip = 0 if preface else len(PREFACE)
        self._preface = preface
        self._receive = receive
        self._buffer = b""
        self._partial: dict[int, bytes] = {}
        self._out: list[bytes] = []
        self._unpaid = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop = asyncio.get_running_loop()
        self._transport.write(self._preface + _OPENING)

    def send(self, frames: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(frames)

    def _flush(self) -> None:
        self._transport.write(b"".join(self._out))
        self._out.clear()

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        position, end = self._skip, len(buffer)
        while end - position >= 9:
            stop = position + 9 + int.from_bytes(buffer[position : position + 3], "big")
            if stop > end:
                break
            if buffer[position + 3] == DATA:
                stream = int.from_bytes(buffer[position + 5 : position + 9], "big")
                self._take(stream, buffer[position + 9 : stop])
            position = stop
        self._skip = max(0, position - end)
        self._buffer = buffer[position:]

    def _take(self, stream: int, piece: bytes) -> None:
        self._refund(len(piece))
        if self._partial:
            piece = self._partial.pop(stream, b"") + piece
        if len(piece) >= 5 and len(piece) - 5 == int.from_bytes(piece[1:5], "big"):
            self._receive(self, stream, piece[5:])
        elif piece:
            self._partial[stream] = piece

    def _refund(self, size: int) -> None:
        self._unpaid += size
        if self._unpaid > _REFUND:
            self.send(frame(WINDOW_UPDATE, 0, 0, self._unpaid.to_bytes(4, "big")))
            self._unpaid = 0
