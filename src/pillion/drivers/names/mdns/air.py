"""The multicast socket: heard by every host of the segment, where there is one."""

import asyncio
import logging
import socket
import struct
from collections.abc import Callable
from typing import Final

GROUP: Final = "224.0.0.251"
PORT: Final = 5353

Heard = Callable[[bytes, tuple[str, int]], None]


class Air(asyncio.DatagramProtocol):
    """Says datagrams to the group on every interface, and tells what is heard there. A host without multicast stays silent."""

    def __init__(self, heard: Heard, log: logging.Logger, *, group: str = GROUP, port: int = PORT) -> None:
        self._heard = heard
        self._log = log
        self._group = group
        self._port = port
        self._transport: asyncio.DatagramTransport | None = None
        self._socket: socket.socket | None = None
        self._interfaces: list[int] = []

    @property
    def is_open(self) -> bool:
        """Somebody may hear us."""
        return self._transport is not None and bool(self._interfaces)

    async def open(self) -> None:
        """Listen. Whatever does not work here is nothing but a line at debug."""
        try:
            bound = self._bound()
        except OSError as error:
            self._log.debug("multicast DNS is off: %s", error)
            return
        self._socket = bound
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, sock=bound)

    def close(self) -> None:
        """Hear and say no more."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def say(self, data: bytes, to: tuple[str, int] | None = None) -> bool:
        """To the whole group on each interface, or to one listener. Whether it left by any."""
        if self._transport is None or self._socket is None:
            return False
        if to is not None:
            self._transport.sendto(data, to)
            return True
        return sum(self._say_on(index, data) for index in self._interfaces) > 0

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._heard(data, addr)

    def error_received(self, exc: Exception) -> None:
        self._log.debug("multicast DNS: %s", exc)

    def _say_on(self, index: int, data: bytes) -> bool:
        assert self._socket is not None
        try:
            self._socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, _on(index))
            self._socket.sendto(data, (self._group, self._port))
        except OSError as error:
            self._log.debug("multicast DNS cannot be said on interface %d: %s", index, error)
            return False
        return True

    def _bound(self) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if hasattr(socket, "SO_REUSEPORT"):
                made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 255)
            made.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
            made.setblocking(False)
            made.bind(("", self._port))
            self._interfaces = [index for index, _ in socket.if_nameindex() if self._join(made, index)]
        except OSError:
            made.close()
            raise
        return made

    def _join(self, made: socket.socket, index: int) -> bool:
        group = struct.pack("=4s4si", socket.inet_aton(self._group), b"\0\0\0\0", index)
        try:
            made.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        except OSError as error:
            self._log.debug("multicast DNS cannot be heard on interface %d: %s", index, error)
            return False
        return True


def _on(index: int) -> bytes:
    return struct.pack("=4s4si", b"\0\0\0\0", b"\0\0\0\0", index)
