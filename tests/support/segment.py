"""A network segment in memory, and multicast DNS on it."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from pillion.drivers.names.mdns.air import Air
from pillion.drivers.names.mdns.driver import MdnsNames
from pillion.drivers.names.mdns.packets import Packet, decode


class Segment:
    """A network segment in memory: what one says all hear, the speaker too."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[bytes, tuple[str, int]], None]] = []
        self.said: list[Packet] = []

    def say(self, data: bytes, to: tuple[str, int] | None) -> None:
        self.said.append(decode(data))
        for listener in self.listeners:
            asyncio.get_running_loop().call_soon(listener, data, ("10.0.0.1", 5353))


class Near(Air):
    """The socket's place, taken by a segment."""

    def __init__(self, heard: Any, segment: Segment) -> None:
        super().__init__(heard, logging.getLogger("test"))
        self._segment = segment
        self._listener = heard

    async def open(self) -> None:
        self._segment.listeners.append(self._listener)

    def close(self) -> None:
        if self._listener in self._segment.listeners:
            self._segment.listeners.remove(self._listener)

    def say(self, data: bytes, to: tuple[str, int] | None = None) -> bool:
        self._segment.say(data, to)
        return True


class NearNames(MdnsNames):
    """The driver on a segment in memory."""

    segment: Segment

    def air(self) -> Air:
        return Near(self.heard, self.segment)
