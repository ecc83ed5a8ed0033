"""How many calls the app takes at once (`app-max-concurrency`)."""

import asyncio


class Slots:
    """Places that are taken before a call and given back when its answer is consumed; without a limit there is always one."""

    __slots__ = ("_places",)

    def __init__(self, limit: int = 0) -> None:
        """0 or less is no limit."""
        self._places = asyncio.Semaphore(limit) if limit > 0 else None

    async def take(self) -> None:
        """Wait for a place, first come first served."""
        if self._places is not None:
            await self._places.acquire()

    def give(self) -> None:
        """A place is free again."""
        if self._places is not None:
            self._places.release()
