"""Time as an argument: the wall clock, a monotonic clock and waiting, behind one small face."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """What code that lives in time is given instead of reaching for `time` itself."""

    def now(self) -> float:
        """Epoch seconds."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait at least so long; 0 only yields."""
        ...


class SystemClock:
    """The machine's own time."""

    __slots__ = ()

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
