"""A component as a service holds it: the driver with everything decided when it was loaded."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from pillion.model.call import Call
from pillion.ports.telemetry import Instrument

D = TypeVar("D")
R = TypeVar("R")


class Guard(Protocol):
    """Policies and tracing around a driver's operation; absent (None) where nothing is configured."""

    async def run(self, call: Call, operation: str, work: Callable[[], Awaitable[R]]) -> R:
        """Do the work as often and as long as the policies say."""
        ...


@dataclass(frozen=True, slots=True)
class Mount(Generic[D]):
    """One loaded component. Immutable: a reload replaces the whole mount in one assignment."""

    name: str
    type_name: str
    version: str
    driver: D
    instrument: Instrument
    guard: Guard | None = None

    async def run(self, call: Call, operation: str, work: Callable[[], Awaitable[R]]) -> R:
        """Do one operation of the driver, measured and guarded. Without a guard it adds two clock reads."""
        started = time.perf_counter()
        ok = False
        try:
            result = await (work() if self.guard is None else self.guard.run(call, operation, work))
            ok = True
        finally:
            self.instrument(operation, ok, time.perf_counter() - started)
        return result
