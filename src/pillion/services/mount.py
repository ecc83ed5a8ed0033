"""A component as a service holds it: the driver with everything decided when it was loaded."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import field
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pillion.model.call import Call
from pillion.ports.telemetry import Instrument
from pillion.toolbox.lazily import dataclass
from pillion.toolbox.tasks import tasked


class Driver(Protocol):
    """What a mount asks of every driver; see `plug.component.Component`."""

    immediate: ClassVar[bool]
    stepped: bool


D = TypeVar("D", bound=Driver)
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
    direct: bool = field(init=False)
    """Nothing stands between a caller and the driver's operations: they may be awaited as they are."""

    def __post_init__(self) -> None:
        free = self.guard is None and (self.driver.immediate or self.driver.stepped)
        object.__setattr__(self, "direct", free)

    async def run(self, call: Call, operation: str, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Do one operation of the driver, measured and guarded. Without a guard it adds two clock reads."""
        started = time.perf_counter()
        ok = False
        try:
            result = await (work() if self.direct else self.perform(call, operation, work))
            ok = True
        finally:
            self.instrument(operation, ok, time.perf_counter() - started)
        return result

    async def perform(self, call: Call, operation: str, work: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Do one operation, guarded but not measured. A driver that may wait is called from within a task."""
        if self.guard is not None:
            return await tasked(self.guard.run(call, operation, work))
        return await (work() if self.direct else tasked(work()))
