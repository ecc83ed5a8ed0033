"""A raw peer for HTTP/2: frames out, frames in, nothing tidied up."""

import asyncio
from collections.abc import Sequence

from pillion.net.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    SETTINGS,
    frame,
    settings_frame,
)
from pillion.net.http2.hpack import Decoder, encode

Frame = tuple[int, int, int, bytes]
Fields = list[tuple[bytes, bytes]]


class RawClient:
    """One connection to a server under test."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.decoder = Decoder(1 << 20)
        self.sid = -1

    @classmethod
    async def dial(cls, port: int, settings: dict[int, int] | None = None) -> "RawClient":
        """Connected, preface and settings sent, nothing read."""
        raw = cls(*await asyncio.open_connection("127.0.0.1", port))
        raw.send(PREFACE + settings_frame(settings or {}))
        return raw

    @classmethod
    async def greeted(cls, port: int, settings: dict[int, int] | None = None) -> "RawClient":
        """Connected, and both sides' settings acknowledged."""
        raw = await cls.dial(port, settings)
        while True:
            kind, flags, _, _ = await raw.frame()
            if kind == SETTINGS and flags & ACK:
                raw.send(frame(SETTINGS, ACK, 0))
                return raw

    def send(self, *data: bytes) -> None:
        self.writer.write(b"".join(data))

    def ping(self, payload: bytes) -> None:
        self.send(frame(PING, 0, 0, payload))

    def headers(
        self,
        path: bytes,
        fields: Sequence[tuple[bytes, bytes]] = (),
        *,
        end: bool = False,
        change: dict[bytes, bytes] | None = None,
    ) -> bytes:
        """The HEADERS of a new call; `change` replaces or adds fields."""
        self.sid += 2
        usual = {
            b":method": b"POST", b":scheme": b"http", b":path": path, b":authority": b"127.0.0.1:1",
            b"content-type": b"application/grpc", b"te": b"trailers",
        }  # fmt: skip
        block = encode([*(usual | (change or {})).items(), *fields])
        return frame(HEADERS, END_HEADERS | (END_STREAM if end else 0), self.sid, block)

    def call(
        self,
        path: bytes,
        message: bytes,
        fields: Sequence[tuple[bytes, bytes]] = (),
        *,
        end: bool = True,
        change: dict[bytes, bytes] | None = None,
    ) -> bytes:
        """A new call with its message."""
        head = self.headers(path, fields, change=change)
        body = b"\0" + len(message).to_bytes(4, "big") + message
        return head + frame(DATA, END_STREAM if end else 0, self.sid, body)

    async def frame(self) -> Frame:
        head = await self.reader.readexactly(9)
        payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
        return head[3], head[4], int.from_bytes(head[5:], "big"), payload

    async def until(self, kind: int) -> Frame:
        """The next frame of a kind; those before it are dropped."""
        while True:
            found = await self.frame()
            if found[0] == kind:
                return found

    async def answer(self) -> tuple[Fields, bytes, Fields]:
        """The next whole answer: head, body without its message prefix, trailers."""
        head: Fields | None = None
        body = b""
        while True:
            kind, flags, _, payload = await self.frame()
            if kind == HEADERS:
                fields = self.decoder.decode(payload).fields
                if flags & END_STREAM:
                    return (fields, b"", []) if head is None else (head, body[5:], fields)
                head = fields
            elif kind == DATA:
                body += payload
                if flags & END_STREAM:
                    return head or [], body, []

    def close(self) -> None:
        self.writer.close()
