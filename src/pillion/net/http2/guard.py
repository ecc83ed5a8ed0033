"""Patience with a peer: what costs it nothing and us something may not come without end."""

from collections.abc import Callable

from pillion.net.http2.frames import ConnectionFault, ErrorCode

WINDOW_SECONDS = 10.0
NUISANCES = 2000
"""Frames that do nothing useful (pings, settings, empty data, priorities, unknown ones) in one window, beyond one per stream opened."""
EARLY_ENDS = 500
"""Streams a client has reset in one window, beyond one in two of those it opened."""
STRIKES = 2
"""Pings that come too early before the peer is sent away."""


class Guard:
    """Counts, for one connection. Counting what is useful costs nothing: it is read off the stream ids."""

    __slots__ = ("_time", "_interval", "_nuisances", "_early", "_since", "_sid", "_last_ping", "_strikes")

    def __init__(self, time: Callable[[], float], ping_interval: float) -> None:
        self._time = time
        self._interval = ping_interval
        self._nuisances = 0
        self._early = 0
        self._since = time()
        self._sid = 0
        self._last_ping = float("-inf")
        self._strikes = 0

    def nuisance(self, sid: int) -> None:
        """A frame without use."""
        self._nuisances += 1
        if (
            self._nuisances > NUISANCES
            and self._nuisances - NUISANCES > self._opened(sid)
            and not self._renewed(sid)
        ):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that do nothing")

    def early_end(self, sid: int) -> None:
        """The client reset a stream that was not over."""
        self._early += 1
        if (
            self._early > EARLY_ENDS
            and self._early - EARLY_ENDS > self._opened(sid) // 2
            and not self._renewed(sid)
        ):
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams reset")

    def ping(self, answered: bool) -> None:
        """A ping came. One that follows headers or data of ours is how clients measure the line, and forgives the earlier ones."""
        now = self._time()
        early = now - self._last_ping < self._interval
        self._last_ping = now
        if answered:
            self._strikes = 0
        elif early:
            self._strikes += 1
        if self._strikes > STRIKES:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_pings")

    def _opened(self, sid: int) -> int:
        return (sid - self._sid) // 2

    def _renewed(self, sid: int) -> bool:
        """Start over if the window has passed."""
        now = self._time()
        if now - self._since < WINDOW_SECONDS:
            return False
        self._since, self._sid = now, sid
        self._nuisances = self._early = 0
        return True
