"""What is asked of the loop and the kernel: tasks, timers, turns, thread hops, reads and writes, counted."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import pytest

ASKED = {
    "create_task": "tasks",
    "call_later": "timers",
    "call_soon": "turns",
    "call_soon_threadsafe": "hops",
    "run_in_executor": "hops",
}
"""On uvloop, whose `call_at` goes through `call_later`."""
TRIES = 3


class CountedTransport:
    """A transport whose writes are counted."""

    def __init__(self, transport: asyncio.Transport, wrote: Callable[[], None]) -> None:
        self._transport = transport
        self._wrote = wrote

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self._wrote()
        self._transport.write(data)


class CountedProtocol(asyncio.Protocol):
    """One of our connections between the socket and itself."""

    def __init__(self, ours: asyncio.Protocol, costs: "Costs") -> None:
        self.ours = ours
        self._costs = costs
        # Reads and writes are the transport's calls; whatever else it calls goes straight through.
        for name in ("eof_received", "connection_lost", "pause_writing", "resume_writing"):
            setattr(self, name, getattr(ours, name))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        counted = CountedTransport(cast(asyncio.Transport, transport), lambda: self._costs.note("writes"))
        self.ours.connection_made(cast(asyncio.Transport, counted))

    def data_received(self, data: bytes) -> None:
        self._costs.note("reads")
        self.ours.data_received(data)


class Costs:
    """Counts for the loop it was made on, of connections opened after that; only `pillion`'s own are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._counts: Counter[str] = Counter()
        self._on = False
        loop = asyncio.get_running_loop()
        for name, what in ASKED.items():
            monkeypatch.setattr(loop, name, self._noting(getattr(loop, name), what))
        monkeypatch.setattr(loop, "create_server", self._serving(loop.create_server))
        monkeypatch.setattr(loop, "create_connection", self._connecting(loop.create_connection))

    def note(self, what: str) -> None:
        if self._on:
            self._counts[what] += 1

    async def each(self, make: Callable[[int], Awaitable[None]], calls: int = 20) -> dict[str, float]:
        """What one call costs: what twice as many cost more, so that the test's own share falls out.

        Now and then a timer of the house falls due meanwhile: of a few tries the least is taken, to a quarter.
        """
        for _ in range(2):
            await make(calls)
        few = await self._least(make, calls)
        many = await self._least(make, 2 * calls)
        each = {what: round(4 * (many[what] - few[what]) / calls) / 4 for what in sorted(many)}
        return {what: count for what, count in each.items() if count}

    async def _least(self, make: Callable[[int], Awaitable[None]], calls: int) -> Counter[str]:
        tries = []
        for _ in range(TRIES):
            with self._counting():
                await make(calls)
            tries.append(self._counts.copy())
        return Counter({what: min(each[what] for each in tries) for what in tries[0]})

    @contextmanager
    def _counting(self) -> Iterator[None]:
        self._counts.clear()
        self._on = True
        try:
            yield
        finally:
            self._on = False

    def _noting(self, act: Callable[..., Any], what: str) -> Callable[..., Any]:
        def noted(*args: Any, **named: Any) -> Any:
            self.note(what)
            return act(*args, **named)

        return noted

    def _counted(self, factory: Callable[[], asyncio.Protocol]) -> Callable[[], asyncio.Protocol]:
        def made() -> asyncio.Protocol:
            protocol = factory()
            ours = type(protocol).__module__.startswith("pillion.")
            return CountedProtocol(protocol, self) if ours else protocol

        return made

    def _serving(self, act: Callable[..., Any]) -> Callable[..., Any]:
        return lambda factory, *args, **named: act(self._counted(factory), *args, **named)

    def _connecting(self, act: Callable[..., Any]) -> Callable[..., Any]:
        async def connect(factory: Callable[[], asyncio.Protocol], *args: Any, **named: Any) -> Any:
            transport, protocol = await act(self._counted(factory), *args, **named)
            return transport, protocol.ours if isinstance(protocol, CountedProtocol) else protocol

        return connect
