"""A connection's deadlines: its preface, its silences, its idleness, its end."""

from typing import TYPE_CHECKING

from pillion.net.http2.frames import PING, frame
from pillion.net.wheel import Wheel

if TYPE_CHECKING:
    from pillion.net.http2.connection import Http2Connection

_LIVE_PING = b"alive?\0\0"


class Life:
    """Watches the times of one connection. Traffic costs it two assignments; it looks when the next deadline may have come."""

    __slots__ = ("_connection", "_watch", "_began", "_block_since", "last_read", "idle_since", "pinged")

    def __init__(self, connection: "Http2Connection", wheel: Wheel) -> None:
        self._connection = connection
        self._watch = wheel.watch(self.look)
        self._began = self.last_read = self.idle_since = connection.loop.time()
        self._block_since = 0.0
        self.pinged = 0.0
        """When we asked the peer whether it is alive; 0 if it has spoken since."""

    def begin(self) -> None:
        """Wait for the preface."""
        self._watch.set(self._connection.limits.preface_timeout)

    def block_opened(self) -> None:
        """A header block has begun and not ended."""
        self._block_since = self.last_read
        self._watch.set(self._connection.limits.preface_timeout)

    def look_in(self, seconds: float) -> None:
        """Look again then, whatever else is due."""
        self._watch.set(seconds)

    def close(self) -> None:
        """The connection is gone."""
        self._watch.close()

    def look(self) -> None:
        """What is due, and when to look again."""
        now = self._connection.loop.time()
        if self._connection.closing:
            self._connection.cut()
            return
        if self._connection.draining:
            self._connection.last_call()
        waits = self._waits(now)
        if waits is None:
            return
        due = [wait for wait in waits if wait > 0]
        if due and not self._connection.closing:
            self._watch.set(min(due))

    def _waits(self, now: float) -> list[float] | None:
        """Seconds to each next deadline, having acted on those that passed; None when the connection ended."""
        limits = self._connection.limits
        waits: list[float] = []
        if not self._connection.begun:
            waits.append(self._began + limits.preface_timeout - now)
        if self._connection.opening is not None:
            waits.append(self._block_since + limits.preface_timeout - now)
        if any(wait <= 0 for wait in waits):
            self._connection.cut()
            return None
        if limits.idle_timeout and not self._connection.draining:
            waits.append((now if self._connection.streams else self.idle_since) + limits.idle_timeout - now)
            if waits[-1] <= 0:
                self._connection.drain()
        if limits.keepalive_after and self._connection.begun:
            waits.append(self._keep_alive(now))
        return waits

    def _keep_alive(self, now: float) -> float:
        """Ask a silent peer whether it is there; hang up on one that does not answer."""
        if self.pinged:
            wait = self.pinged + self._connection.limits.keepalive_timeout - now
            if wait <= 0:
                self._connection.cut()
            return wait
        wait = self.last_read + self._connection.limits.keepalive_after - now
        if wait > 0:
            return wait
        self.pinged = now
        self._connection.out.append(frame(PING, 0, 0, _LIVE_PING))
        self._connection.touch()
        return self._connection.limits.keepalive_timeout
