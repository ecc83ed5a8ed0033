"""How one process tells another to look: a datagram that may be lost, since everybody also looks by themselves."""

import asyncio
import contextlib
import socket
import sys
import uuid
from collections.abc import Callable
from typing import Any, Final

ALL: Final = "*"
"""What to ring when everything should be looked at."""


class Bell:
    """A datagram socket of this process. What comes in names a group to look at.

    On Linux the address is abstract (no file, no limit on its length, gone with the process); elsewhere a UDP port of the
    loopback. Ringing never waits: a full or dead socket is passed over.
    """

    def __init__(self, rung: Callable[[str], None], *, abstract: bool = sys.platform == "linux") -> None:
        self._rung = rung
        self._abstract = abstract
        self._socket: socket.socket | None = None
        self._transport: asyncio.DatagramTransport | None = None
        self.address = ""

    async def open(self) -> None:
        if self._abstract:
            self._open_abstract()
        else:
            await self._open_udp()

    def _open_abstract(self) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.address = f"unix:pillion-{uuid.uuid4().hex}"
        self._socket.bind(_abstract(self.address))
        self._socket.setblocking(False)
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    async def _open_udp(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.address = f"udp:{self._socket.getsockname()[1]}"
        self._transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Listener(self._rung), sock=self._socket
        )

    def ring(self, address: str, what: str) -> None:
        if address == self.address:
            self._rung(what)
            return
        if self._socket is None:
            return
        with contextlib.suppress(OSError, ValueError):
            self._send(address, what.encode())

    def close(self) -> None:
        """Safe unopened and safe twice."""
        if self._socket is None:
            return
        if self._transport is not None:
            self._transport.close()
        else:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
        self._socket = self._transport = None

    def _send(self, address: str, what: bytes) -> None:
        assert self._socket is not None
        if self._transport is None:
            self._socket.sendto(what, _abstract(address))
        else:
            self._transport.sendto(what, ("127.0.0.1", int(address.removeprefix("udp:"))))

    def _read(self) -> None:
        assert self._socket is not None
        heard: set[str] = set()
        with contextlib.suppress(BlockingIOError, ConnectionError):
            for _ in range(256):
                heard.add(self._socket.recv(64).decode("ascii", "replace"))
        for what in heard:
            self._rung(what)


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, rung: Callable[[str], None]) -> None:
        self._rung = rung

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._rung(data.decode("ascii", "replace"))


def _abstract(address: str) -> str:
    return "\0" + address.removeprefix("unix:")
