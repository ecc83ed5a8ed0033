"""State stores opened and mounted for tests of the rooms above them."""

from collections.abc import Mapping
from typing import Any

from pillion.contracts.state import StateStore
from pillion.drivers.state.memory import MemorySettings, MemoryStore
from pillion.plug.component import Context
from pillion.rules.keys import prefix
from pillion.services.mount import Mount
from pillion.services.sealing import Sealer
from pillion.services.state import StateMount
from pillion.testing.clock import HandClock


class Noted:
    """An instrument that keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []

    def __call__(self, operation: str, ok: bool, seconds: float) -> None:
        self.told.append((operation, ok))


class Shelf:
    """Stores by name, on one hand-turned clock; closes what it opened."""

    def __init__(self) -> None:
        self.clock = HandClock()
        self.noted = Noted()
        self.mounts: dict[str, StateMount] = {}
        self._contexts: list[Context] = []

    def context(self, name: str) -> Context:
        made = Context(name=name, app_id="appa", clock=self.clock)
        self._contexts.append(made)
        return made

    async def memory(self, name: str = "mem", **options: Any) -> MemoryStore:
        store = MemoryStore(MemorySettings(), self.context(name))
        await store.open()
        self.mount(name, store, **options)
        return store

    def mount(
        self,
        name: str,
        store: StateStore[Any],
        *,
        strategy: str = "",
        sealer: Sealer | None = None,
        guard: Any = None,
    ) -> None:
        mount: Mount[StateStore[Any]] = Mount(name, "state.test", "v1", store, self.noted, guard)
        owner = prefix(strategy, app_id="appa", namespace="", store=name)
        self.mounts[name] = StateMount.of(mount, prefix=owner, sealer=sealer)

    async def close(self) -> None:
        for mount in self.mounts.values():
            await mount.driver.close()
        for context in self._contexts:
            await context.crew.close()


def texts(**values: str) -> Mapping[str, str]:
    return values
