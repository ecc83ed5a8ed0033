"""The connections to other sidecars: one channel per address, let go when nobody uses it."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

from pillion.net.rpc import Channel
from pillion.toolbox.tasks import Crew

log = logging.getLogger("dapr.runtime.peers")

IDLE: Final = 180.0
"""Seconds a channel without calls is kept."""
SWEEP: Final = 45.0

Dial = Callable[[str], Channel]
"""Makes the channel to `host:port`; it connects when first used."""


class Link:
    """A channel, how many calls are on it, and when the last one began or ended."""

    __slots__ = ("channel", "_wide", "_dial", "calls", "used")

    def __init__(self, dial: Callable[[], Channel]) -> None:
        self.channel = dial()
        self._wide: Channel | None = None
        self._dial = dial
        self.calls = 0
        self.used = 0.0

    @property
    def wide(self) -> Channel:
        """A channel of its own for bodies that stream, so that no small call stands behind an upload."""
        if self._wide is None:
            self._wide = self._dial()
        return self._wide

    async def close(self) -> None:
        """See `Channel.close`."""
        await self.channel.close()
        if self._wide is not None:
            await self._wide.close()


class Links:
    """The channels by address. A channel that failed is dropped at once, so that the next call dials afresh."""

    def __init__(self, dial: Dial, *, idle: float = IDLE, every: float = SWEEP) -> None:
        """A channel without calls for `idle` seconds is let go; looked for `every` so many."""
        self._dial = dial
        self._idle = idle
        self._every = every
        self._links: dict[str, Link] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._crew = Crew("peers")

    def __len__(self) -> int:
        return len(self._links)

    def take(self, address: str) -> Link:
        """The link to an address, held until it is given back."""
        link = self._links.get(address)
        if link is None:
            link = self._links[address] = Link(partial(self._dial, address))
            if self._timer is None:
                self._timer = self._loop.call_later(self._every, self._sweep)
        link.calls += 1
        return link

    def give(self, link: Link) -> None:
        """The call is over."""
        link.calls -= 1
        link.used = self._loop.time()

    @contextmanager
    def hold(self, address: str) -> Iterator[Link]:
        """The link for as long as the block runs."""
        link = self.take(address)
        try:
            yield link
        finally:
            self.give(link)

    def drop(self, address: str, link: Link) -> None:
        """This channel failed. Calls that are on it end by themselves."""
        if self._links.get(address) is link:
            del self._links[address]
            self._crew.start(link.close(), f"close {address}")

    def sweep(self, now: float) -> None:
        """Let go of what was idle for long enough, `now` being on the loop's clock."""
        for address, link in list(self._links.items()):
            if not link.calls and now - link.used >= self._idle:
                log.debug("the connection to %s was idle and is closed", address)
                self.drop(address, link)

    async def close(self) -> None:
        """Let go of all."""
        if self._timer is not None:
            self._timer.cancel()
        for address, link in list(self._links.items()):
            self.drop(address, link)
        await self._crew.drain(2.0)

    def _sweep(self) -> None:
        self.sweep(self._loop.time())
        self._timer = self._loop.call_later(self._every, self._sweep) if self._links else None
