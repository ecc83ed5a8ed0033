"""A relay between a client and a server that notes the HTTP/2 frames going each way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PING, GOAWAY = 6, 7
ACK = 1


class Way:
    """One direction: the frames seen so far as (type, flags, payload), and how many connections went this way."""

    def __init__(self, preface: bytes) -> None:
        self.frames: list[tuple[int, int, bytes]] = []
        self.opened = 0
        self._preface = preface

    def pings(self) -> int:
        """Questions, not answers."""
        return sum(kind == PING and not flags & ACK for kind, flags, _ in self.frames)

    def goodbyes(self) -> list[bytes]:
        """What GOAWAYs said, from the error code on."""
        return [payload[4:] for kind, _, payload in self.frames if kind == GOAWAY]

    async def pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry bytes until either side is gone."""
        seen, self.opened = bytearray(), self.opened + 1
        rest = len(self._preface)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
                cut = min(rest, len(data))
                rest -= cut
                seen += data[cut:]
                self._note(seen)
        except OSError:
            pass
        finally:
            writer.close()

    def _note(self, seen: bytearray) -> None:
        while len(seen) >= 9 and len(seen) >= 9 + (size := int.from_bytes(seen[:3], "big")):
            self.frames.append((seen[3], seen[4], bytes(seen[9 : 9 + size])))
            del seen[: 9 + size]


class Wiretap:
    """Listens on `port` and passes on."""

    def __init__(self) -> None:
        self.port = 0
        self.up = Way(PREFACE)
        self.down = Way(b"")


@asynccontextmanager
async def wiretap(port: int) -> AsyncIterator[Wiretap]:
    """A tap on the line to a server on this machine."""
    tap, writers = Wiretap(), set[asyncio.StreamWriter]()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, out = await asyncio.open_connection("127.0.0.1", port)
        writers.update((writer, out))
        await asyncio.gather(tap.up.pass_on(reader, out), tap.down.pass_on(there, writer))

    listener = await asyncio.start_server(connected, "127.0.0.1", 0)
    tap.port = listener.sockets[0].getsockname()[1]
    try:
        yield tap
    finally:
        listener.close()
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
